# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The Kubernetes manifests: what the schema says of them, and that they say what Compose says."""

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "production/kubernetes"
# From a cluster that is old by now to the newest that the validator knows.
VERSIONS = ["1.30", "1.33", "1.35", "1.37"]
SERVICES = ("api-server", "order-api", "data-collector", "order-events")
PORTS = {"api-server": 8000, "order-api": 8080, "data-collector": 8023, "order-events": 8081}
SECRETS = "linkora-secrets"
# Of DB_POOL_SIZE and of the alerts' and figures' own connection.
CONNECTIONS_OF_A_PROCESS = 11


@cache
def kustomization() -> Any:
    return yaml.safe_load((FOLDER / "kustomization.yaml").read_text())


@cache
def resources() -> dict[tuple[str, str], Any]:
    """Return every object that ``kubectl apply -k`` applies, by kind and name."""
    found = {}
    for file in kustomization()["resources"]:
        for each in yaml.safe_load_all((FOLDER / file).read_text()):
            key = (each["kind"], each["metadata"]["name"])
            assert key not in found, f"{key} twice"
            found[key] = each
    return found


def of_kind(kind: str) -> dict[str, Any]:
    return {name: each for (its, name), each in resources().items() if its == kind}


def workloads() -> dict[str, Any]:
    return of_kind("Deployment") | of_kind("Job")


def pod(name: str) -> Any:
    return workloads()[name]["spec"]["template"]["spec"]


def container(name: str) -> Any:
    (only,) = pod(name)["containers"]
    return only


@cache
def compose(file: str = "docker-compose.yml") -> Any:
    return yaml.safe_load((ROOT / file).read_text())["services"]


@cache
def settings_known() -> set[str]:
    text = (ROOT / ".env.example").read_text()
    return set(re.findall(r"^#([A-Z0-9_]+)=", text, re.MULTILINE))


# --- the schema ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_own_schema_takes_every_object_and_knows_every_field(version: str) -> None:
    for each in resources().values():
        kubernetes_validate.validate(each, version, strict=True)


def test_the_validator_refuses_what_is_wrong() -> None:
    broken = json.loads(json.dumps(resources()["Deployment", "api-server"]))
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_every_file_is_applied_into_the_one_namespace() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization()["resources"]) == files
    assert kustomization().keys() == {"apiVersion", "kind", "namespace", "resources"}
    for (kind, _), each in resources().items():
        space = each["metadata"]["name" if kind == "Namespace" else "namespace"]
        assert space == kustomization()["namespace"]


# --- the same suite as in Compose ----------------------------------------------------------------


@pytest.mark.parametrize("name", [*SERVICES, "migrate", "redis"])
def test_a_pod_runs_the_image_and_the_command_of_compose(name: str) -> None:
    assert container(name)["image"] == compose()[name]["image"]
    wanted = compose("docker-compose.prod.yml" if name == "redis" else "docker-compose.yml")[name]
    ours = container(name).get("args") or container(name).get("command")
    assert ours == wanted.get("command")


@pytest.mark.parametrize("name", [*SERVICES, "migrate", "redis"])
def test_a_variable_is_one_that_compose_hands_to_the_same_service(name: str) -> None:
    production = compose("docker-compose.prod.yml")[name]["environment"]
    handed_on = compose()[name]["environment"].keys() | production.keys()
    for each in container(name)["env"]:
        variable = each["name"]
        assert variable in settings_known()
        assert variable in handed_on
        wanted = str(production.get(variable, ""))
        secret = re.fullmatch(r"\$\{([A-Z_]+):\?.*\}", wanted)
        if secret:
            reference = each["valueFrom"]["secretKeyRef"]
            assert (reference["name"], reference["key"]) == (SECRETS, secret.group(1))
            assert "optional" not in reference
        elif wanted and "$" not in wanted:
            assert each["value"] == wanted
    demanded = {v for v, value in production.items() if ":?" in str(value)}
    assert demanded <= {each["name"] for each in container(name)["env"]}


def test_shared_settings_are_known_and_reach_every_service_of_ours() -> None:
    shared = resources()["ConfigMap", "linkora-settings"]["data"]
    assert shared.keys() <= settings_known()
    assert not [name for name in shared if "PASSWORD" in name or "WEBHOOK" in name]
    for name in (*SERVICES, "migrate"):
        assert container(name)["envFrom"] == [{"configMapRef": {"name": "linkora-settings"}}]
    used = {each for name in (*SERVICES, "migrate") for each in compose()[name]["environment"]}
    assert shared.keys() <= used
    (redis,) = resources()["Service", "redis"]["spec"]["ports"]
    assert (shared["REDIS_HOST"], shared["REDIS_PORT"]) == ("redis", str(redis["port"]))


