# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import msgspec
import pytest

from linkora.alerts import AlertBook, Notice, Trouble, message, troubles_of

AWAY = {"database": Trouble("database is away: gone", "database-away")}


def told(notices):
    return [(notice.key, notice.status) for notice in notices]


@pytest.fixture
def book():
    return AlertBook(after_s=60, calm_s=30, repeat_s=3600)


def test_a_short_trouble_is_never_told(book):
    assert told(book.judge(AWAY, 0)) == []
    assert told(book.judge(AWAY, 59)) == []
    assert told(book.judge({}, 60)) == []
    assert told(book.judge({}, 500)) == []


def test_a_lasting_trouble_is_told_once_and_its_end_once(book):
    book.judge(AWAY, 0)
    assert told(book.judge(AWAY, 60)) == [("database", "firing")]
    assert told(book.judge(AWAY, 100)) == []
    assert told(book.judge({}, 110)) == []
    assert told(book.judge({}, 130)) == [("database", "resolved")]
    assert told(book.judge({}, 200)) == []


def test_a_trouble_that_comes_and_goes_stays_one_trouble(book):
    book.judge(AWAY, 0)
    book.judge({}, 20)
    assert told(book.judge(AWAY, 40)) == []
    assert told(book.judge(AWAY, 60)) == [("database", "firing")]
    assert told(book.judge({}, 80)) == []
    assert told(book.judge(AWAY, 85)) == []
    assert told(book.judge({}, 114)) == []
    assert told(book.judge({}, 115)) == [("database", "resolved")]


def test_a_trouble_that_goes_on_is_told_again_after_the_repeat_time(book):
    book.judge(AWAY, 0)
    book.judge(AWAY, 60)
    assert told(book.judge(AWAY, 3659)) == []
    again = book.judge(AWAY, 3660)
    assert told(again) == [("database", "firing")]
    assert again[0].since_s == 0


def test_two_services_name_a_shared_neighbour_alike_and_their_own_apart():
    down = {"database": "refused", "exchange": "HTTP 418"}
    one = troubles_of("data-collector", down, {}, 0)
    two = troubles_of("api-server", down, {}, 0)
    assert one.keys() == {"database", "data-collector:exchange"}
    assert two.keys() == {"database", "api-server:exchange"}
    assert one["data-collector:exchange"].anchor == "exchange-away"


def test_a_silent_service_is_told_with_its_minutes():
    (trouble,) = troubles_of("api-server", {}, {"data-collector": 0}, 4 * 60_000 + 1).values()
    assert trouble == Trouble("data-collector has said nothing for 4 minutes", "service-silent")


def test_the_message_is_one_text_with_the_runbook_and_its_parts():
    notice = Notice("database", "firing", AWAY["database"], 100)
    body = msgspec.json.decode(msgspec.json.encode(message(notice, "api-server@a", 175.2)))
    assert body == {
        "text": "FIRING Linkora: database is away: gone (75 s, seen by api-server@a; "
        "docs/operations.md#database-away)",
        "status": "firing",
        "alert": "database",
        "seen_by": "api-server@a",
        "lasted_s": 75,
        "runbook": "docs/operations.md#database-away",
    }
