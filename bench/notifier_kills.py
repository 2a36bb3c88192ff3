"""Kills the notifier that sends, again and again, while two others stand by.

Run with `python -m bench.notifier_kills` from the project's folder; `make nightly` runs `--kills 20`. Three `dejavu
notify` follow a real server. In each round a game gets close, and the notifier that claims its notification is killed
with SIGKILL at a random time up to 250 ms after its claim: before, while or after it sends. The target answers after up
to 20 ms. Another notifier takes the place of the killed one. Checks:

- Every notification arrives.
- None arrives twice, except one whose sender was killed before it could confirm: it comes again with the same
  `webhook-id`, by which a target knows it. The number of these is printed.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from bench.result import Result, program, show_round
from tests.support.builders.evenings import close_game
from tests.support.processes.receiver import Answer, Receiver
from tests.support.processes.servers import spawned_server
from tests.support.programs.commands import python_m

from dejavu.ops.v1.notification_service_pb2 import NOTIFICATION_STATUS_SENT, Notification
from dejavu_client import DejavuClient

NOTIFIERS = 3
SECONDS = 90.0
AFTER_CLAIM_SECONDS = 0.25
ANSWER_SECONDS = 0.02


@dataclass
class KillResult(Result):
    """Result of a run: the figures, then what must be empty.

    Attributes:
        kills: number of kills.
        unconfirmed: number of kills after which the notification was not confirmed.
        notifications: number of different notifications that arrived.
        arrivals: number of requests that arrived.
        repeated: ids that came again because their sender was killed before it confirmed.
        missing: ids that did not arrive.
        twice: ids that came again without such a kill, or more than once again.
        unsettled: ids that are not listed as sent at the end.
    """

    MUST_BE_EMPTY: ClassVar[tuple[str, ...]] = ("missing", "twice", "unsettled")
    kills: int = 0
    unconfirmed: int = 0
    notifications: int = 0
    arrivals: int = 0
    repeated: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)


@contextmanager
def notifier(rules: Path, target: str) -> Iterator[None]:
    """Start a notifier, and wait until it watches; kill it at the end."""
    command = [*python_m("dejavu_cli"), "notify", str(rules), "--replays", "--target", target]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "Watching" in process.stderr.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def write_rules(folder: Path, url: str) -> Path:
    """Write a file of rules with one target."""
    file = folder / "rules.toml"
    file.write_text(f'[targets.a]\nkind = "webhook"\nurl = "{url}"\n[[rules]]\nkind = "close_late"\n')
    return file


def wait_until(found: Callable[[], Notification | None]) -> Notification:
    """Return what is found, as soon as it is.

    Raises:
        TimeoutError: if it is not in time.
    """
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if (each := found()) is not None:
            return each
        time.sleep(0.002)
    raise TimeoutError


def listed(client: DejavuClient, game_id: str, *, sent: bool = False) -> Notification | None:
    """Return the notification of a game; None if there is none or, with `sent`, if it is not sent."""
    for each in client.list_notifications(limit=1000):
        if each.game_id == game_id and (not sent or each.status == NOTIFICATION_STATUS_SENT):
            return each
    return None


def run(options: argparse.Namespace, folder: Path) -> KillResult:
    """Run the rounds and check what arrived."""
    chance, result = random.Random(options.seed), KillResult()
    killed = set[str]()
    with ExitStack() as stack:
        server = stack.enter_context(spawned_server("--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}"))
        receiver = stack.enter_context(Receiver())
        receiver.answers["/"] = [
            Answer(before=partial(time.sleep, chance.uniform(0, ANSWER_SECONDS))) for _ in range(10 * options.kills)
        ]
        rules = write_rules(folder, f"{receiver.url}/")
        client = stack.enter_context(DejavuClient(server.address, timeout=30.0, slow=math.inf))
        for _ in range(NOTIFIERS):
            stack.enter_context(notifier(rules, server.address))
        games = [f"99{number:08d}" for number in range(options.kills)]
        for number, game_id in enumerate(games):
            client.publish_games([close_game(game_id)])
            claimed = wait_until(partial(listed, client, game_id))
            time.sleep(chance.uniform(0, AFTER_CLAIM_SECONDS))
            os.kill(int(claimed.sender.split(":")[1]), signal.SIGKILL)
            result.kills += 1
            if listed(client, game_id, sent=True) is None:
                result.unconfirmed += 1
                killed.add(claimed.id)
            stack.enter_context(notifier(rules, server.address))
            show_round(number, options.kills)
        for game_id in games:
            try:
                wait_until(partial(listed, client, game_id, sent=True))
            except TimeoutError:
                result.unsettled.append(game_id)
        arrivals = receiver.arrivals
    result.notifications, result.arrivals = len(arrivals), arrivals.total()
    result.missing = [game_id for game_id in games if not any(each.endswith(game_id) for each in arrivals)]
    again = [each for each, count in arrivals.items() if count > 1]
    result.repeated = [each for each in again if each in killed and arrivals[each] == 2]
    result.twice = [each for each in again if each not in result.repeated]
    return result


if __name__ == "__main__":
    sys.exit(program(__doc__, run, kills=20))
