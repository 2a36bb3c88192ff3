"""Many browsers that follow a gateway's live events, in one process: `python -m bench.page.browsers HOST:PORT N`.

Prints a line once each browser has a position. Then reads commands: `until SEQUENCE` prints a line once every browser
has that event, `report` prints a summary of the received events as JSON. A browser that loses its connection resumes
from its last id.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Self

from dejavu_common.address import Address
from dejavu_common.processes import raise_file_limit

RECONNECT_SECONDS = (0.05, 0.5)


@dataclass
class Received:
    """Summary of the events that all browsers received.

    Attributes:
        sequences: the events, in the order in which the first browser got each.
        last: sequence → when the last browser got it, seconds since 1970.
        states: points of the home team in a state of a game → when the last browser got it, seconds since 1970.
        wrong: number of events that a browser received twice, or after missing one.
        deliveries: events received by all browsers together.
        connections: connections made by all browsers together.
        resets: how often a browser was told to start again, with the newest forecast of each game.
    """

    sequences: list[int] = field(default_factory=list)
    last: dict[int, float] = field(default_factory=dict)
    states: dict[int, float] = field(default_factory=dict)
    wrong: int = 0
    deliveries: int = 0
    connections: int = 0
    resets: int = 0

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self:
        """Parse a report in JSON, in which keys are strings."""
        times = {name: {int(number): at for number, at in report[name].items()} for name in ("last", "states")}
        return cls(**{**report, **times})


class Browsers:
    """The browsers of this process."""

    def __init__(self, address: Address, count: int) -> None:
        self.address = address
        self.received = Received()
        self.changed = asyncio.Event()
        self.all = [Browser(self) for _ in range(count)]

    async def start(self) -> None:
        """Connect all, and wait until each has a position."""
        for start in range(0, len(self.all), 50):
            await asyncio.gather(*(each.connect() for each in self.all[start : start + 50]))
        await self.until(lambda: all(each.token for each in self.all))

    def have(self, sequence: int) -> bool:
        """Return whether all browsers have the event of a sequence."""
        sequences = self.received.sequences
        newest = sequences[-1] if sequences else 0
        return newest >= sequence and all(each.place == len(sequences) for each in self.all)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        while not holds():
            self.changed.clear()
            await self.changed.wait()


class Browser(asyncio.Protocol):
    """One browser.

    Attributes:
        token: the last id.
        place: number of events that it has received.
    """

    def __init__(self, browsers: Browsers) -> None:
        self._browsers = browsers
        self._buffer = b""
        self.token = b""
        self.place = 0

    async def connect(self) -> None:
        """Connect, with as many attempts as needed."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: self, *self._browsers.address)
            except OSError:
                await asyncio.sleep(random.uniform(*RECONNECT_SECONDS))
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Request the events. An event always ends within a chunk of the response."""
        assert isinstance(transport, asyncio.Transport)
        self._buffer = b""
        self._browsers.received.connections += 1
        resume = b"last-event-id: %b\r\n" % self.token if self.token else b""
        transport.write(b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n%b\r\n" % resume)

    def data_received(self, data: bytes) -> None:
        """Process the events that are complete."""
        self._buffer += data
        *blocks, self._buffer = self._buffer.split(b"\n\n")
        for block in blocks:
            self._take(block)

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect again."""
        task = asyncio.ensure_future(self._again())
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)

    async def _again(self) -> None:
        await asyncio.sleep(random.uniform(*RECONNECT_SECONDS))
        await self.connect()

    def _take(self, block: bytes) -> None:
        received = self._browsers.received
        start = block.find(b"id: ")
        if start >= 0:
            self.token = block[start + 4 :].partition(b"\n")[0]
            self._browsers.changed.set()
        if b"event: reset" in block:
            received.resets += 1
            self.place = 0  # the newest forecasts follow: all, as each is of another game
        if b"event: game" in block:
            points = block[block.find(b'"homeScore":') + 12 :].partition(b",")[0]
            received.states[int(points)] = time.time()
            return
        at = block.find(b'"sequence":"')
        if at < 0 or b"event: prediction" not in block:
            return
        sequence = int(block[at + 12 :].partition(b'"')[0])
        if self.place == len(received.sequences):
            received.sequences.append(sequence)
        received.wrong += received.sequences[self.place] != sequence
        received.last[sequence] = time.time()
        received.deliveries += 1
        self.place += 1


_TASKS = set[asyncio.Task[None]]()


async def main() -> None:
    """Run the browsers."""
    raise_file_limit()
    browsers = Browsers(Address.parse(sys.argv[1]), int(sys.argv[2]))
    await browsers.start()
    print("connected", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command, *arguments = line.split()
        if command == "until":
            last = int(arguments[0])
            await browsers.until(partial(browsers.have, last))
            print("done", flush=True)
        else:
            print(json.dumps(asdict(browsers.received)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
