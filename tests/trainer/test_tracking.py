"""Fits are tracked by a real MLflow server, once each, and nothing of it is needed without one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import bundle_of_two_seasons, small_bundle_folder
from tests.support.processes.connections import answers

from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_trainer.publish import CHALLENGER, EXPERIMENT, MODEL, MlflowTracker, TrackingError, metrics, parameters


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Start a tracking server that keeps all in a folder; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    places = (f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}", f"--artifacts-destination={folder / 'art'}")
    at = ("--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--workers", "1")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # jobs need huey
    environment = {**os.environ, **quiet, "PYTHONWARNINGS": ""}
    with (folder / "log").open("wb") as log:
        program = Path(sys.executable).with_name("mlflow")
        command = (program, "server", *at, *places)
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while not answers(address):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
            yield f"http://{address}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            process.wait()


BUNDLE = "bundle"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tracking server that keeps all in a folder."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def mlflow(server: str) -> Any:
    """The client of MLflow itself."""
    from mlflow import MlflowClient

    return MlflowClient(server, server)


@pytest.mark.nightly
def test_a_bundle_is_logged_and_registered_once_and_comes_back_as_it_was(
    server: str, mlflow: Any, tmp_path: Path
) -> None:
    bundle, tracker = small_bundle_folder(), MlflowTracker(server)
    manifest = read_manifest(bundle)
    logged = tracker.log(bundle, {"seconds": 1.5})
    assert tracker.log(bundle, {"seconds": 2.5}).run_id == logged.run_id
    first, second = (tracker.register(bundle) for _ in range(2))
    assert first == second
    assert (first.run_id, first.registered_version) == (logged.run_id, "1")
    run = mlflow.get_run(logged.run_id)
    assert run.data.params == parameters(manifest)
    assert run.data.params["data_fingerprint"] == manifest.data_fingerprint
    assert run.data.metrics == pytest.approx(metrics(manifest))
    version = mlflow.get_model_version_by_alias(MODEL, CHALLENGER)
    assert (version.version, version.tags["dejavu.model_version"]) == ("1", manifest.version)
    back = Path(mlflow.download_artifacts(logged.run_id, BUNDLE, str(tmp_path)))
    assert load_bundle(back, allow_unfit=True).version == manifest.version
    report = Path(mlflow.download_artifacts(logged.run_id, "report.json", str(tmp_path)))
    assert json.loads(report.read_bytes()) == {"seconds": 1.5}


@pytest.mark.nightly
def test_a_run_that_was_cut_off_is_not_taken_for_a_complete_one(server: str, mlflow: Any) -> None:
    folder = bundle_of_two_seasons()
    found = mlflow.get_experiment_by_name(EXPERIMENT)
    experiment = mlflow.create_experiment(EXPERIMENT) if found is None else found.experiment_id
    cut = mlflow.create_run(experiment, tags={"dejavu.model_version": read_manifest(folder).version}).info.run_id
    logged = MlflowTracker(server).log(folder)
    assert logged.run_id != cut
    assert mlflow.get_run(logged.run_id).info.status == "FINISHED"


@pytest.mark.nightly
def test_a_server_that_does_not_answer_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:1: [^\n]+\Z"):
        MlflowTracker("http://127.0.0.1:1").log(small_bundle_folder())


def test_only_servers_are_taken_and_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for uri in ("sqlite:///mlflow.db", "mlruns", "file:///tmp/runs"):
        with pytest.raises(TrackingError, match="is no tracking server; expected http://HOST:PORT"):
            MlflowTracker(uri)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        TrackingError, match=r"mlflow is not installed; .* pip install 'dejavu-forecast\[trainer,mlflow\]'"
    ):
        MlflowTracker("http://127.0.0.1:1")
