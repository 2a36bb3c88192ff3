"""Fits are tracked by a real MLflow server, once each, and nothing of it is needed without one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import bundle_of_two_seasons, small_bundle
from tests.support.harness.documents import ROOT

from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_trainer.tracking import CHALLENGER, EXPERIMENT, MODEL, MlflowTracker, TrackingError, metrics, parameters

PROGRAM = Path(sys.executable).with_name("mlflow")
START_SECONDS = 120


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Start a tracking server that keeps all in a folder; yield its address."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = (
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "art"),
    )
    command = (str(PROGRAM), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *options)
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # jobs need huey
    environment = {**os.environ, **quiet, "PYTHONWARNINGS": ""}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its workers too
        process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # it tells nobody when it is ready
    pytest.fail(f"the MLflow server did not start in {START_SECONDS} seconds: {log.read_text()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def client(server: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(server, server)


@pytest.mark.nightly
def test_a_bundle_is_logged_and_registered_once_and_comes_back_as_it_was(
    server: str, bundle: Path, tmp_path: Path
) -> None:
    tracker, manifest = MlflowTracker(server), read_manifest(bundle)
    logged = tracker.log(bundle, {"seconds": 1.5})
    assert tracker.log(bundle, {"seconds": 2.5}).run_id == logged.run_id
    first, second = (tracker.register(bundle) for _ in range(2))
    assert first == second
    assert (first.run_id, first.registered_version) == (logged.run_id, "1")

    mlflow = client(server)
    run = mlflow.get_run(logged.run_id)
    assert run.data.params == parameters(manifest)
    assert run.data.metrics == pytest.approx(metrics(manifest))
    assert run.data.params["data_fingerprint"] == manifest.data_fingerprint
    version = mlflow.get_model_version_by_alias(MODEL, CHALLENGER)
    assert (version.version, version.tags["dejavu.model_version"]) == ("1", manifest.version)
    [experiment] = [each for each in mlflow.search_experiments() if each.name == EXPERIMENT]
    of_model = f"tags.`dejavu.model_version` = '{manifest.version}'"
    assert len(mlflow.search_runs([experiment.experiment_id], of_model)) == 1

    back = Path(mlflow.download_artifacts(logged.run_id, "bundle", str(tmp_path)))
    assert load_bundle(back, allow_unfit=True).version == manifest.version
    report = Path(mlflow.download_artifacts(logged.run_id, "report.json", str(tmp_path)))
    assert json.loads(report.read_bytes()) == {"seconds": 1.5}


@pytest.mark.nightly
def test_a_run_that_was_cut_off_is_not_taken_for_a_complete_one(server: str) -> None:
    folder = bundle_of_two_seasons()
    version, mlflow = read_manifest(folder).version, client(server)
    found = mlflow.get_experiment_by_name(EXPERIMENT)
    experiment = mlflow.create_experiment(EXPERIMENT) if found is None else found.experiment_id
    cut = mlflow.create_run(experiment, tags={"dejavu.model_version": version}).info.run_id
    logged = MlflowTracker(server).log(folder)
    assert logged.run_id != cut
    assert mlflow.get_run(logged.run_id).info.status == "FINISHED"


@pytest.mark.nightly
def test_a_server_cannot_have_files_written_into_a_folder_here(server: str, bundle: Path, tmp_path: Path) -> None:
    mlflow, place = client(server), tmp_path / "here"
    if known := mlflow.get_experiment_by_name(EXPERIMENT):
        mlflow.rename_experiment(known.experiment_id, "before")
    hostile = mlflow.create_experiment(EXPERIMENT, artifact_location=place.as_uri())
    try:
        with pytest.raises(TrackingError, match="as the place of files, a folder here"):
            MlflowTracker(server).log(bundle)
        assert not place.exists()
    finally:
        mlflow.rename_experiment(hostile, "hostile")
        if known:
            mlflow.rename_experiment(known.experiment_id, EXPERIMENT)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("place", "said"),
    [("gs://no-library/files", "google"), ("s3://no such bucket/files", "Invalid bucket name")],
)
def test_a_place_of_files_that_cannot_be_used_leaves_a_failed_run(
    server: str, bundle: Path, place: str, said: str
) -> None:
    """Each kind of storage has a library with errors of its own."""
    mlflow = client(server)
    if known := mlflow.get_experiment_by_name(EXPERIMENT):
        mlflow.rename_experiment(known.experiment_id, "before")
    unusable = mlflow.create_experiment(EXPERIMENT, artifact_location=place)
    try:
        with pytest.raises(TrackingError, match=f"MLflow at {server}: .*{said}"):
            MlflowTracker(server).log(bundle)
        [run] = mlflow.search_runs([unusable])
        assert run.info.status == "FAILED"
    finally:
        mlflow.rename_experiment(unusable, said)
        if known:
            mlflow.rename_experiment(known.experiment_id, EXPERIMENT)


@pytest.mark.nightly
def test_a_server_that_does_not_answer_is_told_in_a_line(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:1: ") as failed:
        MlflowTracker("http://127.0.0.1:1").log(bundle)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "mlruns", "file:///tmp/runs"])
def test_only_servers_are_taken(uri: str) -> None:
    with pytest.raises(TrackingError, match="is no tracking server; expected http://HOST:PORT"):
        MlflowTracker(uri)


def test_without_the_extra_the_trainer_works_and_names_it() -> None:
    program = """
import sys
sys.modules["mlflow"] = None
from dejavu_trainer.cli import fit, retrain
from dejavu_trainer.tracking import MlflowTracker, TrackingError
try:
    MlflowTracker("http://127.0.0.1:1")
except TrackingError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (
        "mlflow is not installed; install the extra mlflow: pip install 'dejavu-forecast[trainer,mlflow]'" in run.stdout
    )
