"""Two `dejavu poll` processes of one server: while the leader hangs, the other one leads."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.processes.servers import spawned_server
from tests.support.programs.commands import python_m

from dejavu_client import DejavuClient
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay

TAKE_OVER_SECONDS = 15.0
SECONDS = 60.0
"""Timeout of every wait, generous for busy machines."""


class PollerProcess:
    """A poller in a process of its own, killed at the end; its events, each with its time of arrival."""

    def __init__(self, *arguments: str) -> None:
        command = [*python_m("dejavu_cli"), "poll", "--json", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(SECONDS)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._more:
                    self.events.append((time.monotonic(), json.loads(line)))
                    self._more.notify_all()

    def wait_for(self, after: int, **expected: str) -> float:
        """Wait for an event after the first `after` ones that has these fields; return when it came."""

        def found() -> list[float]:
            return [at for at, event in self.events[after:] if expected.items() <= event.items()]

        with self._more:
            assert self._more.wait_for(found, SECONDS), f"no {expected} in {self.events[after:]}"
            return found()[0]


@pytest.mark.nightly
def test_a_poller_that_hung_stands_by_when_it_goes_on_and_each_moment_is_recorded_once(tmp_path: Path) -> None:
    games = simulated_evening(random.Random(3), 3)
    with LocalServer(Replay(games, speed=20.0).respond) as feed, ExitStack() as stack:
        server = stack.enter_context(spawned_server("--ledger", f"sqlite:///{tmp_path / 'ledger'}", "--workers", "1"))
        arguments = ("--feed-url", feed.url, "--interval", "0.5", "--target", server.address)
        leader = stack.enter_context(PollerProcess(*arguments))
        leader.wait_for(0, event="leadership", role="leading")
        follower = stack.enter_context(PollerProcess(*arguments))
        follower.wait_for(0, event="leadership", role="standby")
        leader.wait_for(0, event="forecast")
        stopped, before = time.monotonic(), len(follower.events)
        leader.process.send_signal(signal.SIGSTOP)
        assert follower.wait_for(before, event="leadership", role="leading") - stopped < TAKE_OVER_SECONDS
        follower.wait_for(len(follower.events), event="forecast")
        seen = len(leader.events)
        leader.process.send_signal(signal.SIGCONT)
        leader.wait_for(seen, event="leadership", role="standby")
        killed, before = time.monotonic(), len(leader.events)
        follower.process.kill()
        assert leader.wait_for(before, event="leadership", role="leading") - killed < TAKE_OVER_SECONDS
        with DejavuClient(server.address, timeout=60.0) as client:
            forecasts = [each.forecast for each in client.list_predictions(page_size=500, include_replays=True)]
    made = [(each.game_id, each.horizon, each.elapsed_minutes, str(each.moment), each.revision) for each in forecasts]
    assert len(set(made)) == len(made) > 0
    assert {each.revision for each in forecasts if not each.HasField("moment")} == {0}
