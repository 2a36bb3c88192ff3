"""Serves simulated games with the faults of a bad day, for `dejavu poll --feed-url`, until Ctrl-C.

python -m tests.support.programs.bad_evening --speed 60 --seed 7
"""

from __future__ import annotations

import argparse
import contextlib
import random
import threading

from tests.support.builders.evenings import extend_to_overtime
from tests.support.fakes.feed_faults import FaultyReplay, FeedFaultKind

from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=float, default=60.0, help="speed relative to real time")
    parser.add_argument("--seed", type=int, default=0, help="seed of games and faults")
    options = parser.parse_args()
    first, *others = simulated_evening(random.Random(options.seed), 3)
    games = Replay([extend_to_overtime(first), *others], speed=options.speed, delay=5, stagger=300)
    faulty = FaultyReplay(games, FeedFaultKind, seed=options.seed)
    with LocalServer(faulty.respond) as server, contextlib.suppress(KeyboardInterrupt):
        # With faults many polls fail: it is polled as often as on a real game day.
        interval = max(0.05, 10 / options.speed)
        print(f"dejavu poll --feed-url {server.url} --interval {interval:.2f}", flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
