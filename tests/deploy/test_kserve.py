"""The InferenceService of KServe: the fields that KServe reads, and a valid pod that runs the server.

No schema of KServe is at hand. Its predictor is a pod specification with fields of its own. The specification is
checked as that of a Deployment; the fields are checked against the list of those that the manifest uses.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.manifests import KUBERNETES, VERSION, Manifest, image_environment, settings, stages, variables

from dejavu_common.address import Address
from dejavu_server.api.health import SERVICES
from dejavu_server.api.inference.inference_service import INFERENCE_SERVICE

FILE = KUBERNETES / "kserve" / "inference-service.yaml"
OWN_FIELDS = {"minReplicas": {"type": "integer", "minimum": 0}, "maxReplicas": {"type": "integer", "minimum": 1}}
"""Fields of a predictor beside those of a pod."""


@pytest.fixture
def service() -> Manifest:
    found: Manifest = yaml.safe_load(FILE.read_text())
    return found


@pytest.fixture
def container(service: Manifest) -> dict[str, Any]:
    [found] = service["spec"]["predictor"]["containers"]
    return dict(found)


def deployment(service: Manifest) -> Manifest:
    """Return the Deployment that KServe makes from a predictor."""
    pod = {name: value for name, value in service["spec"]["predictor"].items() if name not in OWN_FIELDS}
    labels = {"app": "isvc.dejavu-predictor"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dejavu-predictor"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


@pytest.mark.nightly
def test_kubernetes_takes_its_pod_and_a_field_that_it_does_not_know_would_be_noticed(
    service: Manifest, tmp_path: Path
) -> None:
    broken = copy.deepcopy(deployment(service))
    broken["spec"]["template"]["spec"]["containers"][0]["readOnlyRoot"] = True
    program = str(Path(sys.executable).with_name("kubernetes-validate"))
    codes = {}
    for name, manifest in (("good", deployment(service)), ("broken", broken)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(manifest))
        codes[name] = subprocess.run([program, "--strict", str(path)], check=False, capture_output=True).returncode
    assert codes["good"] == 0
    assert codes["broken"] != 0


def test_kserve_finds_container_protocol_and_port_by_their_names(container: dict[str, Any]) -> None:
    assert container["name"] == "kserve-container"
    assert {"name": "PROTOCOL", "value": "v2"} in container["env"]
    assert container["ports"][0]["name"] == "h2c"  # KServe passes calls to the first one
    listen = Address.parse(image_environment("server")["DEJAVU_LISTEN"])
    assert container["ports"][0]["containerPort"] == listen.port
    metrics = Address.parse(image_environment("server")["DEJAVU_METRICS_LISTEN"])
    assert container["ports"][1] == {"name": "metrics", "containerPort": metrics.port, "protocol": "TCP"}


def test_it_runs_the_image_of_this_version_with_valid_settings(container: dict[str, Any]) -> None:
    name, _, tag = container["image"].partition(":")
    assert (tag, name.removeprefix("dejavu-") in stages()) == (VERSION, True)
    given = {each["name"]: each["value"] for each in container["env"]}
    ours = {name: value for name, value in given.items() if name.startswith("DEJAVU_")}
    assert ours.keys() <= variables("server")
    chosen = settings({**image_environment("server"), **ours})
    assert chosen.insecure
    folder = Path(chosen.ledger.removeprefix("sqlite:///")).parent
    assert str(folder) in {each["mountPath"] for each in container["volumeMounts"]}


def test_its_probes_ask_services_that_the_server_has(container: dict[str, Any]) -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        checked = container[probe]["grpc"]
        assert checked["port"] == container["ports"][0]["containerPort"]
        assert checked.get("service", "") in {"", *SERVICES}
    assert container["readinessProbe"]["grpc"]["service"] == INFERENCE_SERVICE.full_name


def test_its_pods_have_time_to_drain(service: Manifest, container: dict[str, Any]) -> None:
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = settings(image_environment("server")).grace_seconds + 5  # workers that outlive it are killed then
    assert service["spec"]["predictor"]["terminationGracePeriodSeconds"] >= wait + grace
