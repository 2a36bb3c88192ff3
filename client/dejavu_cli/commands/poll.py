"""`dejavu poll`: follows the day's games, forecasts each of them and shows the results."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import typer

from dejavu_cli.errors import exit_on_os_error, failure
from dejavu_cli.options import Call, PageOption, choice, day_option, flag, option, refuse
from dejavu_cli.output.poll_display import end_on_signals, print_opening, watch
from dejavu_cli.output.poll_events import Opening
from dejavu_cli.server_process import running_page
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.config import DEFAULT_SLOW
from dejavu_client.connection_options import address
from dejavu_client.errors import DejavuClientError
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_common.address import Address
from dejavu_common.build import install
from dejavu_common.clock import utc_now
from dejavu_common.rich_console import Console
from dejavu_feed.errors import FeedError, FeedNotInstalled
from dejavu_feed.horizon import MAX_SLOTS, Horizon
from dejavu_feed.nba.live_feed import NBA_URL, NbaFeed
from dejavu_poller import DEFAULT_END_INTERVAL, DEFAULT_INTERVAL, Poller
from dejavu_poller.box_scores import BoxScores
from dejavu_poller.event_files import EventFiles
from dejavu_poller.horizons import FIRST_MINUTE
from dejavu_poller.leadership import LEASE_NAME, LEASE_NAME_RULE, LeaderElection, lease_name
from dejavu_poller.lines import GameLines
from dejavu_poller.moments import DEFAULT_PACE
from dejavu_poller.prices import PriceFile
from dejavu_poller.publishing import GamePublisher
from dejavu_poller.reads import read_in_thread

AnswerT = TypeVar("AnswerT")

NO_LEASE: Final = "-"
_HORIZONS: Final = {"half": (HALFTIME,), "final": (FINAL,), "end": (FINAL,), "both": (HALFTIME, FINAL)}


def _tell(text: str) -> None:
    """Print a line on stderr, above a table that is drawn: Typer's echo would write past what draws it."""
    sys.stderr.write(f"{text}\n")


@dataclass(frozen=True, kw_only=True)
class PollerOptions:
    """Options that are arguments of the poller, with the same names.

    Attributes:
        interval: Time between two polls of the feed.
        end_interval: Time between two reads of the plays of a game in its last three minutes or in overtime.
        from_minute: First minute of play after which to forecast.
        every: Minutes of play between two forecasts of a game.
        pace: Seconds of play between two forecasts within a minute; in the last four minutes, of the half in the
            last two, and in overtime every play has one. 0: no forecasts within minutes.
        report: Report half-time and final scores to the server.
    """

    interval: Annotated[float, option("SECONDS", min=0.05, max=3600)] = DEFAULT_INTERVAL
    end_interval: Annotated[float, option("SECONDS", min=0.05, max=3600)] = DEFAULT_END_INTERVAL
    from_minute: Annotated[int, option("N", min=1, max=MAX_SLOTS)] = FIRST_MINUTE
    every: Annotated[int, option("MINUTES", min=1, max=MAX_SLOTS)] = 1
    pace: Annotated[float, option("SECONDS", min=0, max=60)] = DEFAULT_PACE
    report: Annotated[bool, flag("--report/--no-report")] = True


