"""`dejavu health` and `stats`: health and statistics of servers."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from typing import Annotated, Final, Literal

import typer
from rich.live import Live

from dejavu.ops.v1.operations_service_pb2 import GetServiceStatsResponse
from dejavu_cli.commands.cache import serve_cache
from dejavu_cli.errors import FAILED, NO_ANSWER
from dejavu_cli.options import Call, flag, option, refuse
from dejavu_cli.output.forecast import print_json
from dejavu_cli.output.service_stats import ServerAnswer, stats_view
from dejavu_client.client import DejavuClient
from dejavu_client.connection_options import client_options
from dejavu_client.errors import DeadlineExceededError, NotFoundError, UnavailableError, UnimplementedError
from dejavu_client.transport.servers import LEDGER, HealthStatus, parse_servers
from dejavu_common.rich_console import Console

_BROKEN_LEDGER = (
    "; forecasts with a game id fail, perhaps streams and the record too, what-ifs do not: see `dejavu doctor`"
)


_WINDOWS: Final = {"1": 60, "5": 300, "15": 900, "all": 0}
"""Lengths of the windows of the statistics, in seconds."""


def health(call: Call, service: Annotated[str, typer.Argument()] = "") -> None:
    """Check whether the server accepts calls: exit code 0 if it is SERVING, otherwise 1.

    A server with a broken ledger still serves what-ifs.
    The ledger's health is shown too, but does not change the exit code.
    `dejavu health dejavu.ledger` checks only the ledger.
    Checks each of several servers: exit code 0 if one is SERVING.

    Args:
        service: Full name of a service, for example dejavu.v1.PredictionService, or dejavu.ledger; the whole server
            by default.
    """
    servers = _targets(call.target)
    serving = [_print_health(call, service, each, one_of=len(servers)) for each in servers]
    if not any(serving):
        raise typer.Exit(FAILED)


def _print_health(call: Call, service: str, target: str, *, one_of: int) -> bool:
    """Print the health of one server, with its address if it is one of several; return whether it is SERVING."""
    hint, ledger = "", None
    with call.connect(target) as client:
        try:
            status = client.health(service).name
            if not service and status == HealthStatus.SERVING.name:
                ledger = _ledger(client)
        except NotFoundError:
            status = "SERVICE_UNKNOWN"
        except UnavailableError as error:
            status, hint = "UNREACHABLE", error.message
        except UnimplementedError:
            status, hint = (
                "UNKNOWN",
                f"{target} answers no health checks: is it a proxy? `dejavu doctor` asks otherwise",
            )
    if call.as_json:
        record = {"status": status, "service": service, "target": target}
        typer.echo(json.dumps(record if service else {**record, "ledger": ledger}))
    else:
        typer.echo(status if one_of == 1 else f"{target}: {status}")
        if ledger is not None:
            typer.echo(f"ledger: {ledger}{_BROKEN_LEDGER if ledger == HealthStatus.NOT_SERVING.name else ''}")
    if hint:
        typer.echo(hint, err=True)
    return status == HealthStatus.SERVING.name


def stats(
    ctx: typer.Context,
    call: Call,
    minutes: Annotated[Literal["1", "5", "15", "all"], flag("--minutes")] = "5",
    watch: Annotated[bool, flag("--watch")] = False,
    interval: Annotated[float, option("SECONDS", min=0.1, max=3600)] = 2.0,
    cache: Annotated[bool, flag("--cache")] = False,
    clear_cache: Annotated[bool, flag("--clear-cache")] = False,
    warm_cache: Annotated[str, option("FILE")] = "",
) -> None:
    """Show what a server did: forecasts, calls, errors, durations, coverage, lag; summed over its workers.

    Several servers are shown as a table. Needs no metrics; with tokens, the scope read.
    Each worker has a cache of its own: warming goes on over new connections until all workers have the answers.

    Args:
        minutes: Show the calls of the last 1, 5 or 15 minutes, or of all since the start.
        watch: Show them live, until Ctrl-C.
        interval: With --watch: time between two looks at the servers.
        cache: Show the cache of what-ifs.
        clear_cache: Empty that cache. Needs the scope admin.
        warm_cache: Fill it with what-ifs, one a line as JSON: {"pattern": [0, 2, 4], "horizon": "HORIZON_FINAL"}; -
            reads them. Needs the scope admin.
    """
    if not watch:
        refuse(ctx, "needs --watch", "interval")
    if cache or clear_cache or warm_cache:
        if cache + clear_cache + bool(warm_cache) > 1:
            raise typer.BadParameter("give only one of them", param_hint="--cache, --clear-cache and --warm-cache")
        refuse(ctx, "not with an option of the cache", "minutes", "watch")
        serve_cache(call, clear=clear_cache, warm=warm_cache)
        return
    _show_statistics(call, _WINDOWS[minutes], interval if watch else None)


def _show_statistics(call: Call, seconds: int, interval: float | None) -> None:
    """Show the statistics of the servers, with the calls of a window of time; with an interval, until Ctrl-C.

    Raises:
        typer.Exit: if no server answers, unless a terminal shows it.
    """
    targets, before = _targets(call.target), dict[str, GetServiceStatsResponse]()
    console = Console(highlight=False)
    drawn = interval is not None and console.is_terminal and not call.as_json
    with Live(console=console, screen=True, auto_refresh=False) if drawn else nullcontext() as live:
        while True:
            answers = [_stats(call, each) for each in targets]
            answered = {each.target: each.stats for each in answers if each.stats is not None}
            if call.as_json:
                for target, found in answered.items():
                    print_json(found, target=target)
            elif live is not None:
                live.update(stats_view(answers, seconds, before), refresh=True)
            else:
                console.print(stats_view(answers, seconds, before))
            if not answered and live is None:
                for answer in answers:
                    typer.echo(f"Error: {answer.target}: {answer.trouble}", err=True)
                raise typer.Exit(NO_ANSWER)
            if interval is None:
                return
            before = answered
            time.sleep(interval)


def _targets(target: str) -> list[str]:
    """Return the addresses of the servers of a target, in its order."""
    client_options(target)  # raises an error if the list is invalid
    return [each.target for each in parse_servers(target).addresses]


def _stats(call: Call, target: str) -> ServerAnswer:
    """Ask one server for its statistics."""
    try:
        with call.connect(target) as client:
            return ServerAnswer(target, client.get_service_stats())
    except (UnavailableError, DeadlineExceededError) as error:
        return ServerAnswer(target, None, error.message)


def _ledger(client: DejavuClient) -> str | None:
    """Return the ledger's health; None if the server does not report it."""
    try:
        return client.health(LEDGER).name
    except NotFoundError:
        return None
