from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from dejavu_server.cli import serve
from dejavu_server.observability import logs
from dejavu_server.settings import Settings
from dejavu_server.supervisor.worker_process import StartError


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces the supervisor; stores the settings passed to it."""

    class Supervisor:
        settings: ClassVar[list[Settings]] = []
        error: ClassVar[StartError | None] = None

        def __init__(self, settings: Settings, _launched: object) -> None:
            self.settings.append(settings)

        async def run(self) -> int:
            if self.error is not None:
                raise self.error
            return 0

    monkeypatch.setattr(serve, "Supervisor", Supervisor)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    for name in [name for name in os.environ if name.startswith("DEJAVU_")]:
        monkeypatch.delenv(name)
    return Supervisor


def run(*args: str, **environment: str) -> Any:
    return CliRunner().invoke(serve.app, list(args), env={"COLUMNS": "200", "TERM": "dumb", **environment})


GIVEN: dict[str, dict[str, Any]] = {
    "": {},
    "--listen 127.0.0.1:1234 --workers 3 --grace 1.5": {"listen": "127.0.0.1:1234", "workers": 3, "grace_seconds": 1.5},
    "--ledger sqlite:////tmp/x.db --durability power": {"ledger": "sqlite:////tmp/x.db", "durability": "power"},
    "--cache rediss://cache.example:6379/2": {"cache": "rediss://cache.example:6379/2"},
    "--bundle {0}/two --bundle {0}/one --allow-unfit": {"bundles": ("two", "one"), "allow_unfit": True},
    "DEJAVU_LISTEN=127.0.0.1:1234 DEJAVU_ALLOW_UNFIT=1": {"listen": "127.0.0.1:1234", "allow_unfit": True},
    "DEJAVU_ALLOW_UNFIT=0": {"allow_unfit": False},
    "DEJAVU_BUNDLE={0}/two:{0}/one": {"bundles": ("two", "one")},
    # The name of a field is no variable, the command line wins, and an empty variable is none.
    "DEJAVU_GRACE_SECONDS=x DEJAVU_BUNDLES=/nowhere": {},
    "--grace 1 DEJAVU_GRACE=2 DEJAVU_WORKERS= DEJAVU_LEDGER=": {"grace_seconds": 1.0},
    # What is rarely set is an environment variable only.
    "DEJAVU_STANDBY=off DEJAVU_HEARTBEAT_SECONDS=2": {"standby": "off", "heartbeat_seconds": 2.0},
}
"""Command lines, with variables, and the settings that they give."""


@pytest.mark.parametrize("given", GIVEN)
def test_options_are_flags_and_variables(supervisor: Any, tmp_path: Path, given: str) -> None:
    expected = dict(GIVEN[given])
    if "bundles" in expected:
        expected["bundles"] = tuple(tmp_path / name for name in expected["bundles"])
        for folder in expected["bundles"]:
            folder.mkdir()
    words = given.format(tmp_path).split()
    variables = dict(word.split("=") for word in words if word.startswith("DEJAVU_"))
    result = run(*(word for word in words if not word.startswith("DEJAVU_")), **variables)
    assert result.exit_code == 0, result.output
    assert supervisor.settings == [Settings(**expected)]


@pytest.mark.parametrize(
    ("option", "value", "found"),
    [
        ("--listen", "nonsense", "'nonsense'"),
        ("--listen", f"127.0.0.1:{'9' * 5000}", "port out of range"),
        ("--workers", "0", "'0'; expected 1 to 64"),
        ("--ledger", "/tmp/x.sqlite3", "sqlite:////tmp/x.sqlite3"),
        ("--bundle", "/nowhere/at/all", "/nowhere/at/all"),
        ("--durability", "eternal", "'eternal'"),
        ("DEJAVU_STANDBY", "no", "'no'"),
        ("DEJAVU_HEARTBEAT_SECONDS", "0", "'0'"),
        ("--standby", "off", "No such option"),
    ],
)
def test_a_bad_value_names_its_option(supervisor: Any, option: str, value: str, found: str) -> None:
    result = run(**{option: value}) if option.startswith("DEJAVU_") else run(option, value)
    assert (result.exit_code, supervisor.settings) == (2, [])
    said = " ".join(result.output.split())
    assert (option in said, found in said, "Traceback" in said) == (True, True, False)


def test_a_server_that_cannot_start_exits_with_1(supervisor: Any) -> None:
    supervisor.error = StartError("the port is in use")
    assert run().exit_code == 1


def test_an_interrupt_while_it_loads_is_no_traceback() -> None:
    program = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "dejavu_server.cli.serve":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from dejavu_server.cli.main import main
main()
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stderr) == (130, "")


def test_without_its_extra_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['prometheus_client'] = None; from dejavu_server.cli.main import main; main()"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, "pip install 'dejavu-forecast[server]'" in run.stderr) == (1, True)


def test_a_server_that_is_started_without_standard_files_and_its_workers_write_to_nobody() -> None:
    worker = "import os; assert [os.readlink(f'/proc/self/fd/{n}') for n in range(3)] == ['/dev/null'] * 3"
    program = f"""
import subprocess, sys
from dejavu_server.cli.main import open_standard_files
open_standard_files()
print("told", file=sys.stderr, flush=True)
sys.exit(subprocess.run([sys.executable, "-c", {worker!r}]).returncode)
"""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


def test_a_command_that_does_not_come_to_serve_leaves_no_fork_server_behind() -> None:
    # `run` returns once all processes with this standard error, the fork server too, have ended.
    command = [sys.executable, "-m", "dejavu_server", "--listen", "nowhere"]
    ended = subprocess.run(command, stderr=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode == 2
    assert re.fullmatch(rb"(?s)Usage: .*--listen.*", ended.stderr), ended.stderr
