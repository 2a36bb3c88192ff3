"""`dejavu demo`: runs an evening of simulated games end to end, from the feed to a stream subscriber.

Starts a two-worker server with the bundled model and a temporary ledger, a replay that serves the live feed faster than
real time, the poller, and a subscriber of the stream. Removes everything when it ends.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from google.protobuf.json_format import MessageToDict, MessageToJson
from rich.table import Table

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu.v1.scorecard_pb2 import Figure, Scorecard
from dejavu_cli.errors import failure
from dejavu_cli.options import Json, PageOption
from dejavu_cli.output.poll_display import watch
from dejavu_cli.output.poll_events import summary_record
from dejavu_cli.output.scores import Record, between, fetch_scorecards, verdict
from dejavu_cli.server_process import LedgerInvalid, NotStarted, running_page, running_server, verify_ledger
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.formatting import horizon_label, pluralize, signed
from dejavu_client.requests import FINAL, predict_request
from dejavu_client.similar_games import seen_before
from dejavu_client.transport.statistics import percentile
from dejavu_common.clock import utc_now
from dejavu_common.rich_console import Console
from dejavu_feed.nba import NbaFeed
from dejavu_feed.pattern import HALFTIME_MINUTES
from dejavu_feed.replay.games import MOST_SIMULATED, ReplayGame, draw_home_edge, draw_matchups, simulated_game
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay
from dejavu_poller import Poller
from dejavu_poller.events import Prediction
from dejavu_poller.publishing import GamePublisher
from dejavu_poller.summary import Summary

_WORKERS: Final = 2
_STAGGER: Final = 300.0
"""Game-day seconds from one tip-off to the next."""
_GAME_DAY_SECONDS: Final = 8400.0 + 7 * _STAGGER
"""Approximate real duration of eight games, from the first tip-off to the last buzzer."""
_SEED: Final = 1
"""Default seed: every demo plays the same games. It was the first choice; no other seeds were tried."""
_ONLY_AT_THE_END: Final = math.inf
"""Pace of the forecasts between minutes: only after plays of the last minutes."""
_LAST_EVENTS_SECONDS: Final = 10.0
"""Time to wait for the remaining stream events after the last game."""


def demo(
    seconds: Annotated[float, typer.Option(min=5, max=3600)] = 55.0,
    count: Annotated[int, typer.Option(min=1, max=MOST_SIMULATED)] = 8,
    seed: Annotated[int, typer.Option()] = _SEED,
    page: PageOption = False,
    as_json: Json = False,
) -> None:
    """Run a whole evening in about a minute: server, replayed feed, poller and subscriber.

    Needs no network. Exits by itself with the evening's results and leaves nothing running;
    with --page it keeps server and page until Ctrl-C.
    The games are the same on every run. How many forecasts there are between minutes depends on
    the speed of this machine, and with them the second decimal of the figures.

    Args:
        seconds: Approximate duration of the evening.
        count: Number of games to simulate.
        seed: Seed of the simulated games; another one plays other games.
    """
    received: list[signal.Signals] = []
    try:
        lacking = asyncio.run(_interruptible(_demo(seconds, count, seed, page=page, as_json=as_json), received))
    except asyncio.CancelledError:
        raise typer.Exit(128 + received[0]) from None
    except (NotStarted, LedgerInvalid) as error:
        raise failure(error) from None
    if lacking:
        raise failure(lacking)


async def _interruptible(evening: Coroutine[Any, Any, str], received: list[signal.Signals]) -> str:
    """Run the evening. SIGINT and SIGTERM cancel it, so that it cleans up, and are appended to `received`."""
    task = asyncio.create_task(evening)

    def end(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    return await task


class _Subscriber:
    """Records which forecasts a stream subscriber received, and when.

    Attributes:
        received: sequence and time of receipt of each forecast, in the order of receipt.
    """

    def __init__(self) -> None:
        self.received: list[tuple[int, datetime]] = []
        self._changed = asyncio.Event()

    async def follow(self, responses: AsyncIterator[StreamPredictionsResponse]) -> None:
        """Receive events until cancelled."""
        async for response in responses:
            if response.WhichOneof("event") == "forecast":
                self.received.append((response.forecast.sequence, utc_now()))
                self._changed.set()

    async def until(self, sequences: set[int]) -> bool:
        """Wait until all given sequences were received. Return whether each was, once and in order, in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                while not sequences <= dict(self.received).keys():
                    self._changed.clear()
                    await self._changed.wait()
        order = [sequence for sequence, _ in self.received]
        return sequences <= set(order) and order == sorted(set(order))


