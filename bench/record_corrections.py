"""Measures how correcting an outcome of thousands of forecasts delays the other callers of a worker.

One worker records forecasts of other games, one at a time, in blocks: without corrections, and while another caller
corrects an outcome in a loop. The blocks alternate, so a busy machine slows both equally.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.outcomes import outcome

from dejavu_models.types import DISTRIBUTION_LEVELS
from dejavu_server.ledger import Ledger
from dejavu_server.records import IssuedForecast

FORECASTS = 5000
"""Forecasts of the corrected game: as many as a server records by default."""

BLOCKS = 6
CALLS = 300
"""Recorded forecasts per block."""

_CORRECTED = game(1)
_QUANTILES = tuple(round(30 * level - 15, 3) for level in DISTRIBUTION_LEVELS)


@dataclass(frozen=True)
class Corrections:
    """Times to record a forecast, in ms, alone and during corrections.

    Attributes:
        corrections: number of corrections made meanwhile.
    """

    alone_ms: list[float]
    during_ms: list[float]
    corrections: int

    @property
    def ratio(self) -> float:
        """The 99th percentile during corrections, divided by the one without."""
        return p99(self.during_ms) / p99(self.alone_ms)


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(values, n=100)[98]


async def measure(folder: Path, *, forecasts: int = FORECASTS, blocks: int = BLOCKS, calls: int = CALLS) -> Corrections:
    """Fill a ledger in a folder and measure both."""
    ledger = await Ledger.open(f"sqlite:///{folder / 'corrections.sqlite3'}")
    for start in range(0, forecasts, 500):
        alphas = [0.01 + 0.9 * number / forecasts for number in range(start, min(start + 500, forecasts))]
        await ledger.commit([_forecast(_CORRECTED, alpha) for alpha in alphas])
    await ledger.record_outcome(outcome(0, _CORRECTED))
    found = Corrections([], [], 0)
    corrections = 0
    for block in range(2 * blocks):
        numbers = range(100 + block * calls, 100 + (block + 1) * calls)
        if block % 2 == 0:
            found.alone_ms.extend([await _record(ledger, number) for number in numbers])
            continue
        correcting = asyncio.create_task(_correct(ledger))
        found.during_ms.extend([await _record(ledger, number) for number in numbers])
        correcting.cancel()
        corrections += await correcting
    await ledger.close()
    return replace(found, corrections=corrections)


async def _correct(ledger: Ledger) -> int:
    """Correct the outcome until cancelled; return the number of corrections."""
    done = 0
    try:
        while True:
            _, settled = await ledger.record_outcome(outcome(1 + done % 50, _CORRECTED))
            if not settled:
                raise RuntimeError("the correction settled nothing")
            done += 1
    except asyncio.CancelledError:
        return done


async def _record(ledger: Ledger, number: int) -> float:
    """Record a forecast of a new game; return the milliseconds that this took."""
    forecast = _forecast(game(number), 0.05)
    start = time.perf_counter()
    await ledger.commit([forecast])
    return 1e3 * (time.perf_counter() - start)


def _forecast(game_id: str, alpha: float) -> IssuedForecast:
    plain = issued(game_id, alpha=alpha)
    return replace(plain, forecast=replace(plain.forecast, distribution=_QUANTILES))
