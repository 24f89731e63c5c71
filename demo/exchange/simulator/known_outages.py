# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The outages that the real exchange has had, as far as its users have listed them.

From the issues of the exchange's public-data repository (#365, #368) and, for 2020-02-19, from the
truncated close time in its own answer. UTC, to the minute unless known better.
"""

from datetime import UTC, datetime

from simulator.interruptions import Outage

_LISTED = """
2017-09-06T16:00 2017-09-06T23:00
2017-12-04T06:00 2017-12-04T06:49
2017-12-18T10:00 2017-12-18T10:14
2017-12-18T12:29 2017-12-18T13:34
2018-01-04T03:00 2018-01-04T05:06
2018-02-08T00:28 2018-02-09T10:00:14.789 2018-02-11T00:00
2018-06-26T02:00 2018-06-26T12:00
2018-06-27T13:00 2018-06-27T14:45
2018-07-04T00:22 2018-07-04T08:00
2018-10-19T06:00 2018-10-19T09:30
2018-11-14T02:00 2018-11-14T09:00
2019-03-12T02:00 2019-03-12T08:00
2019-05-15T03:00 2019-05-15T13:00
2019-06-07T21:13 2019-06-07T22:15
2020-02-09T02:00 2020-02-09T03:00
2020-02-19T11:35:32.287 2020-02-19T17:30
2020-03-04T09:21 2020-03-04T11:30
2020-04-25T02:00 2020-04-25T04:30
2020-06-28T02:00 2020-06-28T05:30
2020-11-30T06:00 2020-11-30T07:00
2020-12-21T14:08 2020-12-21T18:00
2020-12-25T02:00 2020-12-25T03:00
2021-02-11T03:40 2021-02-11T05:00
2021-03-06T02:00 2021-03-06T03:30
2021-04-20T02:00 2021-04-20T04:30
2021-04-25T04:01 2021-04-25T08:45
"""


def known_outages() -> tuple[Outage, ...]:
    """Return the real exchange's outages, in order."""
    return tuple(Outage(*map(_ms, line.split())) for line in _LISTED.split("\n") if line)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)