@asynccontextmanager
async def _subscribed(address: str) -> AsyncIterator[_Subscriber]:
    """Yield a subscriber with its own connection and an established subscription."""
    subscriber = _Subscriber()
    async with AsyncDejavuClient(address, channels=1) as client:
        responses = client.stream_predictions(heartbeats=True)
        await anext(responses)  # a heartbeat, once the subscription is established
        following = asyncio.create_task(subscriber.follow(responses))
        try:
            yield subscriber
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _demo(seconds: float, count: int, seed: int, *, page: bool, as_json: bool) -> str:
    """Run the evening. Returns a description of the first failed check, or ""."""
    console = Console()
    if not as_json:
        console.print(f"Starting a server with {_WORKERS} workers and a replay of {count} simulated games …")
    rng = random.Random(seed)  # noqa: S311 - games, not secrets
    predictions: list[Prediction] = []
    with tempfile.TemporaryDirectory(prefix="dejavu-demo-") as folder:
        ledger = f"sqlite:///{Path(folder) / 'ledger.sqlite3'}"
        async with (
            running_server("--workers", str(_WORKERS), "--ledger", ledger) as address,
            _subscribed(address) as subscriber,
            # The replay and its clients share this process: a call that had to wait for them is not worth a log line.
            AsyncDejavuClient(address, slow=math.inf) as client,
            _page(address, client, shown=page),
        ):
            games = await simulate_matched_games(client, rng, count)
            speed = _GAME_DAY_SECONDS / seconds
            replay = Replay(games, speed=speed, delay=1.0, stagger=_STAGGER)
            with LocalServer(replay.respond) as served, closing(NbaFeed(served.url)) as feed:
                interval = max(0.2, 60.0 / speed)  # one poll a minute of the game day, but at most five a second
                options: dict[str, Any] = {"interval": interval, "pace": _ONLY_AT_THE_END}
                async with (
                    Poller(feed, client, on_prediction=[predictions.append], **options) as poller,
                    GamePublisher(poller, client),
                ):
                    await watch(poller, console, until_final=True, as_json=as_json, by_quarter=True)
                    delivered = await subscriber.until({prediction.forecast.sequence for prediction in predictions})
                    summary = poller.summary()
            record = await fetch_scorecards(client)
            checkpoint = Path(folder) / "checkpoint.json"
            checkpoint.write_text(MessageToJson(await client.get_checkpoint()))
            verified = await verify_ledger(ledger, checkpoint)
            latencies = _latencies(predictions, dict(subscriber.received))
            if as_json:
                _print_report(summary, record, latencies, verified)
            else:
                console.print()
                print_results(console, _seen(predictions), summary, record, latencies, verified, page=page)
            if page:
                await _until_interrupted()
    return shortfall(summary, count, delivered)


def _seen(predictions: list[Prediction]) -> str:
    """Return the game that was forecast first at its half, and the past game most like it; "" without one."""
    for each in predictions:
        forecast = each.forecast
        if forecast.horizon == FINAL and len(each.pattern) == HALFTIME_MINUTES:
            return f"{forecast.away_team} @ {forecast.home_team} at the half. {seen_before(forecast)}"
    return ""


@asynccontextmanager
async def _page(target: str, client: AsyncDejavuClient, *, shown: bool) -> AsyncIterator[None]:
    """Serve and open the page if it is to be shown."""
    if not shown:
        yield
        return
    day = await _evening(client)
    evening = () if day is None else ("--evening", day.isoformat())
    listen = () if os.environ.get("DEJAVU_DASHBOARD_LISTEN") else ("--listen", "127.0.0.1:0")
    async with running_page(target, *listen, "--demo", *evening, tell=partial(typer.echo, err=True)):
        yield


