"""Several servers with one ledger: if one dies, calls, streams and pollers go on; all servers learn the same.

On PostgreSQL too, with DEJAVU_TEST_LEDGER=postgresql.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.load import load
from tests.support.processes.postgres import on_postgres, postgres_ledger
from tests.support.processes.servers import SpawnedServer, async_worker, spawned_server
from tests.support.programs.poller import PollerProcess, poller_process

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import FINAL, AsyncDejavuClient, DejavuClient
from dejavu_client.requests import PredictOptions
from dejavu_feed.moment import from_message
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay

TAKE_OVER_SECONDS = 15.0


class Servers:
    """Two servers with one ledger, each of which can be started again on its port."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        ledger = stack.enter_context(postgres_ledger()) if on_postgres() else f"sqlite:///{folder / 'ledger.sqlite3'}"
        self._arguments = ("--ledger", ledger, "--workers", "1")
        self.running = [stack.enter_context(spawned_server(*self._arguments)) for _ in range(2)]
        self.addresses = [server.address for server in self.running]
        self.target = ",".join(self.addresses)

    def kill(self, index: int) -> None:
        """Kill a supervisor and its workers."""
        processes = [each.process for each in self.running[index : index + 1]]
        workers = psutil.Process(processes[0].pid).children()
        processes[0].kill()
        for worker in workers:
            worker.kill()
        processes[0].wait()
        psutil.wait_procs(workers, timeout=20)

    def drain(self, index: int) -> int:
        """End a server with SIGTERM; return its exit code."""
        return self.running[index].stop()

    def start(self, index: int) -> SpawnedServer:
        """Start a server again; return once it serves."""
        arguments = ("--listen", self.addresses[index], *self._arguments)
        server = self.running[index] = self._stack.enter_context(spawned_server(*arguments))
        server.wait_for("serving")
        return server


@contextmanager
def two_servers(folder: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, folder)


async def test_calls_and_streams_go_on_when_one_of_two_servers_is_killed(tmp_path: Path) -> None:
    with two_servers(tmp_path) as servers:
        async with load(servers.target) as clients:
            await clients.answers(50)
            await asyncio.to_thread(servers.kill, 0)
            await clients.answers(50)
        clients.check()


def bytes_of(forecast: Forecast) -> bytes:
    """Return a forecast without the times at which it was made and expires."""
    forecast.ClearField("generated_time")
    forecast.ClearField("expires_time")
    return forecast.SerializeToString(deterministic=True)


async def test_an_outcome_reported_to_one_server_teaches_the_other_the_same_to_the_bit(tmp_path: Path) -> None:
    options = PredictOptions(home_team="BOS", away_team="LAL", horizon=FINAL, quantile_levels=[0.1, 0.9])
    with ExitStack() as stack:
        ledger = {"ledger": stack.enter_context(postgres_ledger())} if on_postgres() else {}
        await _teach_one_of_two(tmp_path, options, ledger)


async def _teach_one_of_two(folder: Path, options: PredictOptions, ledger: dict[str, str]) -> None:
    async with (
        async_worker(folder, shipped=True, adaptive="on", **ledger) as one,
        async_worker(folder, shipped=True, adaptive="on", **ledger) as other,
        AsyncDejavuClient(one.address, timeout=60.0) as reporter,
        AsyncDejavuClient(other.address, timeout=60.0) as reader,
    ):
        game = current_game(1)
        await reporter.predict(PATTERN, **PredictOptions(**options, game_id=game))
        before = await reader.predict(PATTERN, **options)
        reported = await reporter.report_outcome(game, 25, horizon=FINAL, home_team="BOS", away_team="LAL")
        learned = [before, before]
        async with asyncio.timeout(60):
            for index, client in enumerate((reporter, reader)):
                while learned[index].calibration_sequence < reported.outcome.sequence:
                    learned[index] = await client.predict(PATTERN, **options)
        assert bytes_of(learned[0]) == bytes_of(learned[1]) != bytes_of(before)