def poll(
    ctx: typer.Context,
    call: Call,
    polling: PollerOptions,
    feed_url: Annotated[str, option("URL", envvar="DEJAVU_FEED_URL")] = NBA_URL,
    *,
    horizon: Annotated[Literal["half", "final", "end", "both"], choice()] = "both",
    lease: Annotated[str, option("NAME", envvar="DEJAVU_POLL_LEASE")] = "",
    until_final: Annotated[bool, flag("--until-final")] = False,
    metrics_listen: Annotated[str, option("HOST:PORT", envvar="DEJAVU_POLL_METRICS_LISTEN")] = "",
    events: Annotated[Path | None, option("FOLDER", envvar="DEJAVU_POLL_EVENTS", file_okay=False)] = None,
    lines: Annotated[Path | None, option("FILE", envvar="DEJAVU_POLL_LINES", dir_okay=False)] = None,
    odds: Annotated[bool, flag("--odds/--no-odds")] = True,
    prices: Annotated[Path | None, option("FILE", envvar="DEJAVU_POLL_PRICES", dir_okay=False)] = None,
    page: PageOption = False,
    evening: Annotated[datetime | None, day_option()] = None,
) -> None:
    """Watch the day's games: forecast the half and the end while they are played, and compare with the outcomes.

    Skips horizons that the server's model cannot forecast. Reports half-time
    and final scores to the server, which settles the recorded forecasts.
    Start it twice, and the second one stands by: it takes over when the first
    ends, hangs or is cut off.
    Shows a table in a terminal and prints lines elsewhere. Stop with Ctrl-C;
    then prints a summary.

    Args:
        feed_url: URL of the live feed, or of a replay.
        horizon: What to forecast: the half, the final differential, or both.
        lease: Lease name: of the pollers with the same lease, one works and the others stand by; - for none.
            Default: derived from feed and options.
        until_final: Exit when every game of the day is over and reported.
        metrics_listen: Address to serve Prometheus metrics on, at /metrics; port 0 picks a free port.
        events: Keep all plays of each game in this folder, as events_{game_id}.parquet.
        lines: Lines of the games (CSV, JSON, parquet: date, home, away, spread, total); may change until tip-off.
        odds: Take lines that the file lacks from the feed's odds.
        prices: Current prices of the games (a table as of `dejavu bets`, with a column time), to record beside
            forecasts of the end; another program rewrites it.
        evening: With --page: day to show as tonight, as for a replay of past games.
    """
    if not page:
        refuse(ctx, "needs --page", "evening")
    listen = address(metrics_listen, "--metrics-listen") if metrics_listen else None
    latest = Horizon.HALFTIME.last_slot
    if horizon == "half" and polling.from_minute > latest:
        raise typer.BadParameter(
            f"{polling.from_minute}; expected at most {latest} to forecast the half", param_hint="--from-minute"
        )
    try:
        feed = NbaFeed(feed_url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--feed-url") from error

    if lease not in ("", NO_LEASE) and not LEASE_NAME.fullmatch(lease):
        raise typer.BadParameter(f"{lease!r}; expected {LEASE_NAME_RULE}", param_hint="--lease")
    own = lease_name(feed_url, horizon, polling.from_minute, polling.every, polling.pace, polling.report)
    name = lease or own

    connect = call.connect_async(slow=DEFAULT_SLOW)
    kept = None if events is None else _event_files(events)

    async def run() -> None:
        console = Console()
        async with (
            connect() as client,
            Poller(
                feed,
                client,
                **asdict(polling),
                horizons=_HORIZONS[horizon],
                event_files=kept,
                lines=GameLines(utc_now, file=lines, odds=feed.odds if odds else None, published=client.list_games),
                prices=None if prices is None else PriceFile(utc_now, prices),
                box_scores=BoxScores(feed.box_score),
                election=None if name == NO_LEASE else LeaderElection(client, name),
            ) as poller,
            AsyncExitStack() as stack,
        ):
            beginning = asyncio.create_task(_opening(feed, client, call.timeout))

            def stop() -> None:
                beginning.cancel()
                poller.stop()

            end_on_signals(stop)
            with suppress(asyncio.CancelledError):
                print_opening(await beginning, as_json=call.as_json)
            await stack.enter_async_context(GamePublisher(poller, client, official=feed_url == NBA_URL))
            with _metrics(poller, listen):
                if page:
                    # A replay has only replayed games.
                    shown = [] if feed_url == NBA_URL else ["--demo"]
                    shown += [] if evening is None else ["--evening", f"{evening:%Y-%m-%d}"]
                    await stack.enter_async_context(running_page(call.target, *call.arguments(), *shown, tell=_tell))
                printer = await watch(poller, console, until_final=until_final, as_json=call.as_json)
                if printer is not None:
                    printer.summary(poller.summary())

    with feed:
        asyncio.run(run())


async def _opening(feed: NbaFeed, client: AsyncDejavuClient, seconds: float) -> Opening:
    """Return what the evening begins with, as far as server and feed answer in time: the poller waits for it."""
    read = read_in_thread(feed.scoreboard, seconds=seconds)
    models, board = await asyncio.gather(_if_told(client.list_models()), _if_told(read))
    model = next((each for each in models or () if each.active), None)
    return Opening(model, None if board is None else len(board.games))


async def _if_told(answer: Awaitable[AnswerT]) -> AnswerT | None:
    try:
        return await answer
    except (DejavuClientError, FeedError):  # the poller reports it
        return None


def _event_files(folder: Path) -> EventFiles:
    with exit_on_os_error(f"cannot keep events in {folder}"):
        try:
            return EventFiles(folder)
        except FeedNotInstalled as error:
            raise failure(error) from None


@contextmanager
def _metrics(poller: Poller, listen: Address | None) -> Iterator[None]:
    """Serve the poller's metrics if requested, and print their URL on stderr."""
    if listen is None:
        yield
        return
    try:
        from dejavu_poller.metrics import register_metrics, serve_poll_metrics  # noqa: PLC0415 - an extra
    except ImportError as error:
        needs = f"metrics need {error.name}, which is not installed: {install('live')}"
        raise failure(needs) from None
    with ExitStack() as stack:
        with exit_on_os_error(f"cannot serve metrics at {listen}"):
            url = stack.enter_context(serve_poll_metrics(register_metrics(poller), listen))
        typer.echo(f"Metrics at {url}", err=True)
        yield
