"""deploy/ray-cluster.yaml for the chart's retrain: fields that KubeRay reads, valid pods, closed ports.

No schema of KubeRay is at hand. Its object is pods with fields of its own: the pods are checked as pods, the fields
against the list of those in KubeRay's types that the file uses.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.deploy.containers import ROOT
from tests.deploy.manifests import VALUES, VERSION, Manifest, check_restricted, of_kind, pods, rendered, schema_errors
from tests.support.harness.documents import blocks

from dejavu_trainer.execution import Execution

DOCUMENT = "docs/training.md"
SERVICE = "dejavu-ray-head-svc"
"""Name that KubeRay gives to the service of the head."""


@pytest.fixture
def objects() -> list[Manifest]:
    return list(yaml.safe_load_all((ROOT / "deploy/ray-cluster.yaml").read_text()))


@pytest.fixture
def cluster(objects: list[Manifest]) -> Manifest:
    [found] = of_kind(objects, "RayCluster")
    assert found["apiVersion"] == "ray.io/v1"
    return found


@pytest.fixture
def job() -> Manifest:
    """The template of the pods of the chart's job, with the values of the document."""
    values = yaml.safe_load(blocks(DOCUMENT, "yaml")[0].text)
    retrain = {**VALUES["folder"]["retrain"], **values["retrain"]}
    [found] = pods(of_kind(rendered({**VALUES["folder"], "retrain": retrain}), "CronJob"))
    return found


def templates(cluster: Manifest) -> list[Manifest]:
    """Return the templates of the pods of head and workers."""
    return [group["template"] for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"])]


def test_the_operator_reads_every_field(cluster: Manifest) -> None:
    spec = cluster["spec"]
    assert spec.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert spec["headGroupSpec"].keys() == {"rayStartParams", "template"}
    numbers = {"replicas", "minReplicas", "maxReplicas"}
    assert spec["workerGroupSpecs"][0].keys() == {"groupName", "rayStartParams", "template"} | numbers
    assert f"\nray=={spec['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.nightly
def test_kubernetes_takes_pods_and_policies(cluster: Manifest, objects: list[Manifest], tmp_path: Path) -> None:
    made = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, "spec": templates(cluster)[0]["spec"]}]
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump_all([*of_kind(objects, "NetworkPolicy"), *made]))
    assert schema_errors(path) == []


def test_pods_run_the_trainers_image_as_the_restricted_standard_demands_with_the_secret(
    cluster: Manifest, job: Manifest
) -> None:
    for template in (job, *templates(cluster)):
        check_restricted(template["spec"])
        [container] = template["spec"]["containers"]
        assert container["image"] == f"dejavu-trainer:{VERSION}"
        given = {each["name"]: each for each in container["env"]}
        assert given["RAY_AUTH_MODE"]["value"] == "token"
        assert given["RAY_AUTH_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "dejavu-ray", "key": "token"}}
        if template is not job:
            # Ray's client server forks a process for each client, and gRPC's preparations for that crash some of them.
            assert given["GRPC_ENABLE_FORK_SUPPORT"]["value"] == "0"
    assert "kubectl create secret generic dejavu-ray " in (ROOT / DOCUMENT).read_text()


def test_the_job_runs_its_folds_there(job: Manifest) -> None:
    options = dict(each.partition("=")[::2] for each in job["spec"]["containers"][0]["args"])
    assert Execution(options["--execution"]).address == f"ray://{SERVICE}:10001"


def test_nothing_but_the_cluster_and_the_job_reaches_its_ports(
    job: Manifest, cluster: Manifest, objects: list[Manifest]
) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "NetworkPolicy")}
    own = policies["dejavu-ray"]
    inside, allowed = own["ingress"]
    assert inside == {"from": [{"podSelector": own["podSelector"]}]}
    assert own["egress"] == [{"to": [{"podSelector": own["podSelector"]}]}]
    for template in templates(cluster):
        assert own["podSelector"] == {"matchLabels": template["metadata"]["labels"]}
    [peer] = allowed["from"]
    assert peer["podSelector"]["matchLabels"].items() <= job["metadata"]["labels"].items()
    of_job = policies["dejavu-ray-for-retrain"]
    assert of_job["podSelector"] == peer["podSelector"]
    assert of_job["egress"] == [{"to": [{"podSelector": own["podSelector"]}], "ports": allowed["ports"]}]