async def _until_interrupted() -> None:
    """Keep the page until Ctrl-C, which is no failure at this point: the evening is over."""
    typer.echo("The page stays until Ctrl-C.", err=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not task.uncancel():
            return
        raise


async def _evening(client: AsyncDejavuClient) -> date | None:
    """Return the day after the newest final in the model's ratings; on that day, the model uses the ratings."""
    [active] = [model for model in await client.list_models() if model.active]
    return date.fromisoformat(active.ratings_date) + timedelta(days=1) if active.ratings_date else None


async def simulate_matched_games(client: AsyncDejavuClient, rng: random.Random, count: int) -> tuple[ReplayGame, ...]:
    """Simulate games with the margins that the model expects; with other margins its forecasts would be biased.

    They are played on the `_evening` of the model.
    """
    pairs, day = draw_matchups(rng, count), await _evening(client)
    requests = [
        predict_request([0], horizon=FINAL, home_team=home, away_team=away, game_date=day) for home, away in pairs
    ]
    results = await client.predict_batch(requests, timeout=30.0)
    edges = [
        result.forecast.expected_margin if result.forecast.HasField("expected_margin") else draw_home_edge(rng)
        for result in results
    ]
    return tuple(
        simulated_game(rng, number, home, away, edge, day)
        for number, ((home, away), edge) in enumerate(zip(pairs, edges, strict=True), 1)
    )


def shortfall(summary: Summary, count: int, delivered: bool) -> str:
    """Describe the missing events of an evening of `count` games; "" if it is complete.

    Args:
        summary: summary of the evening.
        count: number of games.
        delivered: whether the subscriber received every forecast once and in order.
    """
    for of in summary.horizons:
        if not of.games == of.settled_games == count:
            name = horizon_label(of.horizon)
            return f"of {count} games {of.games} have a forecast of the {name}, and {of.settled_games} are settled"
    return "" if delivered else "the subscriber did not receive every forecast once and in order"


def _latencies(predictions: list[Prediction], received: dict[int, datetime]) -> list[float]:
    """Return the sorted seconds from the play that completed a pattern, by the feed, to the receipt of its forecast."""
    return sorted(
        (received[sequence] - prediction.completed).total_seconds()
        for prediction in predictions
        if prediction.completed is not None and (sequence := prediction.forecast.sequence) in received
    )


def _print_report(summary: Summary, record: Record, latencies: list[float], verified: dict[str, Any]) -> None:
    """Print the results as JSON."""
    p50, p95 = (percentile(latencies, share) if latencies else None for share in (0.5, 0.95))
    cards = [{"horizon": Horizon.Name(horizon), **MessageToDict(card)} for horizon, card in record.items()]
    figures = {"feedToSubscriberSecondsP50": p50, "feedToSubscriberSecondsP95": p95, "scorecards": cards}
    report = summary_record(summary, utc_now()) | {"event": "demo", "verified": verified} | figures
    typer.echo(json.dumps(report, ensure_ascii=False))


_PURPOSE: Final = (
    "Dejavu says during a game which past game went like it, and where it will end: a point, an interval that holds "
    "as often as it says, and who wins, in a record whose edits are detected."
)
_WHY: Final = (
    "The Brier score is the squared error of a probability: 0 is perfect, a coin flip has 0.25; the leader's is of the "
    "team ahead. Persistence repeats the current lead. Scores move nearly at random from the lead on, so it is hard to "
    "beat. What a lead alone does not give are intervals, and how likely it is to be kept."
)
_SMALL: Final = (
    "These are few games, simulated with the margins that the model expects; in brackets 95 % intervals over games. "
    "The README has the results on real seasons."
)


def print_results(
    console: Console,
    seen: str,
    summary: Summary,
    record: Record,
    latencies: Sequence[float],
    verified: Mapping[str, Any],
    *,
    page: bool,
) -> None:
    """Print the results of an evening.

    Args:
        console: where to print.
        seen: a game of the evening and the past game most like it; "" if none is known.
        summary: the poller's summary.
        record: the server's scorecards.
        latencies: seconds from the feed to the subscriber, ascending.
        verified: counts of the verified ledger: `forecasts`, `outcomes` and `checkpoint`.
        page: whether the page of the evening is shown already.
    """
    for text in filter(None, (_PURPOSE, seen)):
        console.print(text, end="\n\n", highlight=False)
    missed = f", {pluralize(summary.missed, 'minute')} missed" if summary.missed else ""
    counted = sum(card.forecasts for card in record.values())
    between_minutes = counted - sum(each.settled for each in summary.horizons)
    late = f", and {between_minutes} after plays of the last minutes" if between_minutes > 0 else ""
    left_out = verified["forecasts"] - counted
    kept = f" ({left_out} late or corrected: kept, not counted)" if left_out > 0 else ""
    console.print(
        f"{pluralize(summary.games, 'game')} played, {pluralize(summary.forecasts, 'forecast')} of the half and of the "
        f"end: after every minute of play{missed}{late}."
    )
    of = {horizon: card for horizon, card in record.items() if card.games}
    first = Table.grid(padding=(0, 3))
    first.add_row("", *(f"the {horizon_label(horizon)}" for horizon in of), style="dim")
    for name, cell in _ROWS:
        first.add_row(name, *map(cell, of.values()))
    console.print(first)
    if latencies:
        p50, p95 = percentile(latencies, 0.5), percentile(latencies, 0.95)
        console.print(
            f"Latency, feed to subscriber: p50 {p50:.2f} s, p95 {p95:.2f} s, with the wait for the next poll."
        )
    console.print(
        f"Record verified: {pluralize(verified['forecasts'], 'forecast')}{kept} and "
        f"{pluralize(verified['outcomes'], 'outcome')} in one chain of hashes, up to the signed checkpoint "
        f"{verified['checkpoint']}."
    )
    console.print()
    for horizon, card in of.items():
        difference = _difference(card.mae_difference, card.games, "persistence", 2)
        console.print(
            f"Mean absolute error of the {horizon_label(horizon)}: {card.mae.value:.2f} points, of persistence "
            f"{card.persistence_mae.value:.2f}; difference {difference}.",
            highlight=False,
        )
    for horizon, card in of.items():
        difference = _difference(card.brier_difference, card.games, "the leader", 3)
        text = f"Brier score of the {horizon_label(horizon)}: difference from the leader's {difference}."
        console.print(text, highlight=False)
    console.print(_WHY)
    console.print(_SMALL, style="dim", highlight=False)
    # A shell may not find them: in a clone, programs are in .venv.
    folder = "" if shutil.which("dejavu") else f"{os.path.relpath(Path(sys.executable).parent)}{os.sep}"
    console.print("\nNext:")
    if not page:
        console.print(f"  {folder}dejavu demo --page      # such an evening in your browser", highlight=False)
    console.print(f"  {folder}dejavu-server --help    # a server of your own (see README.md)", highlight=False)


def _held(card: Scorecard) -> str:
    for each in card.coverage:
        if abs(each.alpha - 0.05) < 1e-9:
            low, high = (f"{100 * end:.1f}" for end in (each.lower, each.upper))
            return f"{100 * each.coverage:.1f} % ({low} to {high})"
    return "–"


def _score(score: Figure) -> str:
    interval = between(score, 3, sign=False)
    return f"{score.value:.3f} ({interval})" if interval else f"{score.value:.3f}"


_ROWS: Final[Sequence[tuple[str, Callable[[Scorecard], str]]]] = (
    ("95 % intervals that held", _held),
    ("Brier score", lambda card: _score(card.brier)),
    ("Brier score of the leader", lambda card: _score(card.leader_brier)),
)


def _difference(figure: Figure, games: int, rival: str, digits: int) -> str:
    interval = between(figure, digits, sign=True)
    return signed(figure.value, digits) + (f" ({interval}): {verdict(figure, games, rival)}" if interval else "")
