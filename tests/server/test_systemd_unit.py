"""The systemd units that ship are hardened, and their command lines start the programs with their environments."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.processes.servers import SpawnedServer

from dejavu_client import HALFTIME, DejavuClient
from dejavu_gateway.limits import GatewayLimits
from dejavu_server.cli.options import options
from dejavu_server.settings import Settings
from dejavu_server.supervisor.supervisor import FEW_DESCRIPTORS

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "server" / "dejavu.service"
DASHBOARD_UNIT = ROOT / "gateway" / "dejavu-dashboard.service"
POLLER_UNIT = ROOT / "client" / "dejavu-poll.service"
INSTALLED = Path("/opt/dejavu/.venv/bin")

MOST_EXPOSED = 2.0
"""Maximum exposure by `systemd-analyze security`, out of 10."""


def service(unit: Path = UNIT) -> dict[str, list[str]]:
    """Return the settings of a unit, each with its values in order."""
    found = defaultdict(list)
    for line in unit.read_text().splitlines():
        name, assigned, value = line.partition("=")
        if assigned and not line.startswith("#"):
            found[name].append(value)
    return found


def environment(unit: Path = UNIT) -> dict[str, str]:
    """Return the environment variables that a unit sets."""
    return dict(each.split("=", 1) for each in service(unit)["Environment"])


def command_of(unit: Path) -> list[str]:
    """Return the command line of a unit, with the program as it is installed here."""
    [command] = service(unit)["ExecStart"]
    program, *arguments = command.split()
    assert Path(program).parent == INSTALLED
    return [str(Path(sys.executable).parent / Path(program).name), *arguments]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", [UNIT, DASHBOARD_UNIT, POLLER_UNIT], ids=lambda unit: unit.name)
def test_a_unit_is_hardened_and_has_no_line_that_systemd_does_not_know(unit: Path) -> None:
    options = ("--offline=true", f"--threshold={MOST_EXPOSED * 10:g}", "--no-pager")
    command = ["systemd-analyze", "security", *options, str(unit)]
    judged = subprocess.run(command, check=False, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout[-400:] + judged.stderr
    assert "Overall exposure level" in judged.stdout
    assert "ignoring" not in judged.stderr, judged.stderr  # an unknown or invalid setting


def test_what_the_units_set_fits_their_programs() -> None:
    variables = {option.variable for option in options().values()}
    assert {name for name in environment() if name.startswith("DEJAVU_")} <= variables
    assert service()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    _, option, grace = command_of(DASHBOARD_UNIT)
    assert option == "--grace"
    for unit, seconds, files in (
        (UNIT, Settings().grace_seconds, FEW_DESCRIPTORS),
        (DASHBOARD_UNIT, float(grace), GatewayLimits().connections),
    ):
        [stop], [limit] = service(unit)["TimeoutStopSec"], service(unit)["LimitNOFILE"]
        assert float(stop) >= seconds + 5
        assert int(limit) >= files
    for unit in (DASHBOARD_UNIT, POLLER_UNIT):
        assert environment(unit)["DEJAVU_TARGET"] == environment()["DEJAVU_LISTEN"]


def test_the_pollers_unit_sets_variables_that_the_poller_knows() -> None:
    given = environment(POLLER_UNIT)
    program, *arguments = command_of(POLLER_UNIT)
    pages = ([program, *arguments, "--help"], [program, "--help-connection"])
    known = "".join(subprocess.run(page, check=True, capture_output=True, text=True).stdout for page in pages)
    assert {"DEJAVU_TARGET", "DEJAVU_POLL_METRICS_LISTEN"} <= given.keys()
    assert all(name in known for name in given if name.startswith("DEJAVU_"))


def test_instances_of_the_servers_unit_have_ports_and_folders_of_their_own(tmp_path: Path) -> None:
    """By the command of the documentation."""
    document = (ROOT / "docs" / "deployment.md").read_text()
    [command] = (line for line in document.splitlines() if line.startswith("sed 's/:50051"))
    unit = tmp_path / "dejavu@.service"
    command = command.replace("/opt/dejavu/src", str(ROOT)).replace("/etc/systemd/system/dejavu@.service", str(unit))
    subprocess.run(command, shell=True, check=True)
    instance = environment(unit)
    assert instance["DEJAVU_LISTEN"] == "127.0.0.1:5005%i"
    assert instance["DEJAVU_METRICS_LISTEN"] == "127.0.0.1:946%i"
    [runtime] = service(unit)["RuntimeDirectory"]
    assert instance["XDG_RUNTIME_DIR"] == f"/run/{runtime}" == "/run/dejavu-%i"
    assert instance["DEJAVU_LEDGER"] == environment()["DEJAVU_LEDGER"]


@contextmanager
def started(unit: Path, **changed: str) -> Iterator[SpawnedServer]:
    """Start the program of a unit with the unit's own environment, apart from what is changed."""
    process = subprocess.Popen(
        command_of(unit),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], **environment(unit), **changed},
        umask=int(service(unit)["UMask"][0], 8),
    )
    program = SpawnedServer(process)
    try:
        yield program
    finally:
        program.close()


def test_the_command_line_of_the_dashboards_unit_starts_a_gateway_that_drains() -> None:
    with started(DASHBOARD_UNIT, DEJAVU_DASHBOARD_LISTEN="127.0.0.1:0", DEJAVU_TARGET="127.0.0.1:9") as gateway:
        with urllib.request.urlopen(f"http://{gateway.address}/healthz", timeout=30) as answer:
            assert answer.status == 200
        assert gateway.stop() == 0


@pytest.mark.nightly
def test_the_command_line_of_the_unit_starts_a_server_that_reloads_and_drains(tmp_path: Path) -> None:
    """With the unit's own environment, apart from the places that only an installation has."""
    (tmp_path / "run").mkdir()
    changed = {
        "TMPDIR": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "DEJAVU_LISTEN": "127.0.0.1:0",
        "DEJAVU_METRICS_LISTEN": "127.0.0.1:0",
        **{
            name: environment()[name].replace("/var/lib/dejavu", str(tmp_path))
            for name in ("DEJAVU_LEDGER", "DEJAVU_SIGNING_KEY")
        },
    }
    with started(UNIT, **changed) as server:
        with DejavuClient(server.address, timeout=60.0) as client:
            forecast = client.predict([float(minute) for minute in range(18)], horizon=HALFTIME, game_id="9900000001")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reloaded")
        assert server.stop() == 0
    assert forecast.sequence == 1
    assert (tmp_path / "ledger.sqlite3").stat().st_mode & 0o077 == 0
    assert not server.troubles
