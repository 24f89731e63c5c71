# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Whether a channel's messages came without a hole. Pure."""

from linkora.messages import Position


class Numbers:
    """Follows one channel's ``seq``, for each ``epoch``: several collectors may publish on it."""

    def __init__(self) -> None:
        self.last: Position | None = None
        self._seq_of_epoch: dict[int, int] = {}

    def is_next(self, position: Position) -> bool:
        """Note ``position``; return whether nothing is missing before it.

        A reconnection changes nothing here: what was lost meanwhile, and what is lost between the
        reading that follows it and the next message, shows in the numbers.
        """
        is_first = self.last is None
        last_seq = self._seq_of_epoch.get(position.epoch)
        self.last = position
        self._seq_of_epoch[position.epoch] = position.seq
        return is_first if last_seq is None else position.seq == last_seq + 1
