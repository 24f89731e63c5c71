# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Turns into one program of the suite: ``python -m localrun.child NAME SIGNAL COMMAND ...``.

Before that it ends what an earlier life of the same program left behind, and asks the kernel for
``SIGNAL`` when the supervisor dies, so that a killed supervisor leaves no orphans (Linux; elsewhere
the next start finds them by ``LOCAL_RUN_ID``).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

from localrun.leftovers import PROGRAM_VARIABLE, RUN_VARIABLE, end_leftovers

_PR_SET_PDEATHSIG = 1
EXIT_PARENT_GONE = 1


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Let the kernel send ``number`` when our parent, process ``parent``, ends.

    Raises:
        SystemExit: If it has ended already.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        raise SystemExit(EXIT_PARENT_GONE)


def main(arguments: Sequence[str]) -> None:
    """Become the program; does not return."""
    parent = os.getppid()
    name, signal_name, *command = arguments
    end_leftovers(os.environ[RUN_VARIABLE], name)
    die_with_parent(signal.Signals["SIG" + signal_name], parent)
    os.execvpe(command[0], command, {**os.environ, PROGRAM_VARIABLE: name})  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
