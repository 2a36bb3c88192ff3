"""`dejavu poll`: an evening's games as they go by, each with its forecast and what became of it."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated

import typer
from rich.console import Console

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.cli_options import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout
from dejavu_client.config import DEFAULT_SLOW, DEFAULT_VERY_SLOW
from dejavu_client.poll_watch import end_on_signals, watch
from dejavu_client.poller import DEFAULT_INTERVAL, Poller
from dejavu_feed.nba import NBA_URL, Feed, NbaFeed


def poll(
    feed_url: Annotated[
        str, typer.Option(metavar="URL", envvar="DEJAVU_FEED_URL", help="Address of the live feed, or of a replay.")
    ] = NBA_URL,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.05, max=3600, help="From one look at the games to the next.")
    ] = DEFAULT_INTERVAL,
    until_final: Annotated[
        bool, typer.Option("--until-final", help="End by itself when every game of the day is over.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Watch the day's games: each half is forecast at 6:00 of the second quarter, and held against what came.

    A table in a terminal, lines elsewhere. Ends with Ctrl-C and a summary of the evening.
    """
    try:
        feed = NbaFeed(feed_url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--feed-url") from error
    with feed:
        asyncio.run(_poll(feed, target, timeout, interval, until_final=until_final, as_json=as_json))


async def _poll(feed: Feed, target: str, seconds: float, interval: float, *, until_final: bool, as_json: bool) -> None:
    console = Console()
    # Log lines about slow calls would tear the table, which shows what is going wrong itself.
    slow, very_slow = (math.inf, math.inf) if console.is_terminal and not as_json else (DEFAULT_SLOW, DEFAULT_VERY_SLOW)
    async with (
        AsyncDejavuClient(target, timeout=seconds, slow=slow, very_slow=very_slow) as client,
        Poller(feed, client, interval=interval) as poller,
    ):
        end_on_signals(poller.stop)
        printed = await watch(poller, console, until_final=until_final, as_json=as_json)
        if printed is not None:
            printed.summary(poller.summary())
