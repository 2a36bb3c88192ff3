"""Images are small, hold nothing that they do not need, and run as their user with a read-only root."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from tests.deploy.containers import Images
from tests.support.builders.calls import PATTERN
from tests.support.processes.servers import SpawnedServer

from dejavu_client import HALFTIME, DejavuClient

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3000)]

MOST_MEGABYTES = {"server": 450, "client": 200, "poller": 450, "dashboard": 200, "trainer": 2000}
"""Maximum megabytes that each image installs."""

TOOLS = {"cc", "c++", "g++", "gcc", "ld", "make", "pip", "pip3", "curl", "wget"}
LOOPBACK = {"DEJAVU_LISTEN": "127.0.0.1:0", "DEJAVU_METRICS_LISTEN": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    with Images(tmp_path_factory.mktemp("images")) as images:
        yield images


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume that the image's user owns, as in a container."""
    tmp_path.chmod(0o711)
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o700)
    os.chown(folder, 10001, 10001)
    return folder


@pytest.mark.parametrize("target", MOST_MEGABYTES)
def test_an_image_is_small_and_keeps_no_tools_caches_tests_or_secrets(images: Images, target: str) -> None:
    root = images.files(target)
    installed_files = [path for path in (root / "opt").rglob("*") if not path.is_symlink()]
    assert sum(path.stat().st_size for path in installed_files) / 1e6 <= MOST_MEGABYTES[target]
    programs = {
        path.name for folder in ("usr/bin", "usr/local/bin", "opt/dejavu/bin") for path in (root / folder).glob("*")
    }
    assert programs & TOOLS == set()
    assert "python3" in programs
    [packages] = (root / "opt/dejavu/lib").glob("python3*/site-packages")
    installed = {path.name for path in packages.iterdir()}
    assert ("torch" in installed) == (target == "trainer")
    assert installed & {"nvidia", "triton", "pip", "pytest"} == set()
    assert not any((root / "var/lib/apt/lists").iterdir())
    assert not (root / "root/.cache").exists()
    assert not (root / "src").exists()
    assert [path for path in installed_files if path.stat().st_mode & 0o002 or path.stat().st_uid] == []
    assert not (root / "etc/pip.conf").is_file()
    assert "index-url" not in images.call("inspect", "--type", "image", f"localhost/{target}")


def test_a_server_serves_with_a_read_only_root_as_its_user_and_drains(images: Images, volume: Path) -> None:
    with (
        images.running("server", ["--workers", "1"], volume, LOOPBACK) as process,
        closing(SpawnedServer(process)) as server,
    ):
        with DejavuClient(server.address, timeout=60.0) as client:
            forecast = client.predict(PATTERN, horizon=HALFTIME, game_id="9900000001")
        assert forecast.sequence == 1
        with images.running("client", ["health", "--target", server.address]) as health:  # the image's health check
            assert health.wait(60) == 0
        [supervisor] = psutil.Process(process.pid).children()
        for each in (supervisor, *supervisor.children(recursive=True)):
            status = dict(re.findall(r"^(\w+):\t(.*)$", Path(f"/proc/{each.pid}/status").read_text(), re.MULTILINE))
            assert set(each.uids()) == {10001}
            assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
            assert status["NoNewPrivs"] == "1"
        supervisor.send_signal(signal.SIGTERM)
        assert server.exit_code() == 0
    assert not server.troubles
    assert (volume / "ledger.sqlite3").is_file()


def test_a_server_refuses_to_serve_others_without_tls_and_tokens(images: Images, volume: Path) -> None:
    """The image listens on all addresses: a forgotten option must not open a server to a network."""
    with images.running("server", [], volume) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--tls-cert" in errors
    assert not list(volume.iterdir())


def test_a_dashboard_and_a_poller_run(images: Images) -> None:
    listen = {"DEJAVU_DASHBOARD_LISTEN": "127.0.0.1:0", "DEJAVU_TARGET": "127.0.0.1:9"}
    with (
        images.running("dashboard", [], environment=listen) as process,
        closing(SpawnedServer(process)) as dashboard,
        urllib.request.urlopen(f"http://{dashboard.address}/", timeout=30) as page,
    ):
        assert b"<!doctype html>" in page.read(1000).lower()
    with images.running("poller", ["replay", "--listen", "127.0.0.1:0", "--json"]) as process:
        assert process.stdout is not None
        assert "127.0.0.1:" in process.stdout.readline()
