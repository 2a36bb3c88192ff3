"""Compares the CPU time in which one subscriber catches up with that of many that do so at the same time.

Run with `python -m bench.network.catch_up` from the project's folder. A broadcaster in this process streams a ledger of
forecasts to subscribers that resume, as after the end of a worker, each at a different position in its first half.
Rounds with one subscriber and with many alternate; compare the ratio. Exits with 1 if a stream lacks an entry.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import uvloop
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness.subscribers import Subscriber, encode_outcome
from tests.support.harness.tokens import token_of

from dejavu_ledger import Ledger
from dejavu_server.api.converters.forecast import forecast_message
from dejavu_server.streaming.broadcaster import Broadcaster

A_COMMIT = 200
"""Number of forecasts that are committed together."""


async def _catch_up(ledger: Ledger, subscribers: int, behind: int, entries: int) -> tuple[float, int]:
    """Return the CPU seconds in which subscribers catch up, and the number of those that lack an entry."""
    broadcaster = Broadcaster(ledger, encode=partial(forecast_message, explanation=True), encode_outcome=encode_outcome)
    await broadcaster.start()

    async def follow(start: int) -> bool:
        async with Subscriber(broadcaster, token=await token_of(ledger, start)) as subscriber:
            return await subscriber.forecasts(entries - start) == [*range(start + 1, entries + 1)]

    began = time.process_time()
    starts = [entries - behind + number % (behind // 2) for number in range(subscribers)]
    complete = await asyncio.gather(*map(follow, starts))
    seconds = time.process_time() - began
    await broadcaster.close()
    return seconds, complete.count(False)


async def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the rounds and print the figures; return the exit code."""
    ledger = await Ledger.open(f"sqlite:///{folder / 'ledger.sqlite3'}")
    try:
        for first in range(0, options.behind, A_COMMIT):
            await ledger.commit(
                [issued(game(number)) for number in range(first, min(first + A_COMMIT, options.behind))]
            )
        alone, together, incomplete = list[float](), list[float](), 0
        for _ in range(options.rounds):
            for subscribers, seconds in ((1, alone), (options.subscribers, together)):
                took, lacking = await _catch_up(ledger, subscribers, options.behind, options.behind)
                seconds.append(took)
                incomplete += lacking
    finally:
        await ledger.close()
    one, many = statistics.median(alone), statistics.median(together)
    print(f"one subscriber, {options.behind} forecasts behind: {1000 * one:.0f} ms of CPU")
    print(f"{options.subscribers} subscribers: {1000 * many:.0f} ms, {many / one:.1f} times that of one")
    print(f"streams that lack an entry: {incomplete}")
    return 1 if incomplete else 0


def main() -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench.network.catch_up", description="subscribers that catch up together")
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--behind", type=int, default=1500, help="forecasts that the first subscriber lacks")
    parser.add_argument("--rounds", type=int, default=5)
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(run(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
