"""The systemd units that ship are hardened, and their command lines start the programs with their environments."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import defaultdict
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


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", [UNIT, DASHBOARD_UNIT, POLLER_UNIT], ids=lambda unit: unit.name)
def test_a_unit_is_hardened_and_has_no_line_that_systemd_does_not_know(unit: Path) -> None:
    judged = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            f"--threshold={MOST_EXPOSED * 10:g}",
            "--no-pager",
            str(unit),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert judged.returncode == 0, judged.stdout[-400:] + judged.stderr
    assert "Overall exposure level" in judged.stdout
    assert "ignoring" not in judged.stderr, judged.stderr  # an unknown or invalid setting


def test_what_the_unit_sets_fits_the_server() -> None:
    variables = {option.variable for option in options().values()}
    set_here = {name for name in environment() if name.startswith("DEJAVU_")}
    assert set_here <= variables
    [stop], [files] = service()["TimeoutStopSec"], service()["LimitNOFILE"]
    assert float(stop) >= Settings().grace_seconds + 5
    assert int(files) >= FEW_DESCRIPTORS
    [reload] = service()["ExecReload"]
    assert reload == "/bin/kill -HUP $MAINPID"


def test_what_the_dashboards_unit_sets_fits_the_dashboard_and_the_server() -> None:
    given, [stop] = environment(DASHBOARD_UNIT), service(DASHBOARD_UNIT)["TimeoutStopSec"]
    assert given["DEJAVU_TARGET"] == environment()["DEJAVU_LISTEN"]
    [command] = service(DASHBOARD_UNIT)["ExecStart"]
    _, option, grace = command.split()
    assert option == "--grace"
    assert float(stop) >= float(grace) + 5
    [files] = service(DASHBOARD_UNIT)["LimitNOFILE"]
    assert int(files) >= GatewayLimits().connections


def test_the_pollers_unit_fits_the_server_and_the_poller() -> None:
    given = environment(POLLER_UNIT)
    assert given["DEJAVU_TARGET"] == environment()["DEJAVU_LISTEN"]
    program, *command = service(POLLER_UNIT)["ExecStart"][0].split()
    assert Path(program).parent == INSTALLED
    here = Path(sys.executable).parent / Path(program).name
    known = subprocess.run([here, *command, "--help"], check=True, capture_output=True, text=True).stdout
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


def test_the_command_line_of_the_dashboards_unit_starts_a_gateway_that_drains() -> None:
    program, *arguments = service(DASHBOARD_UNIT)["ExecStart"][0].split()
    assert Path(program).parent == INSTALLED
    own = {**environment(DASHBOARD_UNIT), "DEJAVU_DASHBOARD_LISTEN": "127.0.0.1:0", "DEJAVU_TARGET": "127.0.0.1:9"}
    here = Path(sys.executable).parent / Path(program).name
    with subprocess.Popen(
        [str(here), *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], **own},
        umask=int(service(DASHBOARD_UNIT)["UMask"][0], 8),
    ) as process:
        try:
            assert process.stderr is not None
            address = next(
                entry["address"] for entry in map(json.loads, process.stderr) if entry["event"] == "listening"
            )
            with urllib.request.urlopen(f"http://{address}/healthz", timeout=30) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.nightly
def test_the_command_line_of_the_unit_starts_a_server_that_reloads_and_drains(tmp_path: Path) -> None:
    """With the unit's own environment, apart from the places that only an installation has."""
    [command] = service()["ExecStart"]
    program, *arguments = command.split()
    assert Path(program).parent == INSTALLED
    runtime = tmp_path / "run"
    runtime.mkdir()
    own = {
        **environment(),
        "XDG_RUNTIME_DIR": str(runtime),
        "DEJAVU_LISTEN": "127.0.0.1:0",
        "DEJAVU_METRICS_LISTEN": "127.0.0.1:0",
        **{
            name: environment()[name].replace("/var/lib/dejavu", str(tmp_path))
            for name in ("DEJAVU_LEDGER", "DEJAVU_SIGNING_KEY")
        },
    }
    here = Path(sys.executable).parent / Path(program).name
    process = subprocess.Popen(
        [str(here), *arguments],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **own},
        umask=int(service()["UMask"][0], 8),
    )
    server = SpawnedServer(process)
    try:
        with DejavuClient(server.address, timeout=60.0) as client:
            forecast = client.predict([float(minute) for minute in range(18)], horizon=HALFTIME, game_id="9900000001")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reloaded")
        assert server.stop() == 0
    finally:
        server.close()
    assert forecast.sequence == 1
    ledger = tmp_path / "ledger.sqlite3"
    assert ledger.stat().st_mode & 0o077 == 0
    assert not server.troubles
