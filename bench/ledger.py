"""Measures how much the ledger gains from group commit and from waking readers.

Run with `python -m bench.ledger` from the project's folder. Compare figures within a run, not between machines.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from tests.support.builders.issued_forecasts import game, issued

from dejavu_server.ledger import Durability, Ledger

FORECASTS = 1000
CALLERS = 64
WAKES = 200
POLL_SECONDS = 0.015


async def seconds_a_forecast(ledger: Ledger, callers: int, numbers: range) -> float:
    """Return seconds per forecast with a number of callers, each of which commits one forecast at a time."""
    left = iter(numbers)

    async def caller() -> None:
        for number in left:
            await ledger.commit([issued(game(number))])

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return (time.perf_counter() - start) / len(numbers)


async def lags(writing: Ledger, numbers: range, arrive: Callable[[int], Awaitable[float]]) -> list[float]:
    """Return seconds from the start of each commit until another reader sees it.

    `arrive` waits until the reader sees the entry after a sequence, and returns the time at which it did.
    """
    measured = []
    for number in numbers:
        arriving = asyncio.ensure_future(arrive(number))
        await asyncio.sleep(0.005 + POLL_SECONDS * (number % 17) / 17)  # not in phase with the polling
        start = time.perf_counter()
        await writing.commit([issued(game(number))])
        measured.append(await arriving - start)
    return measured


async def woken_and_polling(writing: Ledger, reading: Ledger) -> tuple[float, float]:
    """Return the median seconds until another reader sees a commit: one that follows a tail, and one that polls."""
    async with aclosing(reading.tail(0)) as pages:

        async def woken(_: int) -> float:
            await anext(pages)
            return time.perf_counter()

        by_wake = await lags(writing, range(WAKES), woken)

    async def polling(sequence: int) -> float:
        while await reading.head() <= sequence:  # noqa: ASYNC110 - polling is what is measured
            await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter()

    by_polling = await lags(writing, range(WAKES, 2 * WAKES), polling)
    return statistics.median(by_wake), statistics.median(by_polling)


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        for durability in Durability:
            ledger = await Ledger.open(f"sqlite:///{folder}/{durability.value}.db", durability=durability)
            alone = await seconds_a_forecast(ledger, 1, range(FORECASTS))
            grouped = await seconds_a_forecast(ledger, CALLERS, range(FORECASTS, 2 * FORECASTS))
            print(
                f"durability {durability.value}: one caller {alone * 1e3:.3f} ms per forecast, "
                f"{CALLERS} callers {grouped * 1e3:.3f} ms: {alone / grouped:.1f} times the throughput"
            )
            await ledger.close()
        writing = await Ledger.open(f"sqlite:///{folder}/wake.db")
        reading = await Ledger.open(f"sqlite:///{folder}/wake.db")
        woken, polling = await woken_and_polling(writing, reading)
        print(
            f"time until another reader sees a commit: {woken * 1e3:.2f} ms if woken, {polling * 1e3:.2f} ms if it "
            f"polls every {POLL_SECONDS * 1e3:.0f} ms ({polling / woken:.1f} times as long)"
        )
        await writing.close()
        await reading.close()


if __name__ == "__main__":
    asyncio.run(main())
