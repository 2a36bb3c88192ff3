"""A process that writes to a ledger; tests use `Writer` (`-m tests.support.processes.ledger_writer URL FIRST COUNT`).

It opens the ledger, prints "ready" and waits for a line on standard input. Then it commits forecasts one by one, each
for another game, from number FIRST, and prints the sequence of each after the commit. With COUNT 0 it never ends.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from types import TracebackType

from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.harness.documents import ROOT

from dejavu_ledger import Ledger


class Writer:
    """Handle of the process in a test; kills it at the end if it still runs."""

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
        """Wait until it has opened the ledger."""
        assert self.line() == "ready"

    def go(self) -> None:
        """Start the commits."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """Return the next printed line; empty at the end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def rest(self) -> list[str]:
        """Return the remaining output, after the end of the process."""
        # Not communicate(): it does not see what `line` has read ahead.
        assert self.process.stdout is not None
        return self.process.stdout.read().split()


async def main(url: str, first: int, count: int) -> None:
    ledger = await Ledger.open(url)
    emit("ready")
    await asyncio.to_thread(sys.stdin.readline)
    for number in itertools.count(first) if count == 0 else range(first, first + count):
        [stored] = await recorded(ledger, issued(game(number)))
        emit(stored.sequence)
    await ledger.close()


def emit(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
