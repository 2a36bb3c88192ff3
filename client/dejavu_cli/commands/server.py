"""`dejavu health`, `stats`, `cache` and `top`: health, statistics and cache of servers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.live import Live

from dejavu.ops.v1.operations_service_pb2 import GetServiceStatsResponse
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_cli.errors import FAILED, NO_ANSWER
from dejavu_cli.options import Call, ServerOptions, argument, flag, message_lines, option
from dejavu_cli.output.forecast import print_json
from dejavu_cli.output.service_stats import ServerAnswer, print_cache_stats, stats_view
from dejavu_client.client import DejavuClient
from dejavu_client.connection_options import client_options
from dejavu_client.errors import DeadlineExceededError, NotFoundError, UnavailableError, UnimplementedError
from dejavu_client.formatting import pluralize
from dejavu_client.transport.servers import LEDGER, HealthStatus, parse_servers
from dejavu_common.rich_console import Console

CacheAction = Literal["stats", "clear", "warm"]

_MOST_REQUESTS: Final = 1000
"""Maximum number of requests in a call."""

_CONNECTIONS_A_WORKER: Final = 8
"""Maximum number of connections, per worker, to reach all workers: the kernel assigns connections at random."""

_BROKEN_LEDGER = (
    "; forecasts with a game id fail, perhaps streams and the record too, what-ifs do not: see `dejavu doctor`"
)


_WINDOWS: Final = {"1": 60, "5": 300, "15": 900, "all": 0}
"""Lengths of the windows of the statistics, in seconds."""


def _known_window(minutes: str) -> str:
    if minutes not in _WINDOWS:
        raise typer.BadParameter(f"{minutes!r} is not one of {', '.join(_WINDOWS)}")
    return minutes


def health(
    call: Call,
    service: Annotated[
        str,
        typer.Argument(
            help="Full name of a service, for example dejavu.v1.PredictionService, or dejavu.ledger; "
            "the whole server by default."
        ),
    ] = "",
) -> None:
    """Check whether the server accepts calls: exit code 0 if it is SERVING, otherwise 1.

    A server with a broken ledger still serves what-ifs.
    The ledger's health is shown too, but does not change the exit code.
    `dejavu health dejavu.ledger` checks only the ledger.
    Checks each of several servers: exit code 0 if one is SERVING.
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
    call: Call,
    minutes: Annotated[
        str,
        option(
            "1|5|15|all",
            "Show the calls of the last 1, 5 or 15 minutes, or of all since the start.",
            "--minutes",
            callback=_known_window,
        ),
    ] = "5",
) -> None:
    """Show what a server did: forecasts, calls, errors, durations, coverage, lag; summed over its workers.

    Several servers are shown as a table. Needs no metrics; with tokens, the scope read.
    """
    answers = [_stats(call, each) for each in _targets(call.target)]
    if call.as_json:
        for answer in answers:
            if answer.stats is not None:
                print_json(answer.stats, target=answer.target)
    else:
        Console(highlight=False).print(stats_view(answers, _WINDOWS[minutes]))
    _exit_if_none_answered(answers)


def _targets(target: str) -> list[str]:
    """Return the addresses of the servers of a target, in its order."""
    client_options(target)  # raises an error if the list is invalid
    return [each.target for each in parse_servers(target).addresses]


def _stats(server: ServerOptions, target: str) -> ServerAnswer:
    """Ask one server for its statistics."""
    try:
        with server.connect(target) as client:
            return ServerAnswer(target, client.get_service_stats())
    except (UnavailableError, DeadlineExceededError) as error:
        return ServerAnswer(target, None, error.message)


def _exit_if_none_answered(answers: Sequence[ServerAnswer]) -> None:
    if all(answer.stats is None for answer in answers):
        for answer in answers:
            typer.echo(f"Error: {answer.target}: {answer.trouble}", err=True)
        raise typer.Exit(NO_ANSWER)


