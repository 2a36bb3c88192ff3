"""A wheel made from the source distribution contains everything that an installation needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]  # it compiles the engine

ROOT = Path(__file__).parent.parent

CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
import dejavu_client.config, dejavu_feed.replay, dejavu_models._native, dejavu_store.default_bundles
import dejavu_gateway.app, dejavu_server.worker.worker, dejavu_trainer
from dejavu.v1 import prediction_service_pb2_grpc
from dejavu_store.default_bundles import default_bundle
print(dejavu_store.default_bundles.__file__, dejavu_models._native.__file__, sep="\\n")
print(default_bundle(), dejavu_client.config.__file__, sep="\\n")
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel that was built from a source distribution."""
    built = tmp_path_factory.mktemp("built")
    # Without isolation: what the build needs is installed, and nothing is fetched.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    [wheel] = built.glob("*.whl")
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_a_wheel_forecasts_with_the_bundle_that_it_brings(unpacked: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHECK, str(unpacked)], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    places = run.stdout.split()
    assert all(Path(place).is_relative_to(unpacked) for place in places), places
    trial = subprocess.run(
        [sys.executable, str(ROOT / "deploy/try_wheel.py")],
        env={"PYTHONPATH": str(unpacked)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "a tied game after 18 minutes" in trial.stdout


def test_a_wheel_brings_types_and_the_retry_configuration(unpacked: Path) -> None:
    for needed in (
        "dejavu/py.typed",
        "dejavu/v1/prediction_service_pb2.pyi",
        "dejavu/ops/v1/feed_service_pb2.pyi",
        "dejavu/inference/open_inference_pb2.pyi",
        "dejavu_client/py.typed",
        "dejavu_client/service_config.json",
        "dejavu_ledger/database/schema.sql",
        "dejavu_store/bundles/default/manifest.json",
    ):
        assert (unpacked / needed).is_file(), needed
    assert not list(unpacked.glob("tests*"))
    assert not (unpacked / "inference").exists()  # another project's name
