"""The chart's objects are valid, agree with the programs, and lose no call when pods are replaced."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml
from tests.deploy.containers import ROOT
from tests.deploy.manifests import (
    PROJECT,
    VALUES,
    VERSION,
    Manifest,
    check_restricted,
    containers,
    environment,
    image_environment,
    of_kind,
    pods,
    rendered,
    schema_errors,
    settings,
    stages,
    unknown_to_trainer,
    variables,
)

from dejavu_client.transport.servers import parse_servers
from dejavu_common.address import Address
from dejavu_server.access.policy import SERVICES
from dejavu_server.api.health import HEALTH_SERVICE
from dejavu_server.supervisor.recycling import KILL_FACTOR
from dejavu_store.remote import MAX_COPIED_BYTES

KILLED_AFTER_GRACE_SECONDS = 5
"""Time from the end of the grace time until the supervisor kills workers."""


PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@pytest.fixture(params=VALUES)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(VALUES[request.param])


def of_server(objects: list[Manifest]) -> Manifest:
    """Return the container of the server."""
    [container] = [container for _, container in containers(objects) if container["name"] == "server"]
    return container


def test_kubernetes_takes_them_and_a_field_that_it_does_not_know_would_be_noticed(tmp_path: Path) -> None:
    [server] = copy.deepcopy(of_kind(rendered(VALUES["small"]), "Deployment", "dejavu-server"))
    server["spec"]["template"]["spec"]["containers"][0]["readOnlyRoot"] = True
    server["metadata"]["name"] = "broken"
    known = [each for values in VALUES.values() for each in rendered(values) if "monitoring" not in each["apiVersion"]]
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump_all([*known, server]))
    wrong = schema_errors(path)
    assert wrong
    assert [line for line in wrong if "broken" not in line] == []


def test_containers_run_images_of_this_version_with_variables_that_their_programs_know(objects: list[Manifest]) -> None:
    for _, container in containers(objects):
        assert container["image"] == f"dejavu-{container['name']}:{VERSION}"
        assert container["name"] in stages()
        assert {name for name in environment(container) if name.startswith("DEJAVU_")} <= variables(container["name"])
    server = of_server(objects)
    chosen = settings({**image_environment("server"), **environment(server)})
    assert chosen.insecure != bool(chosen.tls_cert and chosen.tokens)
    assert bool(chosen.cache_secret) == chosen.cache.startswith("redis:")
    [target] = {environment(each)["DEJAVU_TARGET"] for _, each in containers(objects) if each["name"] != "server"}
    [service] = of_kind(objects, "Service", "dejavu-server")
    assert parse_servers(target).name == Address(service["metadata"]["name"], Address.parse(chosen.listen).port)


def test_ports_are_those_of_the_images_and_of_the_services(objects: list[Manifest]) -> None:
    for _, container in containers(objects):
        image = image_environment(container["name"])
        listened = {Address.parse(value).port for name, value in image.items() if name.endswith("LISTEN")}
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert set(ports.values()) == listened
        for service in of_kind(objects, "Service", f"dejavu-{container['name']}"):
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()
        for policy in of_kind(objects, "NetworkPolicy", f"dejavu-{container['name']}"):
            rules = policy["spec"].get("ingress", [])
            assert {port["port"] for rule in rules for port in rule["ports"]} <= ports.keys()
        for probe in PROBES:
            match container.get(probe, {}):
                case {"grpc": checked}:
                    assert "DEJAVU_TLS_CERT" not in environment(container)
                    assert checked["port"] == ports["grpc"]
                    assert checked.get("service", "") in {"", *SERVICES, HEALTH_SERVICE.full_name}
                case {"httpGet": checked}:
                    assert checked["port"] in ports
                    assert checked["path"] in {"/metrics", "/healthz"}
                case {"exec": checked}:
                    assert checked["command"][0] in PROJECT["scripts"]
                    assert set(checked["command"][2:]) <= set(SERVICES)
    assert all(probe in of_server(objects) for probe in PROBES)


def test_pods_have_time_to_drain(objects: list[Manifest]) -> None:
    for pod, container in containers(objects):
        command = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        wait, grace = int(command[1]), 5.0
        match container["name"]:
            case "server":
                grace = settings(environment(container)).grace_seconds + KILLED_AFTER_GRACE_SECONDS
                assert wait >= 5  # until clients no longer find the pod
            case "dashboard":
                grace = float(container["args"][container["args"].index("--grace") + 1])
        assert pod["terminationGracePeriodSeconds"] >= wait + grace


def test_pods_are_replaced_without_a_gap_where_several_can_run(objects: list[Manifest]) -> None:
    [server] = of_kind(objects, "Deployment", "dejavu-server")
    strategy, replicas = server["spec"]["strategy"], server["spec"].get("replicas")
    budgets = {each["metadata"]["name"] for each in of_kind(objects, "PodDisruptionBudget")}
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    if environment(of_server(objects))["DEJAVU_LEDGER"].startswith("sqlite:"):
        assert (strategy, replicas) == ({"type": "Recreate"}, 1)  # a volume of one pod
        # A budget of one pod would keep nodes from being drained.
        assert budgets == {"dejavu-poller", "dejavu-dashboard"}
        assert not scalers
    else:
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert budgets == {"dejavu-server", "dejavu-poller", "dejavu-dashboard"}
        # An upgrade that names the number would undo what the autoscaler chose.
        assert (replicas is None) == bool(scalers)
        assert replicas is None or replicas >= 2
        assert all(scaler["spec"]["minReplicas"] >= 2 for scaler in scalers)


def mebibytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "Gi" else 1)


def test_workers_are_replaced_before_the_kernel_kills_them_and_copies_of_models_have_room(
    objects: list[Manifest],
) -> None:
    """A pod whose cache grows above its limit is evicted."""
    [(pod, server)] = [(pod, container) for pod, container in containers(objects) if container["name"] == "server"]
    chosen = settings(environment(server))
    empty = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume}
    [temporary] = [each for each in empty.values() if each.get("medium") == "Memory"]
    others = 150  # MiB of the supervisor and of the fork server: docs/deployment.md
    most = KILL_FACTOR * chosen.workers * chosen.max_rss + others + mebibytes(temporary["sizeLimit"])
    assert most <= mebibytes(server["resources"]["limits"]["memory"])
    mounts = {each["mountPath"]: each["name"] for each in server["volumeMounts"]}
    cache = empty[mounts[image_environment("server")["XDG_CACHE_HOME"]]]
    assert "medium" not in cache
    assert mebibytes(cache["sizeLimit"]) > MAX_COPIED_BYTES / 1024**2


def test_pods_satisfy_the_restricted_standard(objects: list[Manifest]) -> None:
    for pod in pods(objects):
        check_restricted(pod["spec"])
    assert "pod-security.kubernetes.io/enforce=restricted" in (ROOT / "docs/deployment.md").read_text()


def test_every_secret_is_explained_and_none_is_in_the_manifests(objects: list[Manifest]) -> None:
    assert of_kind(objects, "Secret") == []
    text = yaml.safe_dump_all(objects)
    named = set(re.findall(r"(?:secretName|secretKeyRef:\s+key: \S+\s+name|secretRef:\s+name): (\S+)", text))
    assert "dejavu-signing" in named
    document = (ROOT / "docs/deployment.md").read_text()
    assert [name for name in named if f"kubectl create secret generic {name} " not in document] == []


def test_nothing_reaches_a_pod_that_no_policy_names(objects: list[Manifest]) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")}
    default = policies["dejavu-default"]
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    components = set()
    for pod in pods(objects):
        components.add(pod["metadata"]["labels"]["app.kubernetes.io/component"])
        assert default["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policies.keys() == {"dejavu-default", *(f"dejavu-{name}" for name in components)}
    for policy in policies.values():
        peers = [rule["from"] for rule in policy.get("ingress", [])] + [rule["to"] for rule in policy.get("egress", [])]
        assert all(peers), "without a peer a rule allows all"


@pytest.fixture(params=["folder", "all"])
def retrained(request: pytest.FixtureRequest) -> list[Manifest]:
    """The objects of a chart with a job that retrains."""
    return rendered(VALUES[request.param])


def test_the_job_that_retrains_works_on_the_store_and_ledger_of_the_servers(retrained: list[Manifest]) -> None:
    [job] = of_kind(retrained, "CronJob")
    [pod] = [each["spec"] for each in pods([job])]
    [container] = pod["containers"]
    assert container["image"] == f"dejavu-trainer:{VERSION}"
    assert unknown_to_trainer(container["args"]) == []
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    [deployment] = of_kind(retrained, "Deployment", "dejavu-server")
    given = environment(of_server(retrained))
    options = dict(each.partition("=")[::2] for each in container["args"])
    assert options["--store"] == given["DEJAVU_MODEL_STORE"]
    shared = given["DEJAVU_LEDGER"].startswith("postgresql:")
    assert (f"--from={given['DEJAVU_LEDGER']}" in container["args"]) == shared
    assert ("PGPASSWORD" in {each["name"] for each in container["env"]}) == shared
    kept = {each["name"]: each.get("persistentVolumeClaim") for each in pod["volumes"]}
    mounted = {each["mountPath"]: kept[each["name"]] for each in container["volumeMounts"]}
    assert any(claim and options["--work"].startswith(f"{path}/") for path, claim in mounted.items())
    if "://" in options["--store"]:
        accounts = {each["serviceAccountName"] for each in (pod, deployment["spec"]["template"]["spec"])}
        assert accounts == {"dejavu-models"}
        assert "dejavu-store" in str(container["envFrom"])
        assert container["envFrom"] == of_server(retrained)["envFrom"]
    else:
        assert mounted[options["--store"]] == {"claimName": "dejavu-models"}
        assert {"claimName": "dejavu-models"} in [
            each.get("persistentVolumeClaim") for each in deployment["spec"]["template"]["spec"]["volumes"]
        ]
        [claim] = of_kind(retrained, "PersistentVolumeClaim", "dejavu-models")
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_job_reaches_servers_database_and_store_only(retrained: list[Manifest]) -> None:
    [policy] = of_kind(retrained, "NetworkPolicy", "dejavu-retrain")
    assert "ingress" not in policy["spec"]
    servers, *others = policy["spec"]["egress"]
    [server] = of_kind(retrained, "Deployment", "dejavu-server")
    assert servers["to"] == [{"podSelector": server["spec"]["selector"]}]
    [served] = of_kind(retrained, "NetworkPolicy", "dejavu-server")
    assert {"podSelector": policy["spec"]["podSelector"]} in served["spec"]["ingress"][0]["from"]
    assert others == [each for each in served["spec"].get("egress", []) if each["ports"] != [{"port": 6379}]]
