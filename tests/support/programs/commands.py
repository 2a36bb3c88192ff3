"""Commands of the product that start in a preloaded interpreter, for tests that run them as other programs do.

[*python_m("dejavu_cli"), "poll", …]    # instead of [sys.executable, "-m", "dejavu_cli", "poll", …]
environment["PATH"] = commands_path() + …      # `dejavu` and `dejavu-server`, also for shells

Each is replaced by a small program that loads only the standard library: it passes its files, arguments and signals on
to a fork of the preloaded interpreter, and ends with the same exit code or signal.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import preloaded

_PROGRAM = """#!{python} -IS
import json, os, signal, socket, sys

control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
control.connect({path!r})
ended, reports_end = os.pipe()
signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
pid = None

def pass_on(number, _):
    waiting.append(number) if pid is None else os.kill(pid, number)

waiting = []
for number in signals:
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, pass_on)
entry = {entry!r} or sys.argv.pop(1)
request = json.dumps([entry, sys.argv[1:], dict(os.environ), os.getcwd()])
socket.send_fds(control, [request.encode()], [0, 1, 2, reports_end])
os.close(reports_end)
pid = int(control.recv(64))
for number in waiting:
    os.kill(pid, number)
os.close(0), os.close(1), os.close(2)  # or their readers would see no end
code = int(os.read(ended, 64))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""

_ENTRIES = {"python-m": "", "dejavu": "dejavu_cli.__main__:main", "dejavu-server": "dejavu_server.cli.main:main"}


def python_m(module: str) -> list[str]:
    """Return the beginning of a command that runs a module as `python -m` does, preloaded by day."""
    if not preloaded.enabled():
        return [sys.executable, "-m", module]
    return [str(_folder(os.getpid()) / "python-m"), module]


def commands_path() -> str:
    """Return a PATH with the installed commands; by day, the preloaded ones come first."""
    installed = Path(sys.executable).parent
    return os.pathsep.join(map(str, [_folder(os.getpid()), installed] if preloaded.enabled() else [installed]))


@functools.cache
def _folder(process: int) -> Path:
    folder = preloaded.requests_path().parent
    for name, entry in _ENTRIES.items():
        program = folder / name
        program.write_text(_PROGRAM.format(python=sys.executable, path=str(folder / "socket"), entry=entry))
        program.chmod(0o755)
    return folder


class Program:
    """A running command whose output is read.

    Attributes:
        process: its process.
        out, err: what it writes.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.out, self.err = process.stdout, process.stderr

    def record(self, event: str) -> Any:
        """Return the next JSON line with an event of the given name; skip the lines before it."""
        for line in self.out:
            record = json.loads(line)
            if record["event"] == event:
                return record
        raise AssertionError(f"the program ended without the event {event}")

    def ended(self, number: int | None = None) -> int:
        """Send a signal, if one is given; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def complaints(self) -> list[str]:
        """Return what it wrote to its log, but for calls that a busy machine made slow."""
        return [line for line in self.err if "slow_call" not in line]


@contextmanager
def dejavu(*arguments: str, command: Sequence[str] = (), **environment: str) -> Iterator[Program]:
    """Start `dejavu`, or another command in its place; end it at the end of the context."""
    program = [*(command or python_m("dejavu_cli")), *arguments]
    pipe = subprocess.PIPE
    env = {**os.environ, **environment}
    with subprocess.Popen(program, stdout=pipe, stderr=pipe, encoding="utf-8", env=env) as process:
        try:
            yield Program(process)
        finally:
            process.kill()
