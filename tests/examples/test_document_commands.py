"""Runs the commands of the documents as a newcomer does: in their order, on one server, each with something to show."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.harness.documents import PLACE, ROOT, commands
from tests.support.processes.connections import free_port
from tests.support.programs import examples

REPLAY = "127.0.0.1:8008"
"""Address of a replay in the documents, its default."""
SECONDS = 120.0
EMPTY = ("No settled forecasts", "No recorded forecasts", "No model version")
"""Beginnings of answers that have nothing to show."""

SERVING = {"dejavu-server": "serving", "dejavu replay": "Serving 8 games"}
"""Start of a command that serves until it is stopped → text that it prints once it serves."""
FOLLOWING = {"dejavu poll": "is in the record", "dejavu stream": "half "}
"""Start of a command that follows a game until it is stopped → text after which it is stopped."""

FASTER = {"--speed 60": "--speed 600", "--interval 0.75": "--interval 0.1"}
"""Changes to the documents' commands other than addresses and paths, so that an evening takes seconds."""


def without_comment(command: str) -> str:
    """Return a command as a shell reads it, without what follows a number sign."""
    return re.sub(r"\s+#.*$", "", command.replace("\\\n", " "), flags=re.MULTILINE).strip()


def kind(command: str, kinds: dict[str, str]) -> str | None:
    """Return the value of the kind that a command belongs to; None if it belongs to none."""
    return next((value for start, value in kinds.items() if re.match(rf"{start}( -|$)", command)), None)