@pytest.mark.parametrize("name", SERVICES)
def test_ports_agree_from_the_setting_to_the_service(name: str) -> None:
    port = PORTS[name]
    values = {each["name"]: each.get("value") for each in container(name)["env"]}
    environment = compose()[name]["environment"]
    (setting,) = [v for v, value in environment.items() if value == str(port)]
    assert values[setting] == str(port)
    host = setting.replace("_PORT", "_HOST")
    assert values[host] == environment[host] == "0.0.0.0"
    assert container(name)["ports"] == [{"name": "http", "containerPort": port}]
    service = resources()["Service", name]["spec"]
    assert service["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]
    assert service["selector"].items() <= labels(name).items()


@pytest.mark.parametrize("name", [*SERVICES, "redis"])
def test_limits_are_those_of_compose(name: str) -> None:
    limits = compose("docker-compose.prod.yml")[name]["deploy"]["resources"]["limits"]
    cpus, memory = (re.sub(r".*:-(.+)\}", r"\1", str(limits[key])) for key in ("cpus", "memory"))
    ours = container(name)["resources"]
    assert float(ours["limits"]["cpu"]) == float(cpus)
    assert ours["limits"]["memory"] == memory.upper() + "i"
    assert ours["requests"].keys() == {"cpu", "memory"}


def test_redis_starts_by_the_script_of_compose() -> None:
    script = resources()["ConfigMap", "redis-start"]["data"]["start.sh"]
    assert script == (ROOT / "production/redis/start.sh").read_text()


def test_no_object_is_a_secret_and_every_reference_is_to_the_one_secret() -> None:
    assert not of_kind("Secret")
    made = set(re.findall(r"\w+_PASSWORD", (ROOT / "production/make_secrets.sh").read_text()))
    for name in workloads():
        for each in container(name)["env"]:
            if "valueFrom" in each:
                reference = each["valueFrom"]["secretKeyRef"]
                assert reference["name"] == SECRETS
                assert reference["key"] in made or reference["optional"] is True
            else:
                assert "PASSWORD" not in each["name"]


# --- what a pod may ------------------------------------------------------------------------------


def labels(name: str) -> dict[str, str]:
    found: dict[str, str] = workloads()[name]["spec"]["template"]["metadata"]["labels"]
    return found


@pytest.mark.parametrize("name", [*SERVICES, "migrate", "redis"])
def test_a_pod_may_little(name: str) -> None:
    spec, ours = pod(name), container(name)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert ours["readOnlyRootFilesystem"] is True
    assert ours["allowPrivilegeEscalation"] is False
    assert ours["capabilities"] == {"drop": ["ALL"]}
    # Kubernetes' own variables (REDIS_PORT=tcp://..., API_SERVER_PORT=...) would be ours.
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_our_pods_run_as_the_user_of_the_image(name: str) -> None:
    folder = ROOT / Path(compose()[name]["build"]["dockerfile"])
    (user,) = re.findall(r"--uid (\d+)", folder.read_text())
    assert pod(name)["securityContext"]["runAsUser"] == int(user)


def test_nobody_reaches_anybody_but_by_a_rule() -> None:
    policies = of_kind("NetworkPolicy")
    closed = policies["nobody-reaches-anybody"]["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert selected(policies["ingress-reaches-apis"]["spec"]["podSelector"]) == {
        "api-server", "order-api",
    }  # fmt: skip
    assert selected(policies["services-reach-redis"]["spec"]["podSelector"]) == {"redis"}
    (way,) = policies["services-reach-redis"]["spec"]["ingress"]
    (who,) = way["from"]
    assert selected(who["podSelector"]) == set(SERVICES)
    # What is let in must be let out.
    assert selected(policies["services-reach-stores"]["spec"]["podSelector"]) == {
        *SERVICES, "migrate",
    }  # fmt: skip


def selected(selector: Any) -> set[str]:
    """Return the workloads whose pods a selector takes."""
    taken = set()
    for name in workloads():
        its = labels(name)
        exact = selector.get("matchLabels", {}).items() <= its.items()
        if exact and all(
            its.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", [])
        ):
            taken.add(name)
    return taken


# --- going on while pods come and go -------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_a_rollout_has_the_new_pod_before_the_old_one_goes(name: str) -> None:
    spec = workloads()[name]["spec"]
    rolling = {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert of_kind("PodDisruptionBudget")[name]["spec"]["maxUnavailable"] == 1
    assert selected(of_kind("PodDisruptionBudget")[name]["spec"]["selector"]) == {name}
    for spread in pod(name)["topologySpreadConstraints"]:
        assert selected(spread["labelSelector"]) == {name}


@pytest.mark.parametrize("name", SERVICES)
def test_a_neighbours_outage_restarts_nothing(name: str) -> None:
    ours = container(name)
    for probe in ("livenessProbe", "startupProbe"):
        # Not /health, which is 503 while a neighbour is away.
        assert ours[probe]["httpGet"] == {"path": "/metrics", "port": "http"}
    if name == "order-events":
        # The one that waits for the lead must be ready, or the one that leads would never go.
        assert ours["readinessProbe"]["httpGet"] == {"path": "/metrics", "port": "http"}
    else:
        command = ["python", "/probes/ready.py", str(PORTS[name])]
        assert ours["readinessProbe"]["exec"]["command"] == command


@pytest.mark.parametrize("name", ["api-server", "order-api"])
def test_an_api_replica_is_out_of_the_balancing_before_it_stops(name: str) -> None:
    waits = int(container(name)["lifecycle"]["preStop"]["exec"]["command"][1])
    assert waits >= 5
    grace = int(compose("docker-compose.prod.yml")[name]["stop_grace_period"].rstrip("s"))
    assert pod(name)["terminationGracePeriodSeconds"] >= waits + grace


def test_replicas_at_their_most_leave_the_database_connections_to_spare() -> None:
    command = compose("docker-compose.prod.yml")["timescaledb"]["command"]
    (most,) = [int(each.split("=")[1]) for each in command if each.startswith("max_connections=")]
    (kept,) = [int(e.split("=")[1]) for e in command if e.startswith("superuser_reserved")]
    pods = 0
    for name in SERVICES:
        scaler = of_kind("HorizontalPodAutoscaler").get(name)
        fixed = workloads()[name]["spec"].get("replicas")
        assert (scaler is None) != (fixed is None), f"{name}: who says how many?"
        pods += (scaler["spec"]["maxReplicas"] if scaler else fixed) + 1  # one more in a rollout
    assert pods * CONNECTIONS_OF_A_PROCESS < most - kept


def test_collectors_together_keep_below_the_exchanges_limit() -> None:
    share = float(resources()["ConfigMap", "linkora-settings"]["data"]["REQUEST_WEIGHT_SHARE"])
    assert share * workloads()["data-collector"]["spec"]["replicas"] < 1


def test_the_ingress_leads_to_services_keeps_sockets_and_hides_the_metrics() -> None:
    ingress = resources()["Ingress", "linkora"]
    heartbeat_s = int(re.findall(r"WEBSOCKET_PING_INTERVAL=(\d+)", env_example())[0])
    for way in ("read", "send"):
        timeout = ingress["metadata"]["annotations"][
            f"nginx.ingress.kubernetes.io/proxy-{way}-timeout"
        ]
        assert int(timeout) >= 2 * heartbeat_s
    hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
    assert hosts == set(ingress["spec"]["tls"][0]["hosts"])
    for rule in ingress["spec"]["rules"]:
        targets = {p["path"]: p["backend"]["service"]["name"] for p in rule["http"]["paths"]}
        assert targets["/metrics"] == "nothing"
        assert set(targets.values()) <= of_kind("Service").keys()
    assert "selector" not in resources()["Service", "nothing"]["spec"]
    orders = resources()["ConfigMap", "linkora-settings"]["data"]["WEB_ORDERS_URL"]
    assert orders.removeprefix("https://") in hosts


def env_example() -> str:
    return (ROOT / ".env.example").read_text()


# --- the readiness script ------------------------------------------------------------------------


class Service(http.server.HTTPServer):
    """A server whose ``/health`` is 503 with the body that it was given."""

    body: object = None


@pytest.fixture
def service() -> Iterator[Service]:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            assert isinstance(self.server, Service)
            self.wfile.write(json.dumps(self.server.body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with Service(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def is_ready(port: int, folder: Path) -> bool:
    script = resources()["ConfigMap", "probes"]["data"]["ready.py"]
    done = subprocess.run(
        [sys.executable, "-c", script, str(port)], check=False, timeout=20, capture_output=True,
        env={"TMPDIR": str(folder)},
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.parametrize(
    ("reached", "away"),
    [
        ({"database": "healthy"}, {"database": "unhealthy", "status": "degraded"}),
        (
            {"overall_status": "unhealthy", "components": {"database": "HEALTHY"}},
            {"components": {"database": "UNHEALTHY"}},
        ),
    ],
    ids=["market data", "orders"],
)
def test_a_pod_is_ready_once_it_has_reached_the_database_and_stays_so(
    service: Service, tmp_path: Path, reached: object, away: object
) -> None:
    for body, ready in ((away, False), (reached, True), (away, True)):
        service.body = body
        assert is_ready(service.server_port, tmp_path) == ready


def test_a_pod_that_does_not_answer_is_not_ready(tmp_path: Path) -> None:
    assert not is_ready(1, tmp_path)
