# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The decisions of a local start, without starting anything."""

import io
import json
import shlex
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from localrun.errors import StartError
from localrun.health import ask
from localrun.layout import Layout, Secrets
from localrun.logs import Follower
from localrun.plan import Program, Situation, needed_ports, plan_environment, plan_programs
from localrun.ports import OFFSET, check_ports
from localrun.settings import PORTS, load, read_ports, without_own_exports
from localrun.sources import choose_chain
from localrun.starting import environment_file
from localrun.supervisor import render_config

SECRETS = Secrets(superuser="5", database="da7a", redis="4ed1")


def situation(*, simulator: bool = True, chain: bool = True) -> Situation:
    return Situation(read_ports({}), simulator, "why", chain, "why")


def test_a_second_suite_that_moves_as_advised_meets_no_port_of_the_first() -> None:
    first = read_ports({})
    assert not {*read_ports({}, OFFSET).values()} & {*first.values()}
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = {"API_PORT": server.getsockname()[1]}
        with pytest.raises(StartError, match=f"--port-offset {OFFSET}"):
            check_ports(taken, taken)


def test_ports_are_those_of_compose_unless_set() -> None:
    ports = read_ports({"API_PORT": "9000"}, offset=10)
    assert ports["API_PORT"] == 9000
    assert ports["ORDER_API_PORT"] == 8090
    assert read_ports({}) == {name: default for name, (default, _) in PORTS.items()}


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "8022.5"])
def test_a_port_that_is_none_is_refused_by_name(value: str) -> None:
    with pytest.raises(StartError, match=r"API_PORT=.*allowed are ports from 1 to 65535"):
        read_ports({"API_PORT": value})


def test_two_programs_cannot_have_one_port() -> None:
    with pytest.raises(StartError, match="each needs a port of its own"):
        read_ports({"API_PORT": "8080"})


def test_simulated_and_real_prices_are_in_different_databases() -> None:
    assert situation(simulator=True).database != situation(simulator=False).database


def test_only_ports_that_are_used_must_be_free() -> None:
    assert set(needed_ports(situation())) == set(PORTS)
    outside = needed_ports(situation(simulator=False, chain=False))
    assert set(PORTS) - set(outside) == {"EXCHANGE_PORT", "CHAIN_PORT"}


def test_the_world_outside_is_not_redirected_when_it_is_wanted() -> None:
    outside = situation(simulator=False, chain=False)
    planned = plan_environment(outside, SECRETS, {}, Path("/state"))
    assert not {"BINANCE_BASE_URL", "WEB3_PROVIDER", "START_DATE"} & planned.keys()
    names = {program.name for program in plan_programs(outside, Path("/"), "python")}
    assert names == {"api-server", "order-api", "data-collector", "order-events"}


def test_services_are_pointed_at_the_simulator_and_the_local_chain() -> None:
    planned = plan_environment(situation(), SECRETS, {}, Path("/state"))
    assert planned["BINANCE_WS_URL"] == "ws://127.0.0.1:9080"
    assert planned["WEB3_PROVIDER"] == "http://127.0.0.1:8545"
    assert planned["DB_PASSWORD"] == SECRETS.database


def test_the_environment_file_survives_a_shell() -> None:
    planned = plan_environment(situation(), SECRETS, {"START_DATE": "a 'b' $c"}, Path("/a b"))
    words = shlex.split(environment_file(planned))
    assert "START_DATE=a 'b' $c" in words
    assert "DATABASE_URL=postgresql://linkora:da7a@127.0.0.1:5432/linkora_simulator" in words


def sourced(text: str, before: dict[str, str]) -> dict[str, str]:
    """Return the environment of a shell that has sourced the file."""
    words = (word.partition("=") for word in shlex.split(text) if word != "export")
    return before | {name: value for name, _, value in words}


