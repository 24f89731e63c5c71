# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import httpx
import pytest
from starlette.applications import Starlette

from linkora.errors import RequestError
from linkora.figure_store import FigureStore
from linkora.http import EXCEPTION_HANDLERS
from marketdata.history import history_routes, wanted_figures

NOW_MS = 1_700_000_000_000
ASKED = {"service": "data-collector", "metric": "collector_open_gaps"}


def test_by_default_the_last_day_comes_in_steps_of_five_minutes() -> None:
    wanted = wanted_figures(ASKED, NOW_MS)
    assert (wanted.start_ms, wanted.end_ms) == (NOW_MS - 86_400_000, NOW_MS)
    assert wanted.step_s == 300
    assert wanted.metrics == ["collector_open_gaps"]


def test_several_metrics_and_times_can_be_given() -> None:
    query = {
        **ASKED,
        "metric": "a, b,a",
        "start_date": "2023-11-14T00:00:00Z",
        "end_date": "2023-11-14T01:00:00Z",
        "step": "120",
        "instance": "host",
    }
    wanted = wanted_figures(query, NOW_MS)
    assert wanted.metrics == ["a", "b"]
    assert wanted.end_ms - wanted.start_ms == 3_600_000
    assert (wanted.step_s, wanted.instance) == (120, "host")


@pytest.mark.parametrize(
    "change",
    [
        {"service": ""},
        {"metric": " , "},
        {"metric": ",".join(map(str, range(21)))},
        {"metric": "x" * 201},
        {"service": "a\x00b"},
        {"step": "90"},
        {"step": "0"},
        {"step": "-60"},
        {"step": "1e3"},
        {"start_date": "2024-01-02", "end_date": "2024-01-01"},
        {"start_date": "2020-01-01", "end_date": "2024-01-01"},
        {"start_date": "yesterday"},
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(RequestError) as refusal:
        wanted_figures({**ASKED, **change}, NOW_MS)
    assert refusal.value.status == 400


async def test_the_endpoint_tells_names_and_then_points(pool) -> None:
    store = FigureStore(pool)
    await store.record("data-collector", "host", {"collector_open_gaps": 3, "healthy": 1})
    app = Starlette(routes=history_routes(store), exception_handlers=EXCEPTION_HANDLERS)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        names = (await client.get("/metrics/history")).json()
        assert names == {"services": {"data-collector": ["collector_open_gaps", "healthy"]}}
        answer = (await client.get("/metrics/history", params={**ASKED, "step": "60"})).json()
        refused = await client.get("/metrics/history", params={"service": "data-collector"})
    (point,) = answer["points"]
    assert point.pop("timestamp") % 60_000 == 0
    assert point == {
        "service": "data-collector",
        "instance": "host",
        "metric": "collector_open_gaps",
        "value": 3.0,
        "min": 3.0,
        "max": 3.0,
    }
    assert answer["is_complete"] is True
    assert refused.status_code == 400