def cache(
    call: Call,
    action: Annotated[
        CacheAction,
        typer.Argument(help="stats: show what is in it; clear: empty it; warm: compute what-ifs in advance."),
    ],
    file: Annotated[
        Path | None,
        argument(
            "FILE",
            'What-ifs to warm it with, one a line as JSON, for example {"pattern": [0, 2, 4], '
            '"horizon": "HORIZON_FINAL"}; `-` for standard input.',
        ),
    ] = None,
) -> None:
    """Show, clear or warm the server's cache of what-ifs.

    Clearing needs the scope admin where the server asks for tokens, and so does warming.
    Each worker has a memory of its own: warming goes on over new connections until all workers have the answers.
    """
    if (file is None) == (action == "warm"):
        problem = "warm needs a file of what-ifs" if file is None else f"{action} takes no file"
        raise typer.BadParameter(problem, param_hint="FILE")
    if file is not None:
        _warm(call, _what_ifs(file))
        return
    with call.connect() as client:
        if action == "clear":
            cleared = client.clear_cache()
            call.show(cleared, lambda each: typer.echo(f"cleared: {pluralize(each.entries, 'answer')}"))
        else:
            call.show(client.get_cache_stats(), print_cache_stats)


def _what_ifs(file: Path) -> list[PredictRequest]:
    """Read what-ifs; raise typer.BadParameter if a line is not a what-if, typer.Exit if the file cannot be read."""
    requests = []
    for number, request in message_lines(str(file), PredictRequest, "FILE"):
        if request.game_id:
            raise typer.BadParameter(f"line {number}: game_id is set; only what-ifs are kept", param_hint="FILE")
        requests.append(request)
    if not requests:
        raise typer.BadParameter(f"{file} has no requests", param_hint="FILE")
    return requests


def _warm(call: Call, requests: list[PredictRequest]) -> None:
    """Warm worker after worker until all have the answers; exit with 1 if some do not, or a request is refused."""
    computed = known = 0
    failures: dict[int, str] = {}
    reached: set[str] = set()
    workers = attempts = 1
    while len(reached) < workers and attempts <= _CONNECTIONS_A_WORKER * workers:
        attempts += 1
        with call.connect() as client:  # a new connection, which may reach any worker
            for start in range(0, len(requests), _MOST_REQUESTS):
                answer = client.warm_cache(requests[start : start + _MOST_REQUESTS])
                reached.add(answer.worker)
                computed, known = computed + answer.computed, known + answer.known
                failures |= {start + each.index: each.error.message for each in answer.failures}
            workers = max(1, client.get_cache_stats().workers)
    result = {"requests": len(requests), "failed": len(failures), "workers_warmed": len(reached), "workers": workers}
    if call.as_json:
        typer.echo(json.dumps({**result, "computed": computed, "known": known}))
    else:
        kept = pluralize(len(requests) - len(failures), "answer")
        typer.echo(f"{kept} kept by {len(reached)} of {pluralize(workers, 'worker')} ({computed} computed)")
    for index, message in sorted(failures.items()):
        typer.echo(f"request {index + 1}: {message}", err=True)
    if failures or len(reached) < workers:
        raise typer.Exit(FAILED)


def top(
    interval: Annotated[float, option("SECONDS", "Time between two looks at the servers.", min=0.1, max=3600)] = 2.0,
    once: Annotated[bool, flag("--once", "Look once, then end.")] = False,
    *,
    server: ServerOptions,
) -> None:
    """Show what servers do, live: calls of the last minute, durations, workers, streams, lag.

    Asks each of several servers: --target HOST:PORT,HOST:PORT. Stop with Ctrl-C. `dejavu stats --json` is for programs.
    """
    targets = _targets(server.target)
    before: dict[str, GetServiceStatsResponse] = {}
    console = Console(highlight=False)
    live = Live(console=console, screen=True, auto_refresh=False) if console.is_terminal and not once else None
    with live or nullcontext():
        while True:
            answers = [_stats(server, each) for each in targets]
            view = stats_view(answers, _WINDOWS["1"], before)
            before = {each.target: each.stats for each in answers if each.stats is not None}
            if live is not None:
                live.update(view, refresh=True)
            else:
                console.print(view)
                _exit_if_none_answered(answers)
            if once:
                return
            time.sleep(interval)


def _ledger(client: DejavuClient) -> str | None:
    """Return the ledger's health; None if the server does not report it."""
    try:
        return client.health(LEDGER).name
    except NotFoundError:
        return None
