# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as ReferenceFrame
from websockets.frames import Opcode

from linkora.hub import Frame, Hub, Mailbox


class Follower:
    """Remembers what it is offered."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def offer(self, frame: Frame, key: Hashable | None) -> None:
        self.told.append(frame.payload)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 270, 65_535, 65_536, 70_000])
def test_frame_is_what_the_reference_library_writes(length: int) -> None:
    payload = b"x" * length
    expected = ReferenceFrame(Opcode.TEXT, payload).serialize(mask=False)
    assert Frame(payload).wire == expected


def test_state_waits_for_its_interval_and_only_the_newest_is_told() -> None:
    hub, slow, fast = Hub(), Follower(), Follower()
    hub.join("t", slow, interval_ms=5000)
    hub.join("t", fast)
    for now_ms, text in ((0, b"1"), (1000, b"2"), (2000, b"3")):
        hub.publish_state("t", "t", lambda text=text: Frame(text), now_ms)
    hub.flush(4999)
    assert slow.told == [b"1"]
    hub.flush(5000)
    assert slow.told == [b"1", b"3"]
    assert fast.told == [b"1", b"2", b"3"]


def test_states_of_different_keys_do_not_hold_each_other_up() -> None:
    hub, follower = Hub(), Follower()
    hub.join("all", follower, interval_ms=5000)
    hub.publish_state("all", "BTC", lambda: Frame(b"btc"), 0)
    hub.publish_state("all", "ETH", lambda: Frame(b"eth"), 1)
    assert follower.told == [b"btc", b"eth"]


def test_final_is_told_at_once() -> None:
    hub, follower = Hub(), Follower()
    hub.join("t", follower, interval_ms=5000)
    hub.publish_state("t", "t", lambda: Frame(b"open"), 0)
    hub.publish_final("t", Frame(b"closed"))
    assert follower.told == [b"open", b"closed"]


def test_state_is_encoded_only_where_somebody_follows() -> None:
    hub = Hub()

    def encode() -> Frame:
        raise AssertionError("nobody follows")

    hub.publish_state("t", "t", encode, 0)
    hub.join("t", Follower(), interval_ms=1000)
    hub.leave("t", Follower())
    assert hub.has_followers("t")


def test_who_left_hears_nothing_and_the_topic_is_forgotten() -> None:
    hub, follower = Hub(), Follower()
    hub.join("t", follower, interval_ms=1000)
    hub.publish_state("t", "t", lambda: Frame(b"1"), 0)
    hub.publish_state("t", "t", lambda: Frame(b"2"), 1)
    hub.leave("t", follower)
    hub.flush(10_000)
    hub.publish_final("t", Frame(b"3"))
    assert follower.told == [b"1"]
    assert not hub.has_followers("t")
    assert hub.count() == {}


def test_joining_again_changes_the_interval_and_doubles_nothing() -> None:
    hub, follower = Hub(), Follower()
    hub.join("t", follower, interval_ms=1000)
    hub.join("t", follower, interval_ms=0)
    hub.publish_state("t", "t", lambda: Frame(b"1"), 0)
    hub.publish_state("t", "t", lambda: Frame(b"2"), 1)
    assert follower.told == [b"1", b"2"]
    assert hub.count() == {"t": 1}


def test_mailbox_keeps_the_newest_state_and_every_final_in_order() -> None:
    box = Mailbox(10)
    for text, key in ((b"a1", "a"), (b"final", None), (b"b1", "b"), (b"a2", "a"), (b"last", None)):
        assert box.put(Frame(text), key)
    assert [frame.payload for _, frame in box.take_all()] == [b"final", b"b1", b"a2", b"last"]
    assert box.conflated == 1
    assert len(box) == 0


def test_mailbox_refuses_what_is_beyond_its_bound_but_replaces_states() -> None:
    box = Mailbox(2)
    assert box.put(Frame(b"f"), None)
    assert box.put(Frame(b"a1"), "a")
    assert box.put(Frame(b"a2"), "a")
    assert not box.put(Frame(b"g"), None)
    assert [frame.payload for _, frame in box.take_all()] == [b"f", b"a2"]


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.integers(0, 5)), max_size=60))
def test_mailbox_loses_no_final_and_no_newest_state(puts: list[tuple[str | None, int]]) -> None:
    box = Mailbox(1000)
    for number, (key, _) in enumerate(puts):
        box.put(Frame(b"%d" % number), key)
    kept = [int(frame.payload) for _, frame in box.take_all()]
    newest = {key: number for number, (key, _) in enumerate(puts) if key is not None}
    finals = [number for number, (key, _) in enumerate(puts) if key is None]
    assert kept == sorted([*finals, *newest.values()])
