"""The clusters of Ray and Dask for retrain: fields that their operators read, valid pods, closed ports.

No schema of the operators is at hand. Their objects are pods with fields of their own: the pods are checked as pods,
the fields against the list of those in the types of KubeRay and of dask-kubernetes that the manifests use.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.containers import ROOT
from tests.deploy.manifests import KUBERNETES, VERSION, Manifest, of_kind, rendered

from dejavu_trainer.execution import Execution

PODS = {
    "ray": {"head": "headGroupSpec.template.spec", "worker": "workerGroupSpecs.0.template.spec"},
    "dask": {"scheduler": "scheduler.spec", "worker": "worker.spec"},
}
"""Where the pods of a cluster are."""

FIELDS = {
    "ray": {
        "": {"rayVersion", "headGroupSpec", "workerGroupSpecs"},
        "headGroupSpec": {"serviceType", "rayStartParams", "template"},
        "workerGroupSpecs.0": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
    },
    "dask": {"": {"scheduler", "worker"}, "scheduler": {"spec", "service"}, "worker": {"replicas", "spec"}},
}
KINDS = {"ray": ("ray.io/v1", "RayCluster"), "dask": ("kubernetes.dask.org/v1", "DaskCluster")}
SERVICES = {"ray": "dejavu-ray-head-svc", "dask": "dejavu-dask-scheduler"}
"""Names that the operators give to the service of the head or scheduler."""


@pytest.fixture(scope="module", params=["ray", "dask"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def objects(name: str, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The objects of the small overlay with the components retrain and the cluster's."""
    folders = tmp_path_factory.mktemp(name) / "kubernetes"
    shutil.copytree(KUBERNETES, folders)
    folder = folders / "overlays/with-cluster"
    folder.mkdir()
    components = [f"../../components/{each}" for each in ("retrain", name)]
    own = {"resources": ["../small"], "components": components, "namespace": "dejavu"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return rendered(folder)


@pytest.fixture
def cluster(name: str, objects: list[Manifest]) -> Manifest:
    [found] = of_kind(objects, KINDS[name][1])
    assert found["apiVersion"] == KINDS[name][0]
    return found


@pytest.fixture
def trainer(objects: list[Manifest]) -> Manifest:
    [job] = of_kind(objects, "CronJob")
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def at(cluster: Manifest, path: str) -> Any:
    found: Any = cluster["spec"]
    for part in path.split(".") if path else ():
        found = found[int(part) if part.isdigit() else part]
    return found


def pods(name: str, cluster: Manifest) -> list[Manifest]:
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": role}, "spec": at(cluster, path)}
        for role, path in PODS[name].items()
    ]


def test_the_operator_reads_every_field(name: str, cluster: Manifest) -> None:
    for path, fields in FIELDS[name].items():
        assert at(cluster, path).keys() == fields
    if name == "ray":
        assert f"\nray=={at(cluster, 'rayVersion')}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.nightly
def test_kubernetes_takes_pods_service_and_policies(
    name: str, cluster: Manifest, objects: list[Manifest], tmp_path: Path
) -> None:
    known = [each for each in objects if each["kind"] != KINDS[name][1]] + pods(name, cluster)
    if name == "dask":
        service = at(cluster, "scheduler.service")
        known.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICES[name]}, "spec": service})
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump_all(known))
    program = str(Path(sys.executable).with_name("kubernetes-validate"))
    run = subprocess.run([program, "--strict", str(path)], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_pods_run_the_trainers_image_as_the_restricted_standard_demands(name: str, cluster: Manifest) -> None:
    for each in pods(name, cluster):
        pod = each["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = pod["containers"]
        assert container["image"] == f"dejavu-trainer:{VERSION}"
        own = container["securityContext"]
        assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
        assert own["capabilities"] == {"drop": ["ALL"]}


def test_the_job_runs_its_folds_there(name: str, trainer: Manifest) -> None:
    [address] = [each.partition("=")[2] for each in trainer["args"] if each.startswith("--execution=")]
    port = {"ray": 10001, "dask": 8786}[name]
    assert Execution(address).address == f"{name}://{SERVICES[name]}:{port}"


def test_nothing_but_the_cluster_and_the_job_reaches_its_ports(
    name: str, cluster: Manifest, objects: list[Manifest]
) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")}
    own = policies[f"dejavu-{name}"]
    inside, job = own["ingress"]
    assert inside == {"from": [{"podSelector": own["podSelector"]}]}
    assert own["egress"] == [{"to": [{"podSelector": own["podSelector"]}]}]
    assert job["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "dejavu-retrain"}}}]
    assert policies[f"dejavu-{name}-for-retrain"]["egress"] == [
        {"to": [{"podSelector": own["podSelector"]}], "ports": job["ports"]}
    ]
    labels = {"dask.org/cluster-name": cluster["metadata"]["name"]}
    if name == "ray":
        labels = at(cluster, "headGroupSpec.template.metadata.labels")
        assert at(cluster, "workerGroupSpecs.0.template.metadata.labels") == labels
    assert own["podSelector"] == {"matchLabels": labels}


def test_every_pod_and_the_job_have_the_secret(name: str, cluster: Manifest, trainer: Manifest) -> None:
    containers = [trainer, *(each["spec"]["containers"][0] for each in pods(name, cluster))]
    for container in containers:
        given = {each["name"]: each for each in container["env"]}
        if name == "ray":
            assert given["RAY_AUTH_MODE"]["value"] == "token"
            assert given["RAY_AUTH_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "dejavu-ray", "key": "token"}}
        else:
            assert given["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"]["value"] == "true"
            files = {each["value"] for each in given.values() if str(each.get("value")).startswith("/")}
            assert files == {f"/etc/dejavu/dask/{each}" for each in ("ca.crt", "tls.crt", "tls.key")}
            assert "/etc/dejavu/dask" in {each["mountPath"] for each in container["volumeMounts"]}
    assert f"kubectl create secret generic dejavu-{name} " in (ROOT / "docs/training.md").read_text()
