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
from dejavu_server.cli.options import options
from dejavu_server.observability import logs
from dejavu_server.settings import Settings
from dejavu_server.supervisor.worker_process import StartError


class FakeSupervisor:
    """Replaces the supervisor; stores the settings passed to it."""

    settings: ClassVar[list[Settings]]
    error: ClassVar[StartError | None]

    def __init__(self, settings: Settings, _launched: object) -> None:
        self.settings.append(settings)

    async def run(self) -> int:
        if self.error is not None:
            raise self.error
        return 0


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> type[FakeSupervisor]:
    class Supervisor(FakeSupervisor):
        settings: ClassVar[list[Settings]] = []
        error = None

    monkeypatch.setattr(serve, "Supervisor", Supervisor)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    for name in [name for name in os.environ if name.startswith("DEJAVU_")]:
        monkeypatch.delenv(name)
    return Supervisor


def run(*args: str, **environment: str) -> Any:
    return CliRunner().invoke(serve.app, list(args), env={"COLUMNS": "200", "TERM": "dumb", **environment})


def test_without_options_the_defaults_hold(supervisor: type[FakeSupervisor]) -> None:
    assert run().exit_code == 0
    assert supervisor.settings == [Settings()]


OF_EACH_KIND = {
    "listen": ("127.0.0.1:1234", "127.0.0.1:1234"),
    "workers": ("3", 3),
    "ledger": ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    "durability": ("power", "power"),
    "grace": ("1.5", 1.5),
    "cache": ("rediss://cache.example:6379/2", "rediss://cache.example:6379/2"),
}


def test_an_option_is_read_from_its_flag_and_from_its_variable(supervisor: type[FakeSupervisor]) -> None:
    given = OF_EACH_KIND
    flags = run(*(part for option, (text, _) in given.items() for part in (f"--{option}", text)))
    assert flags.exit_code == 0, flags.output
    assert run(**{f"DEJAVU_{option.replace('-', '_').upper()}": text for option, (text, _) in given.items()})
    fields = {option: {"grace": "grace_seconds"}.get(option, option.replace("-", "_")) for option in given}
    expected = {option: value for option, (_, value) in given.items()}
    read = [{option: getattr(each, field) for option, field in fields.items()} for each in supervisor.settings]
    assert read == [expected, expected]


def test_whether_an_unfit_bundle_will_do_is_a_flag(supervisor: type[FakeSupervisor]) -> None:
    assert run("--allow-unfit").exit_code == 0
    assert run(DEJAVU_ALLOW_UNFIT="1").exit_code == 0
    assert run(DEJAVU_ALLOW_UNFIT="0").exit_code == 0
    assert [settings.allow_unfit for settings in supervisor.settings] == [True, True, False]


def test_bundles_are_read_in_their_order(supervisor: type[FakeSupervisor], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert run("--bundle", str(two), "--bundle", str(one)).exit_code == 0
    assert run(DEJAVU_BUNDLE=f"{two}{os.pathsep}{one}").exit_code == 0
    assert [settings.bundles for settings in supervisor.settings] == [(two, one), (two, one)]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--listen", "nonsense", "'nonsense' is not HOST:PORT"),
        ("--workers", "0", "'0'; expected 1 to 64"),
        ("--workers", "two", "'two'; expected 1 to 64"),
        ("--listen", f"127.0.0.1:{'9' * 5000}", "port out of range; expected 0 to 65535"),
        ("--ledger", "/tmp/x.sqlite3", "for this file: sqlite:////tmp/x.sqlite3"),
        ("--bundle", "/nowhere/at/all", "/nowhere/at/all"),
        ("--durability", "eternal", "'eternal'"),
    ],
)
def test_a_bad_value_names_its_option_and_what_was_expected_and_exits_with_2(
    supervisor: type[FakeSupervisor], option: str, value: str, expected: str
) -> None:
    result = run(option, value)
    assert (result.exit_code, supervisor.settings) == (2, [])
    said = " ".join(result.output.split())
    assert option in said
    assert expected in said
    assert "Traceback" not in said


def test_what_is_not_there_exits_with_2(supervisor: type[FakeSupervisor]) -> None:
    assert (run("--nonsense").exit_code, run("nonsense").exit_code, supervisor.settings) == (2, 2, [])


def test_a_server_that_cannot_start_exits_with_1(supervisor: type[FakeSupervisor]) -> None:
    supervisor.error = StartError("the port is in use")
    assert run().exit_code == 1


def test_the_help_has_every_option_first_the_ten_that_matter_on_two_screens() -> None:
    shown = run("--help", COLUMNS="80").output
    assert len(shown.splitlines()) <= 110
    first, further = (re.findall(r"^  (--[\w-]+)", part, re.MULTILINE) for part in shown.split("Further options:"))
    assert len(first) == 10
    flags = [each.flag for each in options().values() if each.flag]
    assert [*first, *further][: len(flags)] == flags


ONLY_VARIABLES = {
    "standby": ("off", "off", "no"),
    "heartbeat_seconds": ("2", 2.0, "0"),
}


@pytest.mark.parametrize("field", ONLY_VARIABLES)
def test_what_is_rarely_set_is_an_environment_variable_only(supervisor: type[FakeSupervisor], field: str) -> None:
    given, expected, bad = ONLY_VARIABLES[field]
    variable = f"DEJAVU_{field.upper()}"
    assert run(**{variable: given}).exit_code == 0
    assert getattr(supervisor.settings.pop(), field) == expected
    assert run(f"--{field.replace('_', '-')}", given).exit_code == 2
    result = run(**{variable: bad})
    assert (result.exit_code, supervisor.settings) == (2, [])
    assert variable in result.output


def test_the_name_of_a_field_is_no_variable(supervisor: type[FakeSupervisor]) -> None:
    assert run(DEJAVU_GRACE_SECONDS="x", DEJAVU_BUNDLES="/nowhere").exit_code == 0
    assert supervisor.settings == [Settings()]


def test_the_command_line_wins_and_an_empty_variable_is_none(supervisor: type[FakeSupervisor]) -> None:
    assert run("--grace", "1", "--workers", "3", DEJAVU_GRACE="2", DEJAVU_WORKERS="", DEJAVU_LEDGER="").exit_code == 0
    assert supervisor.settings == [Settings(grace_seconds=1.0, workers=3)]


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
    assert run.returncode == 1
    install = "pip install 'dejavu-forecast[server]', in a clone: pip install '.[server]'"
    assert run.stderr == f"dejavu-server needs prometheus_client: {install}\n"


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
