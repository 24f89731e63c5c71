# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the board keeps of trades: nothing before a hole."""

import pytest

from linkora.messages import TradeMessage, TradesMessage
from marketdata.board import Board
from marketdata.params import MAX_TRADES


def trades(*ids: int) -> TradesMessage:
    told = [
        TradeMessage(id=each, price="1", quantity="1", timestamp=each, is_buyer_maker=False)
        for each in ids
    ]
    return TradesMessage(symbol="X", trades=told, seq=1, epoch=1)


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        ([(1, 2), (3,)], [1, 2, 3]),
        ([(1, 2), (4, 5)], [4, 5]),
        ([(1, 2, 9)], [9]),
        ([(1, 2), (3, 5, 6, 8, 9), (10,)], [8, 9, 10]),
    ],
    ids=["no hole", "between messages", "inside a message", "several"],
)
def test_trades_before_a_hole_are_forgotten(
    messages: list[tuple[int, ...]], kept: list[int]
) -> None:
    board = Board(max_windows=1, max_rows=1)
    for ids in messages:
        board.take_trades(trades(*ids))
    assert [trade.id for trade in board.trades["X"]] == kept


def test_the_oldest_trades_make_room() -> None:
    board = Board(max_windows=1, max_rows=1)
    board.take_trades(trades(*range(1, MAX_TRADES + 8)))
    assert [board.trades["X"][0].id, len(board.trades["X"])] == [8, MAX_TRADES]
