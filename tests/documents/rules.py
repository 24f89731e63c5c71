# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""For each command of the documents: which test runs it, or why no test can, and what is looked at.

A command that no rule knows, or that two rules know, fails ``test_commands.py``; so does a rule
that no command needs any more.
"""

import re
from collections.abc import Callable

import msgspec
from documents import checks

from testkit.documents import Command

COMPOSE = "tests/containers"
MONITORING = "tests/monitoring"
LOCAL = "local/tests"

Check = Callable[[Command], None]


class Run(msgspec.Struct, frozen=True):
    """Commands that a test runs as they stand in the document."""

    pattern: str
    by: str
    """The test module; it must say that it runs these, see ``test_commands.py``."""
    kind: str


class Listed(msgspec.Struct, frozen=True):
    """Commands that are not run as they stand, and what is done instead.

    Attributes:
        pattern: Of the whole command.
        why: The reason.
        look: What is checked about its files, options and services.
        shown_by: The folder of a test that does the same in its own way, and a text that is in it.
    """

    pattern: str
    why: str
    look: tuple[Check, ...]
    shown_by: tuple[str, str] | None = None


ON_PRODUCT = "tests/browser/test_commands.py"
ALONE = "tests/documents/test_starting_alone.py"

RUN = (
    Run(r"curl .*", ON_PRODUCT, "curl"),
    Run(r"\.venv/bin/python demo/\w+\.py( .*)?", ON_PRODUCT, "demo"),
    Run(r"\.venv/bin/websockets .*", ON_PRODUCT, "socket"),
    Run(r"\./test_api\.sh", ON_PRODUCT, "test_api"),
    Run(r"(SELECT|UPDATE) .*", ON_PRODUCT, "sql"),
    Run(r"redis-cli .*", ON_PRODUCT, "redis"),
    Run(r"(cd \S+ && |[A-Z0-9_]+=\S+ )*python main\.py(?! --replay).*", ALONE, "service"),
    Run(r"cd order_system", ALONE, "folder"),
    Run(r"alembic revision .*", ALONE, "alembic"),
)

LISTED = (
    Listed(
        r"docker compose .*\b(up|down)\b.*",
        "builds images and starts a dozen containers",
        (checks.compose,),
        (COMPOSE, "docker-compose.demo.yml"),
    ),
    Listed(
        r"docker compose \.\.\. exec .*",
        "needs production running, and a renewed certificate",
        (checks.compose, checks.gateway_can_reload),
    ),
    Listed(r"docker exec .*", "opens a prompt inside a container", (checks.container,)),
    Listed(
        r"docker (compose( restart)?|inspect|restart|image prune)",
        "the name of a tool, or to be completed by the reader",
        (checks.docker_knows,),
    ),
    Listed(
        r"--scale \S+",
        "an option of `docker compose up`",
        (checks.compose,),
        (COMPOSE, "--scale"),
    ),
    Listed(
        r"(\./)?run_local\.sh.*",
        "starts everything, on fixed ports",
        (checks.script, checks.local_options),
        (LOCAL, "--detach"),
    ),
    Listed(
        r"--(exchange|port-offset|help)\b.*",
        "an option of run_local.sh",
        (checks.local_options,),
    ),
    Listed(r"(\./)?run_tests\.sh", "it is what runs this test", (checks.script,)),
    Listed(
        r"\. \.local/env(; psql .*)?",
        "run_local.sh writes that file",
        (),
        (LOCAL, "DATABASE_URL="),
    ),
    Listed(
        r"pip install -c constraints\.txt -r \S+",
        "needs a package index; run_local.sh and run_tests.sh install the same",
        (checks.requirements,),
    ),
    Listed(
        r"(production/)?(make_secrets|make_certificate|backup|restore|restart|upgrade|start)\.sh.*"
        r"|git pull && .*",
        "works on the production suite",
        (checks.script,),
        (f"{COMPOSE}/production", "make_secrets.sh"),
    ),
    Listed(
        r"(monitoring/)?setup_monitoring\.sh|(\./)?(quick_check|full_diagnostics|data_check"
        r"|api_check|db_connections_check|monitor_growth|emergency_fix)\.sh",
        "looks at a suite that runs, or mends it",
        (checks.script,),
        (MONITORING, "quick_check"),
    ),
    Listed(
        r"\.venv/bin/pip install pip-audit .*|for folder in .*npm audit.*",
        "asks a database of known holes in the network; its answer depends on the day",
        (checks.files,),
    ),
    Listed(
        r"npm install .*&& npm run \w+",
        "needs npm's registry; what it makes is committed",
        (checks.npm_script,),
    ),
    Listed(
        r"promtool test rules",
        "another test runs it, with its files",
        (),
        (MONITORING, '"test", "rules"'),
    ),
    Listed(
        r"prometheus --config\.file=.*",
        "Prometheus is no part of the tests; its checker is asked about the file",
        (checks.files,),
        (MONITORING, "local.yml"),
    ),
    Listed(
        r"SOAK_MINUTES=\d+ pytest .*",
        "takes 20 minutes; the same test runs shorter",
        (checks.files,),
        ("tests/chaos", "SOAK_MINUTES"),
    ),
    Listed(
        r"kubectl .*",
        "needs a cluster; the manifests are held to their schemas and to the Compose files",
        (checks.manifests,),
        ("tests/production", "kubernetes"),
    ),
    Listed(
        r"python main\.py --replay \S+|--replay-minutes-ago N|--name",
        "needs a recorded market, or stands for any option",
        (checks.exchange_options,),
        ("tests/e2e", "replay="),
    ),
)


def rules_for(command: Command) -> list[Run | Listed]:
    """Return the rules that know the command; there should be exactly one."""
    return [rule for rule in (*RUN, *LISTED) if re.fullmatch(rule.pattern, command.text)]


def commands_of_kind(found: list[Command], kind: str) -> list[Command]:
    """Return the commands that the test module of this kind has to run."""
    return [
        command
        for command in found
        for rule in rules_for(command)
        if isinstance(rule, Run) and rule.kind == kind
    ]