@contextmanager
def two_pollers(servers: Servers) -> Iterator[tuple[PollerProcess, PollerProcess]]:
    """Yield the poller that leads and the one that stands by, on an evening at twenty times real-time speed."""
    games = simulated_evening(random.Random(3), 3)
    with LocalServer(Replay(games, speed=20.0).respond) as feed, ExitStack() as stack:
        arguments = ("--feed-url", feed.url, "--interval", "0.5", "--target", servers.target)
        leader = stack.enter_context(poller_process(*arguments))
        leader.leads()
        follower = stack.enter_context(poller_process(*arguments))
        follower.stands_by()
        yield leader, follower


def took_over(follower: PollerProcess, since: float) -> float:
    """Wait until a follower leads and has made a forecast; return the seconds from a time to its taking over."""
    index = follower.leads()
    follower.wait_for("forecast", after=index)
    return float(follower.events[index]["arrived"]) - since


def recorded_by(events: Sequence[dict[str, Any]]) -> list[int]:
    """Return the sequences of the forecasts and outcomes that a poller has recorded, as it prints them."""
    recorded = {"forecast": "forecast", "reported": "outcome"}
    return [int(each[recorded[each["event"]]]["sequence"]) for each in events if each["event"] in recorded]


def newest_entry(servers: Servers) -> int:
    """Return the sequence of the ledger's newest entry."""
    with DejavuClient(servers.target, timeout=60.0) as client:
        return client.get_checkpoint().sequence


def recorded_once(servers: Servers) -> int:
    """Check that nothing was made twice; return the number of recorded forecasts."""
    with DejavuClient(servers.target, timeout=60.0) as client:
        forecasts = [each.forecast for each in client.list_predictions(page_size=500, include_replays=True)]
    seconds = [from_message(each) for each in forecasts]
    made = Counter(
        (each.game_id, each.horizon, each.elapsed_minutes, moment and moment.elapsed, each.revision)
        for each, moment in zip(forecasts, seconds, strict=True)
    )
    assert set(made.values()) == {1}
    assert {each.revision for each, moment in zip(forecasts, seconds, strict=True) if moment is None} == {0}
    return len(forecasts)


@pytest.mark.nightly
async def test_a_poller_that_was_stopped_publishes_nothing_when_it_goes_on(tmp_path: Path) -> None:
    with two_servers(tmp_path) as servers, two_pollers(servers) as (leader, follower):
        await asyncio.to_thread(leader.wait_for, "forecast")
        stopped = leader.send(signal.SIGSTOP)
        seconds = await asyncio.to_thread(took_over, follower, stopped)
        assert seconds < TAKE_OVER_SECONDS
        before, newest = len(leader.events), await asyncio.to_thread(newest_entry, servers)
        woken = leader.send(signal.SIGCONT)
        index = await asyncio.to_thread(leader.stands_by, after=before)
        # It may still print answers that it had got when it was stopped.
        published = [each for each in recorded_by(leader.events[before:index]) if each > newest]
        assert published == [], f"{leader.events[index]['arrived'] - woken:.1f} s after it went on it stood by"
        ended = follower.send(signal.SIGTERM)
        first = await asyncio.to_thread(leader.leads, after=index)
        assert leader.events[first]["arrived"] - ended < TAKE_OVER_SECONDS
        assert await asyncio.to_thread(recorded_once, servers) > 0


@pytest.mark.nightly
async def test_pollers_go_on_with_the_other_server(tmp_path: Path) -> None:
    with two_servers(tmp_path) as servers, two_pollers(servers) as (leader, _):
        for index in range(2):
            await asyncio.to_thread(servers.kill, index)
            seen = len(leader.events)
            await asyncio.to_thread(leader.wait_for, "forecast", after=seen)
            restarted = await asyncio.to_thread(servers.start, index)
            assert await asyncio.to_thread(attrgetter("address"), restarted) == servers.addresses[index]
        roles = [each["role"] for each in leader.events if each["event"] == "leadership"]
        assert roles == ["leading"], "its lease is in the ledger, which both servers have"
        assert await asyncio.to_thread(recorded_once, servers) > 0
