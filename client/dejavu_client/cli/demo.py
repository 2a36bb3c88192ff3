"""`dejavu demo`: an evening of simulated games, from the feed to a subscriber, on real parts.

A two-worker server with the model that ships and a ledger of its own, a replay that serves the live feed faster than
life, the poller, and a subscriber of the stream. Everything is gone when it ends.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.cli.errors import FAILED
from dejavu_client.cli.options.common import Json
from dejavu_client.cli.server_process import ServerNotStarted, running_server
from dejavu_client.formatting import horizon_label
from dejavu_client.formatting import pluralize as counted
from dejavu_client.output.poll_display import watch
from dejavu_client.output.poll_events import horizon_line, summary_record
from dejavu_client.output.poll_scorecard import Record, disagreement, record_entry, record_lines, record_of
from dejavu_client.poller import Poller
from dejavu_client.poller.events import Event, Prediction
from dejavu_client.poller.summary import Summary
from dejavu_client.requests import FINAL, predict_request
from dejavu_client.transport.statistics import percentile
from dejavu_feed.clock import utc_now
from dejavu_feed.nba import NbaFeed
from dejavu_feed.replay.games import MOST_SIMULATED, ReplayGame, draw_home_edge, draw_matchups, simulated_game
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay

_WORKERS: Final = 2
_STAGGER: Final = 300.0
"""Life seconds from one tip-off to the next."""
_LIFE_SECONDS: Final = 8400.0 + 7 * _STAGGER
"""About how long eight games take in life, from the first tip-off to the last buzzer."""
_LAST_EVENTS_SECONDS: Final = 10.0
"""How long to wait, after the last game, for what the stream still owes."""


def demo(
    seconds: Annotated[float, typer.Option(min=5, max=3600, help="About how long the evening shall take.")] = 55.0,
    count: Annotated[int, typer.Option(min=1, max=MOST_SIMULATED, help="How many games to simulate.")] = 8,
    seed: Annotated[int | None, typer.Option(help="The same games again; by default they are new each time.")] = None,
    as_json: Json = False,
) -> None:
    """Show an evening go by: server, replayed feed, poller and subscriber, in about a minute.

    Needs no network. Ends by itself, with the evening's figures, and leaves nothing running.
    """
    received: list[signal.Signals] = []
    try:
        missed = asyncio.run(_interruptible(_demo(seconds, count, seed, as_json=as_json), received))
    except asyncio.CancelledError:
        raise typer.Exit(128 + received[0]) from None
    except ServerNotStarted as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from None
    if missed:
        typer.echo(f"Error: {missed}", err=True)
        raise typer.Exit(FAILED)


async def _interruptible(evening: Coroutine[Any, Any, str], received: list[signal.Signals]) -> str:
    """Runs the evening; SIGINT and SIGTERM cancel it, so that everything it started is ended, and are noted."""
    task = asyncio.create_task(evening)

    def end(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    return await task


@dataclass(slots=True)
class _Subscriber:
    """What a subscriber received, and when.

    Attributes:
        received: moment by sequence.
        order: the sequences as they came.
        standing: set once the stream stands.
        changed: set whenever something came.
    """

    received: dict[int, datetime] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    standing: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, client: AsyncDejavuClient) -> None:
        """Receives until it is cancelled."""
        async for response in client.stream_predictions(heartbeats=True):
            self.standing.set()
            if response.WhichOneof("event") == "forecast":
                self.order.append(response.forecast.sequence)
                self.received[response.forecast.sequence] = utc_now()
                self.changed.set()

    async def until(self, sequences: set[int]) -> bool:
        """Waits until all these were received; false if that takes too long."""
        try:
            async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                while not sequences <= self.received.keys():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def _subscribed(address: str) -> AsyncIterator[_Subscriber]:
    """A subscriber, on a connection of its own, whose stream stands."""
    subscriber = _Subscriber()
    async with AsyncDejavuClient(address, channels=1) as client:
        following = asyncio.create_task(subscriber.follow(client))
        standing = asyncio.create_task(subscriber.standing.wait())
        try:
            await asyncio.wait([following, standing], return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                await following  # raises what ended it
            yield subscriber
        finally:
            standing.cancel()
            following.cancel()
            await asyncio.gather(following, standing, return_exceptions=True)


async def _demo(seconds: float, count: int, seed: int | None, *, as_json: bool) -> str:
    """Runs the evening; returns what was promised and did not happen, or ""."""
    console = Console()
    if not as_json:
        console.print(f"Starting a server of {_WORKERS} workers and a replay of {count} simulated games …")
    rng = random.Random(seed)  # noqa: S311 - games, not secrets
    predictions: list[Prediction] = []

    def note(event: Event) -> None:
        if isinstance(event, Prediction):
            predictions.append(event)

    with tempfile.TemporaryDirectory(prefix="dejavu-demo-") as folder:
        ledger = f"sqlite:///{Path(folder) / 'ledger.sqlite3'}"
        async with (
            running_server("--workers", str(_WORKERS), "--ledger", ledger) as address,
            _subscribed(address) as subscriber,
            AsyncDejavuClient(address) as client,
        ):
            games = await games_of(client, rng, count)
            speed = _LIFE_SECONDS / seconds
            replay = Replay(games, speed=speed, delay=1.0, stagger=_STAGGER)
            with LocalServer(replay.respond) as served, closing(NbaFeed(served.url)) as feed:
                # About as often, measured by the games, as every ten seconds; but not more often than is of use.
                async with Poller(feed, client, interval=max(0.2, 60.0 / speed), on_event=[note]) as poller:
                    await watch(poller, console, until_final=True, as_json=as_json)
                    complete = await subscriber.until({prediction.forecast.sequence for prediction in predictions})
                    summary = poller.summary()
            record = await record_of(client)
            latencies = _latencies(predictions, subscriber)
            _report(console, summary, record, latencies, as_json=as_json)
    kept = shortfall(summary, count, complete and subscriber.order == sorted(set(subscriber.order)))
    return kept or disagreement(summary, record)


async def games_of(client: AsyncDejavuClient, rng: random.Random, count: int) -> tuple[ReplayGame, ...]:
    """Simulated games of teams that are as strong as the model takes them to be; else its forecasts would be off."""
    pairs = draw_matchups(rng, count)
    asked = [predict_request([0], horizon=FINAL, home_team=home, away_team=away) for home, away in pairs]
    results = await client.predict_batch(asked, timeout=30.0)
    edges = [
        result.forecast.expected_margin if result.forecast.HasField("expected_margin") else draw_home_edge(rng)
        for result in results
    ]
    return tuple(
        simulated_game(rng, number, home, away, edge)
        for number, ((home, away), edge) in enumerate(zip(pairs, edges, strict=True), 1)
    )


def shortfall(summary: Summary, count: int, delivered: bool) -> str:
    """What an evening of `pluralize` games promised and did not do; "" if it kept its word.

    Args:
        summary: the evening.
        count: how many games it had.
        delivered: whether the subscriber got every forecast once and in order.
    """
    for of in summary.horizons:
        if not of.games == of.settled_games == count:
            name = horizon_label(of.horizon)
            return f"of {count} games {of.games} had their {name} forecast, and {of.settled_games} of these reached it"
    return "" if delivered else "the subscriber did not get every forecast once and in order"


def _latencies(predictions: list[Prediction], subscriber: _Subscriber) -> list[float]:
    """Seconds from the play that completed a pattern, as the feed dates it, until the subscriber had the forecast."""
    return sorted(
        (subscriber.received[sequence] - prediction.completed).total_seconds()
        for prediction in predictions
        if prediction.completed is not None and (sequence := prediction.forecast.sequence) in subscriber.received
    )


def _report(console: Console, summary: Summary, record: Record, latencies: list[float], *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = summary_record(summary, utc_now())
        told["event"] = "demo"
        told["scorecards"] = record_entry(record)
        told["feedToSubscriberSecondsP50"] = percentile(latencies, 0.5) if latencies else None
        told["feedToSubscriberSecondsP95"] = percentile(latencies, 0.95) if latencies else None
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    console.print()
    missed = f", {summary.missed} missed" if summary.missed else ""
    console.print(
        f"{counted(summary.games, 'game')} went by, forecast after every minute of play from the sixth on: "
        f"{counted(summary.forecasts, 'forecast')}{missed}."
    )
    console.print("As the poller saw it:")
    for of in summary.horizons:
        console.print(f"  {horizon_line(of) or f'{horizon_label(of.horizon)}: nothing to hold forecasts against'}")
    console.print("By the server's record, which settled them as the games came out:")
    for line in record_lines(record):
        console.print(f"  {line}")
    if latencies:
        p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
        console.print(
            f"From the feed to the subscriber: p50 {p50:.2f} s, p95 {p95:.2f} s, with the wait for the next poll."
        )
    console.print(
        "So few games say little, and these are simulated, with teams as strong as the model takes them to be: figures "
        "on real seasons, which say what the model is worth, are in the README."
    )
