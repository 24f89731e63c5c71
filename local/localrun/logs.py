# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Shows the programs' log files as one stream, each line after its program's name."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from localrun.layout import Layout

LINES_AT_START = 20
_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93)


class Follower:
    """Reads what has been added to several log files since the last look."""

    def __init__(
        self, layout: Layout, programs: Sequence[str], *, lines_before: int = LINES_AT_START
    ) -> None:
        self._width = max((len(name) for name in programs), default=0)
        self._files = {name: _Tail(layout.log(name), lines_before) for name in programs}
        self._names = list(programs)

    def print_new(self, out: TextIO = sys.stdout) -> None:
        """Print the lines that are new."""
        for number, name in enumerate(self._names):
            label = self._label(number, name, out)
            out.writelines(f"{label} {line}\n" for line in self._files[name].read_new())
        out.flush()

    def _label(self, number: int, name: str, out: TextIO) -> str:
        padded = name.ljust(self._width) + " |"
        if not out.isatty():
            return padded
        return f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{padded}\x1b[0m"


class _Tail:
    """One growing file that may be rotated away under us."""

    def __init__(self, path: Path, lines_before: int) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._rest = b""
        self._lines_before = lines_before

    def read_new(self) -> list[str]:
        """Return the complete lines added since the last call; at first, the last few."""
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                identity = (status.st_dev, status.st_ino)
                is_first = self._identity is None
                if self._identity != identity or status.st_size < self._offset:
                    self._identity, self._offset, self._rest = identity, 0, b""
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            self._lines_before = sys.maxsize  # it is made later: all of it is new
            return []
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        if is_first:
            lines = lines[-self._lines_before :] if self._lines_before else []
        return [line.decode(errors="replace") for line in lines]
