# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The form of what is published on ``orders:all``: a whole order, and its place there. Pure."""

import msgspec

from linkora.messages import Position, decode
from orders.views import OrderView


class OrderMessage(msgspec.Struct, frozen=True):
    """One change of one order.

    ``is_removed``: a reorg has taken the order's creation away; the fields are its last ones.
    Without an order: any number of them may be other ones now and is not told one by one.
    """

    order: OrderView | None
    is_removed: bool
    seq: int
    epoch: int


_decoder = msgspec.json.Decoder(OrderMessage)


def encode_order_message(view: OrderView | None, position: Position, *, is_removed: bool) -> bytes:
    """Return the message that tells an order, or that many may be others now."""
    return msgspec.json.encode(OrderMessage(view, is_removed, position.seq, position.epoch))


def decode_order_message(payload: bytes) -> OrderMessage:
    """Return a message.

    Raises:
        CorruptMessage: If it is none.
    """
    return decode(_decoder, payload)
