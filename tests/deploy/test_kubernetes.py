"""The chart's objects are valid, agree with the programs, and lose no call when pods are replaced."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

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


@pytest.fixture(params=VALUES)
def objects(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(VALUES[request.param])


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


def test_images_are_those_of_this_version_and_of_the_dockerfile(objects: list[Manifest]) -> None:
    for _, container in containers(objects):
        name, _, tag = container["image"].partition(":")
        assert (tag, name.removeprefix("dejavu-") in stages()) == (VERSION, True), container["image"]
        assert container["name"] == name.removeprefix("dejavu-")


def test_every_variable_is_one_that_its_program_knows_with_a_valid_value(objects: list[Manifest]) -> None:
    for _, container in containers(objects):
        given = environment(container)
        assert {name for name in given if name.startswith("DEJAVU_")} <= variables(container["name"])
        assert {each["name"] for each in container["env"] if "valueFrom" in each} <= {"PGPASSWORD"}
    [server] = [container for _, container in containers(objects) if container["name"] == "server"]
    chosen = settings({**image_environment("server"), **environment(server)})
    assert chosen.insecure != bool(chosen.tls_cert and chosen.tokens)
    assert bool(chosen.cache_secret) == chosen.cache.startswith("redis:")
    [target] = {
        environment(container)["DEJAVU_TARGET"] for _, container in containers(objects) if container["name"] != "server"
    }
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
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            match container.get(probe, {}):
                case {"grpc": checked}:
                    assert checked["port"] == ports["grpc"]
                    assert checked.get("service", "") in {"", *SERVICES, HEALTH_SERVICE.full_name}
                case {"httpGet": checked}:
                    assert checked["port"] in ports
                    assert checked["path"] in {"/metrics", "/healthz"}
                case {"exec": checked}:
                    assert checked["command"][0] in PROJECT["scripts"]
                    assert set(checked["command"][2:]) <= set(SERVICES)


def test_grpc_probes_are_for_servers_without_tls_only(objects: list[Manifest]) -> None:
    [server] = [container for _, container in containers(objects) if container["name"] == "server"]
    secured = "DEJAVU_TLS_CERT" in environment(server)
    kinds = {
        kind
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        for kind in ("grpc", "exec")
        if kind in server[probe]
    }
    assert kinds == ({"exec"} if secured else {"grpc"})


def test_pods_have_time_to_drain(objects: list[Manifest]) -> None:
    for pod, container in containers(objects):
        waits = [
            int(word)
            for word in container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])[1:]
        ]
        match container["name"]:
            case "server":
                grace = settings(environment(container)).grace_seconds + KILLED_AFTER_GRACE_SECONDS
                assert waits[0] >= 5  # until clients no longer find the pod
            case "dashboard":
                grace = float(container["args"][container["args"].index("--grace") + 1])
            case _:
                grace = 5
        assert pod["terminationGracePeriodSeconds"] >= sum(waits) + grace


def test_pods_are_replaced_without_a_gap_where_several_can_run(objects: list[Manifest]) -> None:
    [server] = of_kind(objects, "Deployment", "dejavu-server")
    strategy, replicas = server["spec"]["strategy"], server["spec"].get("replicas")
    container = server["spec"]["template"]["spec"]["containers"][0]
    budgets = {
        each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]: each["spec"]["maxUnavailable"]
        for each in of_kind(objects, "PodDisruptionBudget")
    }
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    if environment(container)["DEJAVU_LEDGER"].startswith("sqlite:"):
        assert (strategy, replicas) == ({"type": "Recreate"}, 1)  # a volume of one pod
        # A budget of one pod would keep nodes from being drained.
        assert budgets == {"poller": 1, "dashboard": 1}
        assert not scalers
    else:
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert budgets == {"server": 1, "poller": 1, "dashboard": 1}
        # An upgrade that names the number would undo what the autoscaler chose.
        assert (replicas is None) == bool(scalers)
        assert replicas is None or replicas >= 2
        for scaler in scalers:
            assert scaler["spec"]["minReplicas"] >= 2
            assert scaler["spec"]["scaleTargetRef"]["name"] == server["metadata"]["name"]


def mebibytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit == "Gi" else 1)


def test_workers_are_replaced_before_the_kernel_kills_them(objects: list[Manifest]) -> None:
    [(pod, server)] = [(pod, container) for pod, container in containers(objects) if container["name"] == "server"]
    chosen = settings(environment(server))
    empty = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
    [temporary] = [each for each in empty if each.get("medium") == "Memory"]
    others = 150  # MiB of the supervisor and of the fork server: docs/deployment.md
    most = KILL_FACTOR * chosen.workers * chosen.max_rss + others + mebibytes(temporary["sizeLimit"])
    assert most <= mebibytes(server["resources"]["limits"]["memory"])


def test_copies_of_models_have_room_on_a_disk(objects: list[Manifest]) -> None:
    """A pod whose cache grows above its limit is evicted."""
    [(pod, server)] = [(pod, container) for pod, container in containers(objects) if container["name"] == "server"]
    mounts = {each["mountPath"]: each["name"] for each in server["volumeMounts"]}
    name = mounts[image_environment("server")["XDG_CACHE_HOME"]]
    [cache] = [each["emptyDir"] for each in pod["volumes"] if each["name"] == name]
    assert "medium" not in cache
    assert mebibytes(cache["sizeLimit"]) > MAX_COPIED_BYTES / 1024**2


def test_pods_satisfy_the_restricted_standard(objects: list[Manifest]) -> None:
    for pod in pods(objects):
        check_restricted(pod["spec"])
    assert "pod-security.kubernetes.io/enforce=restricted" in (ROOT / "docs/deployment.md").read_text()


def test_every_secret_is_explained_and_none_is_in_the_manifests(objects: list[Manifest]) -> None:
    assert of_kind(objects, "Secret") == []
    text = yaml.safe_dump_all(objects)
    keys = r"secretKeyRef:\s+key: \S+\s+name: (\S+)"
    named = {
        name for form in (r"secretName: (\S+)", keys, r"secretRef:\s+name: (\S+)") for name in re.findall(form, text)
    }
    assert "dejavu-signing" in named
    document = (ROOT / "docs/deployment.md").read_text()
    assert [name for name in named if f"kubectl create secret generic {name} " not in document] == []


def test_nothing_reaches_a_pod_that_no_policy_names(objects: list[Manifest]) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")}
    default = policies.pop("dejavu-default")
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    for pod in pods(objects):
        assert default["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    for name, policy in policies.items():
        [component] = {
            name.removeprefix("dejavu-"),
            policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"],
        }
        assert component in {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods(objects)}
    assert len(policies) == len(list(pods(objects)))
    for rule in (rule for policy in [default, *policies.values()] for rule in policy.get("ingress", [])):
        assert rule["from"], "without a peer a rule allows all"
    for rule in (rule for policy in [default, *policies.values()] for rule in policy.get("egress", [])):
        assert rule["to"], "without a peer a rule allows all"


@pytest.fixture(params=["folder", "all"])
def retrained(request: pytest.FixtureRequest) -> list[Manifest]:
    """The objects of a chart with a job that retrains."""
    return rendered(VALUES[request.param])


@pytest.fixture
def job(retrained: list[Manifest]) -> Manifest:
    [found] = of_kind(retrained, "CronJob")
    return found


def pod_of(job: Manifest) -> dict[str, Any]:
    [pod] = pods([job])
    return dict(pod["spec"])


def option(job: Manifest, name: str) -> list[str]:
    """Return the values of an option of its command."""
    [container] = pod_of(job)["containers"]
    return [each.partition("=")[2] for each in container["args"] if each.startswith(f"{name}=")]


def server_of(objects: list[Manifest]) -> Manifest:
    [server] = of_kind(objects, "Deployment", "dejavu-server")
    return dict(server["spec"]["template"]["spec"])


def test_the_job_that_retrains_has_a_command_that_the_trainer_takes(job: Manifest) -> None:
    [container] = pod_of(job)["containers"]
    assert container["image"] == f"dejavu-trainer:{VERSION}"
    assert "trainer" in stages()
    assert unknown_to_trainer(container["args"]) == []


def test_one_such_job_runs_at_a_time_and_goes_on_from_its_volume(job: Manifest) -> None:
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = pod_of(job)
    [container] = pod["containers"]
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    kept = {each["name"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
    [work] = option(job, "--work")
    assert any(work.startswith(f"{mounted[name]}/") for name in kept)


def test_the_job_writes_to_the_store_of_the_servers(job: Manifest, retrained: list[Manifest]) -> None:
    [store] = option(job, "--store")
    both = pod_of(job), server_of(retrained)
    assert environment(both[1]["containers"][0])["DEJAVU_MODEL_STORE"] == store
    if "://" in store:
        [secret] = {str(each["containers"][0]["envFrom"]) for each in both}
        [account] = {each["serviceAccountName"] for each in both}
        assert ("dejavu-store" in secret, account) == (True, "dejavu-models")
    else:
        claims = set()
        for pod in both:
            [volume] = [each["name"] for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == store]
            claims |= {str(each["persistentVolumeClaim"]) for each in pod["volumes"] if each["name"] == volume}
        assert claims == {"{'claimName': 'dejavu-models'}"}
        [claim] = of_kind(retrained, "PersistentVolumeClaim", "dejavu-models")
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_job_reaches_servers_database_and_store_only(job: Manifest, retrained: list[Manifest]) -> None:
    [policy] = of_kind(retrained, "NetworkPolicy", "dejavu-retrain")
    assert "ingress" not in policy["spec"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    servers, *others = policy["spec"]["egress"]
    [server] = of_kind(retrained, "Deployment", "dejavu-server")
    assert servers["to"] == [{"podSelector": server["spec"]["selector"]}]
    [served] = of_kind(retrained, "NetworkPolicy", "dejavu-server")
    assert {"podSelector": policy["spec"]["podSelector"]} in served["spec"]["ingress"][0]["from"]
    shared = [each for each in served["spec"].get("egress", []) if each["ports"] != [{"port": 6379}]]
    assert others == shared
    assert len(others) == 2 * ("s3://" in str(option(job, "--store")))


def test_the_job_reads_the_ledger_of_several_servers_with_its_password(
    job: Manifest, retrained: list[Manifest]
) -> None:
    ledger = environment(server_of(retrained)["containers"][0])["DEJAVU_LEDGER"]
    assert (ledger in option(job, "--from")) == ledger.startswith("postgresql:")
    [container] = pod_of(job)["containers"]
    assert ("PGPASSWORD" in {each["name"] for each in container["env"]}) == ledger.startswith("postgresql:")