def test_a_start_takes_nothing_that_its_own_file_exported_for_the_users_wish() -> None:
    planned = plan_environment(situation(), SECRETS, {}, Path("/state"))
    shell = sourced(environment_file(planned), {"SYMBOLS": "BTCUSDT"})
    left = without_own_exports(shell)
    assert "BINANCE_BASE_URL" not in left
    assert "CHAIN_STATE" not in left
    assert choose_chain(left, is_wanted=False).reason == "not wanted"
    assert left["SYMBOLS"] == "BTCUSDT"
    assert read_ports(left) == situation().ports


def test_an_address_that_was_changed_after_sourcing_is_the_users() -> None:
    planned = plan_environment(situation(), SECRETS, {}, Path("/state"))
    shell = sourced(environment_file(planned), {})
    left = without_own_exports(shell | {"WEB3_PROVIDER": "https://chain.example"})
    assert left["WEB3_PROVIDER"] == "https://chain.example"
    assert without_own_exports({"WEB3_PROVIDER": "x"}) == {"WEB3_PROVIDER": "x"}


def test_an_offset_moves_the_ports_of_a_shell_that_has_sourced_the_file() -> None:
    planned = plan_environment(situation(), SECRETS, {}, Path("/state"))
    shell = sourced(environment_file(planned), {})
    assert read_ports(without_own_exports(shell, OFFSET), OFFSET) == read_ports({}, OFFSET)


@pytest.mark.parametrize(
    "words", ["logs --no-follow order-events timescaledb", "logs order-events postgres --no-follow"]
)
def test_an_option_may_stand_before_or_after_the_programs(words: str) -> None:
    options = load(words.split())
    assert (options.command, options.follow) == ("logs", False)
    assert options.programs == ("order-events", "postgres")
    assert load(["--detach"]).command == "start"
    assert load(["--detach", "stop"]).command == "stop"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"scan": {"head_block": None}}, "no provider of WEB3_PROVIDER has answered yet"),
        ({"scan": {"head_block": 5}}, ""),
        ({"chain": "NOT_CONFIGURED"}, ""),
        ({"chain": "healthy", "scan": {"head_block": None}}, ""),
    ],
)
def test_an_event_processor_is_well_only_once_it_has_heard_of_its_chain(
    body: dict[str, object], problem: str
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/health"
        assert ask(Program("order-events", (), Path("/"), url)) == problem
        thread.join()


def test_stores_start_with_the_supervisor_and_services_when_told(tmp_path: Path) -> None:
    programs = [
        Program("redis", ("redis-server", "100%"), tmp_path, is_store=True),
        Program("api-server", ("python", "a b.py"), tmp_path),
    ]
    config = render_config(Layout(tmp_path), programs)
    stores, services = config.split("[program:api-server]")
    assert "autostart=true" in stores.split("[program:redis]")[1]
    assert "autostart=false" in services
    assert "100%%" in stores
    assert "'a b.py'" in services


def test_a_socket_path_that_is_too_long_is_moved(tmp_path: Path) -> None:
    short, long = Layout(Path("/srv/x")), Layout(tmp_path / ("x" * 120))
    assert short.socket == Path("/srv/x/run/supervisor.sock")
    assert len(str(long.socket)) < 100
    assert long.socket != Layout(tmp_path / ("y" * 120)).socket


def test_secrets_are_made_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    first = layout.secrets()
    assert Layout(tmp_path).secrets() == first
    assert len({first.superuser, first.database, first.redis}) == 3


def test_a_follower_prints_whole_lines_once_and_sees_rotation(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    log, out = layout.log("api"), io.StringIO()
    log.write_text("one\ntwo\nthr")
    follower = Follower(layout, ["api"], lines_before=1)
    follower.print_new(out)
    with log.open("a") as file:
        file.write("ee\n")
    follower.print_new(out)
    log.rename(log.with_suffix(".1"))
    log.write_text("four\n")
    follower.print_new(out)
    follower.print_new(out)
    assert out.getvalue() == "api | two\napi | three\napi | four\n"
