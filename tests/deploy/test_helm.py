"""The Helm chart, rendered by Helm's engine, is what kustomize makes of the manifests for each choice of values."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from helm_chart import CHART, CHOICES, Choice, files, rendered
from tests.deploy.containers import ROOT
from tests.deploy.manifests import Manifest, containers, of_kind
from tests.support.harness.required import required_program

PROGRAM = ROOT / "tests/support/programs/helm_render.py"
URL = "postgresql://dejavu@postgres.databases.svc.cluster.local/dejavu"

pytest.importorskip("helm_python", reason="there is no wheel of helm-python-sdk for this machine")


def run(values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), str(CHART), json.dumps(values)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def helm(values: dict[str, Any]) -> list[Manifest]:
    """Return the objects that Helm makes with these values."""
    done = run(values)
    assert done.returncode == 0, done.stderr
    texts = json.loads(done.stdout)["templates"].values()
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def values_of(choice: Choice) -> dict[str, Any]:
    postgres, tls = choice
    secrets = {"tls": {"secret": "dejavu-tls"}, "tokens": {"secret": "dejavu-tokens"}} if tls else {}
    return {**({"ledger": {"postgresql": URL}} if postgres else {}), **secrets}


@pytest.fixture(autouse=True)
def kubectl() -> None:
    required_program("kubectl", "none; that of Kubernetes, 1.27 or newer")


def test_the_chart_is_what_the_manifests_make() -> None:
    made = files()
    kept = {str(path.relative_to(CHART)): path.read_text() for path in CHART.rglob("*.yaml")}
    assert kept == made, "run deploy/helm_chart.py"


@pytest.mark.parametrize(
    "choice", [*(pytest.param(choice, marks=pytest.mark.nightly) for choice in CHOICES[:-1]), CHOICES[-1]]
)
def test_helm_renders_what_kustomize_renders(choice: Choice) -> None:
    objects = helm(values_of(choice))
    for each in of_kind(objects, "Deployment"):
        checksum = each["spec"]["template"]["metadata"].pop("annotations")["checksum/settings"]
        assert len(checksum) == 64

    def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
        return {(each["kind"], each["metadata"]["name"]): each for each in manifests}

    assert by_name(objects) == by_name(rendered(choice))


def test_values_reach_the_objects_and_a_changed_setting_rolls_the_pods() -> None:
    resources = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "3Gi"}}
    secrets = {"signing": {"secret": "own-signing"}, "tls": {"secret": "own-tls"}, "tokens": {"secret": "own-tokens"}}
    ledger = {"postgresql": "postgresql://me@db/own", "passwordSecret": "own-db", "namespace": "own"}
    chosen = {
        "images": {"registry": "registry.example.com/", "tag": "1.2.3"},
        "ledger": ledger,
        "server": {"replicas": 3, "maxReplicas": 9, "resources": resources},
        **secrets,
    }
    objects, other = (helm({**chosen, "ledger": {**ledger, "postgresql": url}}) for url in (ledger["postgresql"], URL))
    images = {container["image"] for _, container in containers(objects)}
    assert images == {f"registry.example.com/dejavu-{part}:1.2.3" for part in ("server", "poller", "dashboard")}
    [server] = of_kind(objects, "Deployment", "dejavu-server")
    assert server["spec"]["replicas"] == 3
    assert server["spec"]["template"]["spec"]["containers"][0]["resources"] == resources
    text = json.dumps(objects)
    assert all(f'"own-{name}"' in text for name in ("signing", "tls", "tokens", "db"))
    assert not [name for name in ("dejavu-signing", "dejavu-tls", "dejavu-tokens", "dejavu-database") if name in text]
    [scaler] = of_kind(objects, "HorizontalPodAutoscaler")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 9)
    [settings] = of_kind(objects, "ConfigMap", "dejavu-server")
    assert settings["data"]["DEJAVU_LEDGER"] == ledger["postgresql"]
    [changed] = of_kind(other, "Deployment", "dejavu-server")
    annotations = [each["spec"]["template"]["metadata"]["annotations"] for each in (server, changed)]
    assert annotations[0] != annotations[1]


def test_tokens_without_tls_are_refused_by_name() -> None:
    refused = run({"tokens": {"secret": "own-tokens"}})
    assert refused.returncode != 0
    assert "tokens.secret needs tls.secret" in refused.stderr
