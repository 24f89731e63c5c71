# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whether a channel's messages came without a hole. Pure."""

from linkora.messages import Position

# Publishers whose numbers are remembered; one that was forgotten looks like a new one.
MAX_EPOCHS = 64


class Numbers:
    """Follows one channel's ``seq``, for each ``epoch``: several collectors may publish on it.

    The ``MAX_EPOCHS`` that were heard of last are remembered: each restart of a collector adds one.
    """

    def __init__(self) -> None:
        self.last: Position | None = None
        self._seq_of_epoch: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._seq_of_epoch)

    def is_next(self, position: Position) -> bool:
        """Note ``position``; return whether nothing is missing before it.

        A reconnection changes nothing here: what was lost meanwhile, and what is lost between the
        reading that follows it and the next message, shows in the numbers.
        """
        is_first = self.last is None
        last_seq = self._seq_of_epoch.pop(position.epoch, None)
        self.last = position
        self._seq_of_epoch[position.epoch] = position.seq
        if len(self._seq_of_epoch) > MAX_EPOCHS:
            del self._seq_of_epoch[next(iter(self._seq_of_epoch))]
        return is_first if last_seq is None else position.seq == last_seq + 1
