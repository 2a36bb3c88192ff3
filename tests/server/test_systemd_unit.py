"""The systemd units that ship are hardened, and their command lines start the programs with their environments."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.processes.servers import SpawnedServer

from dejavu_gateway.limits import GatewayLimits
from dejavu_server.cli.options import options
from dejavu_server.settings import Settings
from dejavu_server.supervisor.supervisor import FEW_DESCRIPTORS

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "server" / "dejavu.service"
DASHBOARD_UNIT = ROOT / "gateway" / "dejavu-dashboard.service"
POLLER_UNIT = ROOT / "client" / "dejavu-poll.service"
INSTALLED = Path("/opt/dejavu/.venv/bin")


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
    """Its exposure is at most 2.0 of 10."""
    options = ("--offline=true", "--threshold=20", "--no-pager")
    command = ["systemd-analyze", "security", *options, str(unit)]
    judged = subprocess.run(command, check=False, capture_output=True, text=True)
    assert judged.returncode == 0, judged.stdout[-400:] + judged.stderr
    assert "ignoring" not in judged.stderr, judged.stderr  # an unknown or invalid setting


def test_what_the_units_set_fits_their_programs() -> None:
    known = {UNIT: {option.variable for option in options().values()}}
    program, *arguments = command_of(POLLER_UNIT)
    pages = ([program, *arguments, "--help"], [program, "--help-connection"])
    poller = "".join(subprocess.run(page, check=True, capture_output=True, text=True).stdout for page in pages)
    known[POLLER_UNIT] = set(re.findall(r"DEJAVU_\w+", poller))
    for unit, variables in known.items():
        assert {name for name in environment(unit) if name.startswith("DEJAVU_")} <= variables
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


def test_instances_of_the_servers_unit_have_ports_and_folders_of_their_own(tmp_path: Path) -> None:
    """By the command of the documentation."""
    document = (ROOT / "docs" / "deployment.md").read_text()
    [command] = (line for line in document.splitlines() if line.startswith("sed 's/:50051"))
    unit = tmp_path / "dejavu@.service"
    command = command.replace("/opt/dejavu/src", str(ROOT)).replace("/etc/systemd/system/dejavu@.service", str(unit))
    subprocess.run(command, shell=True, check=True)
    own = {name for name, value in environment(unit).items() if "%i" in value}
    assert own == {"DEJAVU_LISTEN", "DEJAVU_METRICS_LISTEN", "XDG_RUNTIME_DIR"}


@pytest.mark.nightly
def test_the_command_line_of_the_unit_starts_a_server_that_reloads_and_drains(tmp_path: Path) -> None:
    """With the unit's own environment, apart from the places that only an installation has."""
    (tmp_path / "run").mkdir()
    changed = {
        "TMPDIR": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "DEJAVU_LISTEN": "127.0.0.1:0",
        "DEJAVU_METRICS_LISTEN": "127.0.0.1:0",
        "DEJAVU_LEDGER": f"sqlite:///{tmp_path}/ledger.sqlite3",
        "DEJAVU_SIGNING_KEY": str(tmp_path / "key"),
    }
    process = subprocess.Popen(
        command_of(UNIT),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], **environment(), **changed},
        umask=int(service()["UMask"][0], 8),
    )
    with closing(SpawnedServer(process)) as server:
        assert server.address
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reloaded")
        assert server.stop() == 0
    assert (tmp_path / "ledger.sqlite3").stat().st_mode & 0o077 == 0
    assert not server.troubles
