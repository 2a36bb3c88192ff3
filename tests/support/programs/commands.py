"""Commands of the product that start in a preloaded interpreter, for tests that run them as other programs do.

[*python_m("dejavu_cli"), "poll", …]    # instead of [sys.executable, "-m", "dejavu_cli", "poll", …]
environment["PATH"] = commands_path() + …      # `dejavu` and `dejavu-server`, also for shells

Each is replaced by a small program that loads only the standard library: it passes its files, arguments and signals on
to a fork of the preloaded interpreter, and ends with the same exit code or signal. `Terminal` gives one a terminal.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyte
from tests.support.processes import preloaded

_PROGRAM = """#!{python} -IS
import json, os, signal, socket, sys

connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect({path!r})
pid = None

def pass_on(number, _):
    waiting.append(number) if pid is None else os.kill(pid, number)

waiting = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, pass_on)
entry = {entry!r} or sys.argv.pop(1)
request = json.dumps([entry, sys.argv[1:], dict(os.environ), os.getcwd()])
socket.send_fds(connection, [request.encode()], [0, 1, 2])
pid = int(connection.recv(64))
for number in waiting:
    os.kill(pid, number)
os.close(0), os.close(1), os.close(2)  # or their readers would see no end
code = int(connection.recv(64))
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
    path = preloaded.socket_path()
    folder = path.parent
    for name, entry in _ENTRIES.items():
        program = folder / name
        program.write_text(_PROGRAM.format(python=sys.executable, path=str(path), entry=entry))
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


class Terminal:
    """A command in a terminal of its own, and its screen.

    Attributes:
        process: its process.
        written: all that it wrote.
    """

    def __init__(self, *command: str, columns: int = 80) -> None:
        self._ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        environment = {**os.environ, "TERM": "xterm-256color"}
        own = ["setsid", "--wait", "--ctty", *command]
        self.process = subprocess.Popen(own, stdin=its, stdout=its, stderr=its, env=environment)
        os.close(its)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, their words separated by single blanks."""
        return [" ".join(line.split()) for line in self._screen.display]

    def draw_until(self, *texts: str, seconds: float = 60.0) -> None:
        """Return once the screen shows all these texts."""
        deadline = time.monotonic() + seconds
        while not all(any(text in line for line in self.lines) for text in texts):
            assert time.monotonic() < deadline, self.lines
            if select.select([self._ours], [], [], 1)[0]:
                self._read()

    def interrupt(self) -> int:
        """Press Ctrl-C, after a key that a terminal would echo; read the rest, and return the exit code."""
        os.write(self._ours, b"\r\x03")
        while self._read():
            pass
        return self.process.wait(30)

    def _read(self) -> bytes:
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # the program has ended
            return b""
        self.written += read
        self._stream.feed(read)
        return read
