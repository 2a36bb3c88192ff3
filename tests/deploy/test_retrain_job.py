"""The job that retrains is valid for Kubernetes, runs the trainer's own command, and once at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.manifests import KUBERNETES, VERSION, Manifest, of_kind, rendered, stages


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The objects of the small overlay with components/retrain."""
    folders = tmp_path_factory.mktemp("retrain") / "kubernetes"
    shutil.copytree(KUBERNETES, folders)
    folder = folders / "overlays/with-retrain"
    folder.mkdir()
    own = {"resources": ["../small"], "components": ["../../components/retrain"], "namespace": "dejavu"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return rendered(folder)


@pytest.fixture
def job(objects: list[Manifest]) -> Manifest:
    [found] = of_kind(objects, "CronJob")
    return found


def pod_of(job: Manifest) -> dict[str, Any]:
    pod: dict[str, Any] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.nightly
def test_kubernetes_takes_it(objects: list[Manifest], tmp_path: Path) -> None:
    path = tmp_path / "retrain.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    program = str(Path(sys.executable).with_name("kubernetes-validate"))
    run = subprocess.run([program, "--strict", str(path)], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_its_command_is_one_that_the_trainer_takes(job: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    from dejavu_trainer.cli.main import main

    [container] = pod_of(job)["containers"]
    assert container["image"] == f"dejavu-trainer:{VERSION}"
    assert "trainer" in stages()
    options = {each.partition("=")[0] for each in container["args"][1:]}
    with pytest.raises(SystemExit):
        main([container["args"][0], "--help"])
    shown = capsys.readouterr().out
    assert [option for option in options if option not in shown] == []


def test_one_runs_at_a_time_and_goes_on_from_its_volume(job: Manifest) -> None:
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    pod = pod_of(job)
    [container] = pod["containers"]
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    kept = {each["name"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
    [work] = [each.partition("=")[2] for each in container["args"] if each.startswith("--work=")]
    assert any(work.startswith(f"{mounted[name]}/") for name in kept)


def test_its_pod_satisfies_the_restricted_standard_and_reaches_the_servers_only(
    job: Manifest, objects: list[Manifest]
) -> None:
    pod = pod_of(job)
    assert pod["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    own = container["securityContext"]
    assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
    assert own["capabilities"] == {"drop": ["ALL"]}
    [policy] = of_kind(objects, "NetworkPolicy", "dejavu-retrain")
    [rule] = policy["spec"]["egress"]
    assert rule["to"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "dejavu-server"}}}]
