# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The commands: start (in the foreground or detached), status, logs, restart, stop."""

import fcntl
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import msgspec

from localrun import settings
from localrun.errors import StartError
from localrun.health import ask
from localrun.layout import Layout
from localrun.leftovers import end_leftovers
from localrun.logs import Follower
from localrun.plan import Situation
from localrun.report import describe_places, describe_states
from localrun.settings import Options
from localrun.starting import Suite, run_id, services
from localrun.supervisor import NOT_THERE, Supervisor

EXIT_FAILED = 1
EXIT_NOT_RUNNING = 3
FOLLOW_INTERVAL_S = 0.3
END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the process's exit code.

    It is 0 if all is well, 1 if something is wrong, 3 if the suite does not run.
    """
    commands: dict[str, Callable[[Options, Layout], int]] = {
        "start": start,
        "status": show_status,
        "logs": show_logs,
        "restart": restart,
        "stop": stop,
    }
    try:
        options = settings.load(arguments)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    layout = Layout(options.folder)
    try:
        return commands[options.command](options, layout)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        say("stopped before it was up" if options.command == "start" else "")
        return EXIT_FAILED


def start(options: Options, layout: Layout) -> int:
    """Start the suite; in the foreground stay until a signal ends it."""
    for number in END_SIGNALS:
        signal.signal(number, _interrupt)
    layout.make()
    with _only_start(layout):
        if Supervisor(layout).is_running():
            say("the suite runs already")
            return show_status(options, layout)
        began = time.monotonic()
        suite = Suite(options, layout, say)
        situation = suite.decide()
        try:
            wrong = _bring_up(suite, situation)
        except BaseException:
            _shut_down(suite, layout)
            raise
    say(f"\n{describe_places(situation, layout.folder)}\n")
    for name, problem in wrong.items():
        say(f"NOT HEALTHY: {name}: {problem}")
    if not wrong:
        say(f"all healthy after {time.monotonic() - began:.0f} s")
    if options.is_detached:
        say("stop it with ./run_local.sh stop")
        return EXIT_FAILED if wrong else 0
    return _stay(suite, situation, layout)


def show_status(_: Options, layout: Layout) -> int:
    """Print the state of every program and where things are."""
    supervisor = Supervisor(layout)
    situation = _situation(layout) if supervisor.is_running() else None
    if situation is None:
        say("the suite does not run")
        return EXIT_NOT_RUNNING
    wrong = {p.name: problem for p in services(situation) if (problem := ask(p))}
    states = [(str(p["name"]), str(p["statename"]).lower()) for p in supervisor.processes()]
    # A program that answers has started, whatever the supervisor waits for still.
    wrong |= {name: f"is {state}" for name, state in states if state not in {"running", "starting"}}
    say(f"{describe_states(states, wrong)}\n\n{describe_places(situation, layout.folder)}")
    return EXIT_FAILED if wrong else 0


def show_logs(options: Options, layout: Layout) -> int:
    """Print the last lines of the programs' logs, and new ones as they come."""
    known = sorted(path.stem for path in layout.logs.glob("*.log"))
    unknown = [name for name in options.programs if name not in known]
    if unknown or not known:
        raise StartError(f"no log of {', '.join(unknown) or 'anything'}; there are: {known}")
    follower = Follower(layout, options.programs or known)
    follower.print_new()
    while options.follow:
        time.sleep(FOLLOW_INTERVAL_S)
        follower.print_new()
    return 0


def restart(options: Options, layout: Layout) -> int:
    """End and start single programs, killing those that do not end; wait until they run.

    Raises:
        StartError: If there is no such program, or one does not start.
    """
    supervisor = Supervisor(layout)
    if not supervisor.is_running():
        say("the suite does not run")
        return EXIT_NOT_RUNNING
    known = sorted(str(process["name"]) for process in supervisor.processes())
    unknown = [name for name in options.programs if name not in known]
    if unknown or not options.programs:
        raise StartError(f"no program {', '.join(unknown) or 'is named'}; there are: {known}")
    for name in options.programs:
        supervisor.restart(name)
        say(f"restarted {name}")
    return 0


def stop(_: Options, layout: Layout) -> int:
    """End the suite, and whatever a killed run has left."""
    supervisor = Supervisor(layout)
    if supervisor.is_running():
        supervisor.shut_down()
        end_leftovers(run_id(layout))
        say("stopped; the data stays in " + str(layout.folder))
    elif end_leftovers(run_id(layout)):
        say("ended what a killed run had left behind")
    else:
        say("the suite does not run")
    return 0


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _bring_up(suite: Suite, situation: Situation) -> dict[str, str]:
    environment = suite.prepare(situation)
    say("starting PostgreSQL and Redis")
    suite.launch(environment)
    say("migrating")
    suite.set_up_database(situation, environment)
    say("starting the services")
    return suite.start_services(situation)


def _stay(suite: Suite, situation: Situation, layout: Layout) -> int:
    """Print the logs until a signal ends the suite (0) or the supervisor dies (1)."""
    assert suite.process is not None  # noqa: S101 - launched
    try:
        names = [program.name for program in services(situation)]
        follower = Follower(layout, ["postgres", "redis", *names], lines_before=0)
        # Whoever reads this line may send the signal at once.
        say("Ctrl-C stops it; the logs follow\n")
        while suite.process.poll() is None:
            follower.print_new()
            time.sleep(FOLLOW_INTERVAL_S)
    except KeyboardInterrupt:
        _shut_down(suite, layout)
        say("stopped")
        return 0
    say("the supervisor has ended: see ./run_local.sh logs supervisord")
    end_leftovers(run_id(layout))
    return EXIT_FAILED


def _shut_down(suite: Suite, layout: Layout) -> None:
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if suite.process is None:
        return
    say("stopping")
    try:
        Supervisor(layout).shut_down()
    except NOT_THERE:
        suite.process.terminate()
        suite.process.wait()
    end_leftovers(run_id(layout))


def _situation(layout: Layout) -> Situation:
    return msgspec.json.decode(layout.state.read_bytes(), type=Situation)


@contextmanager
def _only_start(layout: Layout) -> Iterator[None]:
    with (layout.run / "start.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError("another start is under way") from None
        yield


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
