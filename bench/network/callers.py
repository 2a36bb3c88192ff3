"""Callers of a server with faults, and the results of their calls."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.harness.clients import AnyClient

from dejavu_client import Forecast
from dejavu_client.errors import DejavuClientError

THINKING_SECONDS = 0.02
"""Mean pause of a caller after each turn; limits the load."""


@dataclass
class Phase:
    """The calls of one period.

    Attributes:
        calls: number of calls.
        errors: number of failed calls, by type.
        p50, p99, longest: seconds until calls were answered or had failed.
    """

    calls: int
    errors: dict[str, int]
    p50: float
    p99: float
    longest: float

    @property
    def failed(self) -> float:
        """Share of failed calls."""
        return sum(self.errors.values()) / self.calls


@dataclass(frozen=True)
class Call:
    """A call: when it was made, when it ended, the type of its error, if any, and whether it named a game."""

    start: float
    end: float
    error: str
    named: bool = False


class Callers:
    """Concurrent callers that share a client: in each turn, a caller makes a what-if, then the same named call twice.

    Args:
        client: the client.
        seed: seed of the patterns and of the pauses.

    Attributes:
        calls: the calls that have ended.
        changed: number of repeated named calls that returned a different forecast.
        stop: ends every caller after its current calls.
    """

    def __init__(self, client: AnyClient, seed: str) -> None:
        self._client = client
        self._seed = seed
        self.calls: list[Call] = []
        self.changed = 0
        self.stop = asyncio.Event()

    async def run(self, number: int) -> None:
        """Call until stopped: a what-if, then a named game, twice."""
        choose = random.Random(f"{self._seed}-{number}")
        games = 0
        while not self.stop.is_set():
            pattern = [float(choose.randint(-20, 20)) for _ in range(18)]
            await self._call(pattern, "")
            games += 1
            game_id = f"99{number:03d}{games:05d}"
            first, again = await self._call(pattern, game_id), await self._call(pattern, game_id)
            self.changed += first is not None and again is not None and first != again
            await asyncio.sleep(THINKING_SECONDS * 2 * choose.random())

    async def _call(self, pattern: Sequence[float], game_id: str) -> int | None:
        start, error = time.monotonic(), ""
        try:
            forecast: Forecast = await self._client.call("predict", pattern, game_id=game_id)
            return forecast.sequence
        except DejavuClientError as failure:
            error = type(failure).__name__
            return None
        finally:
            self.calls.append(Call(start, time.monotonic(), error, bool(game_id)))


def phase_of(calls: Sequence[Call]) -> Phase:
    """Summarize calls, of which there is at least one."""
    seconds = sorted(call.end - call.start for call in calls)
    errors = Counter(call.error for call in calls if call.error)
    return Phase(len(calls), dict(errors), statistics.median(seconds), seconds[int(len(seconds) * 0.99)], max(seconds))