class Reader:
    """A reader with a shell, who runs commands as the documents show them.

    Free ports take the place of the documents' addresses, and a folder that of `/tmp`.

    Args:
        folder: where commands run.
        seconds: how long a command may take.
    """

    def __init__(self, folder: Path, seconds: float = SECONDS) -> None:
        self._folder, self._seconds = folder, seconds
        self._places = {PLACE: f"127.0.0.1:{free_port()}", REPLAY: f"127.0.0.1:{free_port()}", "/tmp/": f"{folder}/"}
        # Without a fork server: no command of the documents needs one.
        self._variables = {"XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "120", "DEJAVU_STANDBY": "off"}
        self._serving: list[tuple[str, subprocess.Popen[str], threading.Thread]] = []

    def run(self, command: str) -> str:
        """Run a command and return its output. Only start one that serves; stop one that follows after its text.

        Raises:
            AssertionError: if it fails, or has nothing to show.
        """
        line = without_comment(command)
        for before, after in (self._places | FASTER).items():
            line = line.replace(before, after)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self._variables[name] = value
            return ""
        if says := kind(line, SERVING):
            self._serve(self._with_address(line), says)
            return ""
        if says := kind(line, FOLLOWING):
            return self._follow(line, says)
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=self._seconds,
            check=False,
        )
        if "-format-error" in line:
            assert done.returncode != 0
            return done.stdout + done.stderr
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        shown = done.stdout + done.stderr
        assert shown.strip() not in {"", "{}"}, command
        assert not shown.lstrip().startswith(EMPTY), f"{command}\n{shown}"
        return shown

    def close(self) -> None:
        """Stop the servers.

        Raises:
            AssertionError: if one does not exit with code 0.
        """
        for command, process, _ in reversed(self._serving):
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0, command

    def kill(self) -> None:
        """Kill the servers that still run."""
        for _, process, reading in self._serving:
            with process:  # closes its pipe
                process.kill()
                reading.join()

    def _with_address(self, line: str) -> str:
        """Add the address that the documents use by default."""
        where = PLACE if line.startswith("dejavu-server") else REPLAY
        listen = "" if "--listen" in line else f" --listen {self._places[where]}"
        return f"{line}{listen}"

    def _environment(self) -> dict[str, str]:
        return examples.environment(self._places[PLACE], **self._variables)

    def _serve(self, line: str, says: str) -> None:
        process = self._start(line)
        assert process.stdout is not None
        reading = threading.Thread(target=process.stdout.read, daemon=True)  # a full pipe would block the server
        try:
            read_until(process, says)
        finally:
            reading.start()
            self._serving.append((line, process, reading))

    def _follow(self, line: str, says: str) -> str:
        with self._start(line) as process:
            try:
                shown = read_until(process, says)
                process.send_signal(signal.SIGINT)
                rest, _ = process.communicate(timeout=30)
                assert process.returncode in {0, 130}, line
                return shown + rest
            finally:
                process.kill()

    def _start(self, line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            shlex.split(line),
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def read_until(process: subprocess.Popen[str], says: str) -> str:
    """Return the output of a program up to the line that contains a text.

    Raises:
        AssertionError: if the program ends, or is killed after `SECONDS`, without it.
    """
    assert process.stdout is not None
    limit = threading.Timer(SECONDS, process.kill)
    limit.start()
    shown = ""
    try:
        for line in process.stdout:
            shown += line
            if says in line:
                return shown
    finally:
        limit.cancel()
    raise AssertionError(f"{process.args!r} did not say {says!r}:\n{shown}")


@contextmanager
def reader(folder: Path, seconds: float = SECONDS) -> Iterator[Reader]:
    """Yield a `Reader`; end all its processes afterwards."""
    (folder / "examples").symlink_to(ROOT / "examples")
    someone = Reader(folder, seconds)
    try:
        yield someone
        someone.close()
    finally:
        someone.kill()


def all_commands() -> dict[str, list[str]]:
    """Return the console commands of every document, by its path in the project."""
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    documents.append(ROOT / "examples" / "README.md")
    names = [str(document.relative_to(ROOT)) for document in documents]
    return {name: found for name in names if (found := commands(name))}


NBA = "reads the NBA's site; tests/client and tests/trainer run it on a replay"
SEASONS = "needs the real seasons; tests/trainer runs it on simulated ones"
MINUTES = "trains for minutes: test_the_trainers_commands_run_in_order does so nightly, or tests/trainer"

ELSEWHERE = {
    r"(pip install|dejavu-dashboard) ": "tests/gateway starts it; test_wheel.py looks at what an installation gets",
    r"(grpcurl -plaintext -d '\{\"model_name\"|curl .*/v2/)": "test_clients_document.py runs them",
    r"cat gbm|dejavu-trainer publish bundle --store models --target|dejavu models show chal": "test_component.py",
    r"make ": "runs the tests, or the demo (tests/e2e/test_demo.py), or is run by .ci/run",
    r"dejavu poll( #|$| --metrics-listen)": NBA,
    r"dejavu-trainer fetch ": NBA,
    r"dejavu-trainer .*--data DIR ": SEASONS,
    r"dejavu-trainer (simulate|fit|evaluate|backtest|compare|import|refresh|retrain) ": MINUTES,
    r"dejavu-server (ledger export|--bundle) ": MINUTES,
    r"(python -m grpc_tools|buf build|proto-loader-gen-types|protoc )": "test_documents.py, with what is installed",
    r"(npm |GO111MODULE|g\+\+ |OUT/)": "test_node.py, test_programs.py and test_stream_rules.py run the programs",
    r"dejavu-server (--listen 127\.0\.0\.1:50051 --workers 4|--model-store) ": "writes to /var/lib",
    r"dejavu-server ledger copy --ledger ": "needs a PostgreSQL server: tests/ledger/copies",
    r"dejavu-server --listen 127\.0\.0\.1:50051 --ledger": "the examples are run on a server of tests/examples",
    r"dejavu predict [^\0]* --home BOS --away LAL --horizon final\s+--game-date 2024-11-01$": "is run further below",
    r"dejavu notify ?": "tests/cli/test_notify.py runs them with targets of its own",
    r"umask |dejavu-server token |dejavu-server --listen 0\.0\.0\.0:50051 ": (
        "tests/server/access/test_tokens.py and test_access.py; they open a port to other machines"
    ),
}
"""Commands that no reader below runs → the reason."""

READERS: dict[str, dict[str, str | None]] = {
    "of the README and of a first evening": {"README.md": None, "docs/first-evening.md": None},
    "of the track record and of the calls": {
        "docs/record.md": None,
        "docs/calls.md": None,
        "docs/clients.md": r"grpcurl ",
        "docs/operations.md": (
            r"dejavu (stats|doctor)|grpcurl [^\0]*OperationsService|dejavu-server ledger (backup|restore|cop)"
        ),
    },
}
"""Name of a reader → the documents whose commands it runs, and a pattern of these commands; None for all."""


def left_out(command: str) -> str | None:
    """Return why a command is not run here; None if it is."""
    return next((why for start, why in ELSEWHERE.items() if re.match(start, without_comment(command))), None)


def of_reader(name: str) -> list[str]:
    """Return the commands that a reader runs, in order."""
    documents = READERS[name]
    return [
        command
        for document, only in documents.items()
        for command in all_commands()[document]
        if left_out(command) is None and (only is None or re.match(only, command))
    ]


def test_every_command_of_every_document_is_run_or_has_a_reason_not_to_be() -> None:
    run = {command for name in READERS for command in of_reader(name)}
    assert [
        (document, command)
        for document, commands in all_commands().items()
        for command in commands
        if command not in run and left_out(command) is None
    ] == []


def test_every_reason_is_still_needed() -> None:
    everything = [without_comment(command) for commands in all_commands().values() for command in commands]
    assert [start for start in ELSEWHERE if not any(re.match(start, command) for command in everything)] == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", READERS)
@pytest.mark.timeout(400)
def test_the_commands_run_in_the_order_of_the_documents(name: str, tmp_path: Path) -> None:
    shown = dict[str, str]()
    with reader(tmp_path) as newcomer:
        for command in of_reader(name):
            shown[without_comment(command)] = newcomer.run(command)
    cards = [output for command, output in shown.items() if re.match("dejavu scorecard(?! --by-model)", command)]
    assert ["Brier score" in card for card in cards] == [True] * len(cards) != []
    [leaders] = [output for command, output in shown.items() if command.startswith("dejavu scorecard --by-model")]
    assert "versions with 1 game or more" in leaders
    [verified] = [output for command, output in shown.items() if command.startswith("dejavu-server ledger verify")]
    assert ": valid" in verified
    assert "consistent with the outcomes" in verified


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_the_trainers_commands_run_in_order(tmp_path: Path) -> None:
    with reader(tmp_path, seconds=1200) as newcomer:
        for command in all_commands()["docs/training.md"]:
            if re.match(r"dejavu-trainer (simulate|fit|evaluate|backtest|compare) (?!--data DIR)", command):
                newcomer.run(command)
        newcomer.run("dejavu-server --bundle bundle --allow-unfit --ledger sqlite:////tmp/try.sqlite3")
        assert "unfit" in newcomer.run("dejavu models")
