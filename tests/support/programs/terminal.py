"""A command in a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import Self

import pyte


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
