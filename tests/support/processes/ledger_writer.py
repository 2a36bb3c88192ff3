"""A process that writes to a ledger; tests use `Writer` (`-m tests.support.processes.ledger_writer URL FIRST COUNT`).

It opens the ledger, says so, and waits for a line on its standard input. Then it commits forecasts one after the other,
each for a game of its own from number FIRST on, and prints the place of each once it was acknowledged. With COUNT 0 it
never ends.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.support.builders.issued_forecasts import game, issued, recorded

from dejavu_server.ledger import Ledger

ROOT = Path(__file__).parents[3]


class Writer:
    """The process, seen from a test; killed at the end if it still runs."""

    def __init__(self, url: str, first: int, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.processes.ledger_writer", url, str(first), str(count)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def ready(self) -> None:
        """Waits until it has opened the ledger."""
        assert self.line() == "ready"

    def go(self) -> None:
        """Lets it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """The next line it prints; empty at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def rest(self) -> list[str]:
        """All that it still prints, once it has ended."""
        return self.process.communicate()[0].split()


async def main(url: str, first: int, count: int) -> None:
    ledger = await Ledger.open(url)
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    for number in itertools.count(first) if count == 0 else range(first, first + count):
        [stored] = await recorded(ledger, issued(game(number)))
        say(stored.sequence)
    await ledger.close()


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
