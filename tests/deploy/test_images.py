"""Images are small, hold nothing that they do not need, and run as their user with a read-only root."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.deploy.containers import Images
from tests.support.builders.calls import PATTERN
from tests.support.processes.servers import SpawnedServer

from dejavu_client import HALFTIME, DejavuClient
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import Horizon
from dejavu_store.bundle import load_bundle

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3000)]

MOST_MEGABYTES = {"server": 450, "client": 200, "poller": 450, "dashboard": 200, "trainer": 2000}
"""Maximum megabytes of each image without its base."""

TOOLS = {"cc", "c++", "g++", "gcc", "ld", "make", "pip", "pip3", "curl", "wget"}
LOOPBACK = {"DEJAVU_LISTEN": "127.0.0.1:0", "DEJAVU_METRICS_LISTEN": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    with Images(tmp_path_factory.mktemp("images")) as images:
        yield images


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume that the image's user owns, as in a container."""
    return new_volume(tmp_path, "volume")


def new_volume(tmp_path: Path, name: str) -> Path:
    tmp_path.chmod(0o711)
    folder = tmp_path / name
    folder.mkdir(mode=0o700)
    os.chown(folder, 10001, 10001)
    return folder


@pytest.fixture
def store() -> Iterator[dict[str, str]]:
    """Settings of a server whose model store is an S3 bucket, which this process serves."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/models", method="PUT"), timeout=30):
            yield {
                "DEJAVU_MODEL_STORE": "s3://models/dejavu",
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
    finally:
        server.stop()


@pytest.mark.parametrize("target", MOST_MEGABYTES)
def test_an_image_is_small_and_has_no_tools_caches_or_tests(images: Images, target: str) -> None:
    megabytes = images.bytes_without_base(target) / 1e6
    print(f"{target}: {megabytes:.0f} MB without its base")  # noqa: T201 - the figure in docs/deployment.md
    assert megabytes <= MOST_MEGABYTES[target]
    root = images.files(target)
    programs = {
        path.name for folder in ("usr/bin", "usr/local/bin", "opt/dejavu/bin") for path in (root / folder).glob("*")
    }
    assert programs & TOOLS == set()
    assert "python3" in programs
    [packages] = (root / "opt/dejavu/lib").glob("python3*/site-packages")
    installed = {path.name for path in packages.iterdir()}
    assert {"dejavu_client", "dejavu_common"} <= installed
    assert ("s3fs" in installed) == (target in ("server", "trainer"))
    assert ("torch" in installed) == (target == "trainer")
    assert installed & {"nvidia", "triton", "pip", "pytest"} == set()
    assert [str(path) for path in packages.rglob("tests") if path.is_dir()] == []
    assert not any((root / "var/lib/apt/lists").iterdir())
    assert not (root / "root/.cache").exists()
    assert not (root / "src").exists()
    everybody = [
        str(path) for path in (root / "opt").rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o002
    ]
    assert everybody == []


@pytest.mark.parametrize("target", MOST_MEGABYTES)
def test_an_image_says_what_it_is_and_keeps_no_secret_of_its_build(images: Images, target: str) -> None:
    configuration = images.configuration(target)
    assert configuration["User"] == "10001:10001"
    assert configuration["StopSignal"] == "SIGTERM"
    assert configuration["Labels"]["org.opencontainers.image.title"] == f"dejavu-{target}"
    assert not (images.files(target) / "etc/pip.conf").is_file()
    history = images.call("inspect", "--type", "image", f"localhost/{target}")
    assert "index-url" not in history


def test_a_server_serves_with_a_read_only_root_as_its_user_and_drains(images: Images, volume: Path) -> None:
    with images.running("server", ["--workers", "1"], volume, LOOPBACK) as process:
        server = SpawnedServer(process)
        try:
            with DejavuClient(server.address, timeout=60.0) as client:
                forecast = client.predict(PATTERN, horizon=HALFTIME, game_id="9900000001")
            assert forecast.sequence == 1
            with images.running(
                "client", ["predict", *map(str, PATTERN), "--target", server.address, "--json"]
            ) as asked:
                output, errors = asked.communicate(timeout=60)
            assert json.loads(output)["pointForecast"] == pytest.approx(forecast.point_forecast), errors
            # The command of the image's health check.
            with images.running("client", ["health", "--target", server.address]) as health:
                assert health.wait(60) == 0
            [supervisor] = psutil.Process(process.pid).children()
            for each in (supervisor, *supervisor.children(recursive=True)):
                status = dict(
                    line.split(":\t", 1)
                    for line in Path(f"/proc/{each.pid}/status").read_text().splitlines()
                    if ":\t" in line
                )
                assert set(each.uids()) == {10001}
                assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
                assert status["NoNewPrivs"] == "1"
            supervisor.send_signal(signal.SIGTERM)
            assert server.exit_code() == 0
        finally:
            server.close()
    assert not server.troubles
    written = {path.relative_to(volume).name for path in volume.rglob("*")}
    assert "ledger.sqlite3" in written
    assert not [path for path in (images.files("server") / "opt").rglob("*") if path.stat(follow_symlinks=False).st_uid]


def test_a_server_keeps_models_of_a_store_elsewhere_in_its_cache(
    images: Images, volume: Path, tmp_path: Path, store: dict[str, str]
) -> None:
    cache = new_volume(tmp_path, "cache")
    with images.running("server", ["--workers", "1"], volume, LOOPBACK | store, cache) as process:
        server = SpawnedServer(process)
        try:
            server.wait_for("listening", seconds=300)  # it puts the shipped model into the store first
            with DejavuClient(server.address, timeout=60.0) as client:
                version = client.predict(PATTERN).model_version
            [supervisor] = psutil.Process(process.pid).children()
            supervisor.send_signal(signal.SIGTERM)
            assert server.exit_code() == 0
        finally:
            server.close()
    assert not server.troubles
    with urllib.request.urlopen(f"{store['AWS_ENDPOINT_URL']}/models?list-type=2", timeout=30) as listed:
        assert version.encode() in listed.read()
    assert [path for path in cache.rglob("*") if path.is_file()], "what it read again it has at hand"


def test_the_trainer_fits_a_bundle(images: Images, volume: Path) -> None:
    games, bundle = "/var/lib/dejavu/games", "/var/lib/dejavu/bundle"
    simulate = ["simulate", "--season", "2031-2033", "--games", "200", "--out", games]
    fit = ["fit", "--data", games, "--train", "2031-2032", "--calibrate", "2033", "--out", bundle]
    for arguments in (simulate, fit):
        with images.running("trainer", arguments, volume) as process:
            _, errors = process.communicate(timeout=1500)
        assert process.returncode == 0, errors
    forecaster = load_bundle(volume / "bundle", allow_unfit=True)
    query = ForecastQuery(ScorePattern(tuple(PATTERN)), Horizon.HALFTIME, 0.2)
    assert forecaster.forecast(query).interval.lower < forecaster.forecast(query).interval.upper


def test_a_server_refuses_to_serve_others_without_tls_and_tokens(images: Images, volume: Path) -> None:
    """The image listens on all addresses: a forgotten option must not open a server to a network."""
    with images.running("server", [], volume) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--tls-cert" in errors
    assert not list(volume.iterdir())


def test_a_dashboard_serves_the_page(images: Images) -> None:
    listen = {"DEJAVU_DASHBOARD_LISTEN": "127.0.0.1:0", "DEJAVU_TARGET": "127.0.0.1:9"}
    with images.running("dashboard", [], environment=listen) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "address" in (entry := json.loads(line)) and entry["event"] == "listening":
                break
        else:
            pytest.fail("the dashboard ended")
        with urllib.request.urlopen(f"http://{entry['address']}/", timeout=30) as page:
            assert b"<!doctype html>" in page.read(1000).lower()


def test_a_poller_finds_the_programs_that_it_needs(images: Images) -> None:
    with images.running("poller", ["replay", "--listen", "127.0.0.1:0", "--json"]) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
    assert "127.0.0.1:" in first
