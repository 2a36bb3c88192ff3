"""Measures the disk space of a season's record: from one evening that a poller with its default options follows.

Run with `python -m bench.season_bytes` from the project's folder: simulated games, or with --plays and --date those of
a real evening. Every minute and every moment that the poller asks for is recorded by a real server, on a clock that
moves in steps. With --postgres the ledger is copied to PostgreSQL, and measured there as well.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import date
from pathlib import Path

from tests.support.fakes.clock import SteppedClock
from tests.support.processes.postgres import own_server
from tests.support.processes.servers import spawned_server

from dejavu_client import AsyncDejavuClient
from dejavu_common.clock import utc_now
from dejavu_feed.nba import NbaFeed
from dejavu_feed.replay.games import ReplayGame, recorded_evening, simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay
from dejavu_ledger import verify
from dejavu_ledger.copies import copy_ledger, open_target
from dejavu_ledger.database.backends import read_only_ledger
from dejavu_poller import Poller
from dejavu_poller.poller import DEFAULT_END_INTERVAL

SEASON_GAMES = 1320
SERVER = ("--workers", "1", "--max-ratings-days", "3650", "--caller-ledger-mib", "0")


async def follow(games: Sequence[ReplayGame], address: str) -> None:
    """Let a poller follow an evening of games from the first tip-off to the last report."""
    clock = SteppedClock(utc_now().replace(microsecond=0))
    replay = Replay(games, now=clock)
    with LocalServer(replay.respond) as served, closing(NbaFeed(served.url)) as feed:
        async with AsyncDejavuClient(address, timeout=60.0) as client, Poller(feed, client, now=clock) as poller:
            while clock.now < replay.end:
                clock.step(DEFAULT_END_INTERVAL)
                poller.turn()
                await poller.idle()


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the evening, and print what a season takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=8, help="number of simulated games")
    parser.add_argument("--plays", type=Path, metavar="FILE", help="plays of a season, in the format of training.md")
    parser.add_argument("--date", type=date.fromisoformat, help="the evening, with --plays")
    parser.add_argument("--postgres", action="store_true", help="measure PostgreSQL too")
    options = parser.parse_args(arguments)
    games = simulated_evening(random.Random(1), options.games)
    if options.plays is not None:
        games, _ = recorded_evening(options.plays, options.date)
    with ExitStack() as stack:
        url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/ledger.sqlite3"
        with spawned_server(*SERVER, "--ledger", url) as server:
            asyncio.run(follow(games, server.address))
        found = verify(url)
        print(f"{len(games)} games, {found.forecasts:,} forecasts: {found.forecasts / len(games):.0f} a game")
        source = stack.enter_context(read_only_ledger(url))
        sizes = {"SQLite": source.size_bytes()}
        if options.postgres:
            postgres = stack.enter_context(own_server())
            with open_target(postgres.url(postgres.new_database()), source) as target:
                copy_ledger(source, target)
                sizes["PostgreSQL"] = target.size_bytes()
    for database, size in sizes.items():
        season = size / len(games) * SEASON_GAMES
        print(f"{database}: {size / len(games) / 2**20:.2f} MiB a game, {season / 2**30:.2f} GiB a season")
    return 0


if __name__ == "__main__":
    sys.exit(main())
