"""`dejavu health`, `stats`, `cache` and `top`: a server's health, statistics, cache and metrics."""

from __future__ import annotations

import http.client
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from google.protobuf import json_format
from rich.live import Live

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_client.cli.access import client_options
from dejavu_client.cli.errors import FAILED, NO_ANSWER, exit_on_os_error
from dejavu_client.cli.options import Json, Target, Timeout, address, connect
from dejavu_client.client import DejavuClient
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.errors import NotFoundError, UnavailableError
from dejavu_client.formatting import pluralize
from dejavu_client.output.cache import print_cache_stats
from dejavu_client.output.forecast import show
from dejavu_client.output.service_stats import print_stats
from dejavu_client.output.top import server_view, waiting_view
from dejavu_client.transport.health import LEDGER, HealthStatus
from dejavu_client.transport.servers import parse_servers
from dejavu_common.address import Address
from dejavu_common.rich_console import Console

if TYPE_CHECKING:  # needs prometheus-client, which only `top` does
    from dejavu_client.output.server_metrics import Scrape

_SCRAPE_SECONDS: Final = 10.0
_MAX_BYTES: Final = 16 * 1024 * 1024
_FIRST_SECONDS: Final = 0.5
"""Time until the second look, without which there is nothing to show."""

CacheAction = Literal["stats", "clear", "warm"]

_MOST_REQUESTS: Final = 1000
"""Most requests of a call."""

_CONNECTIONS_A_WORKER: Final = 8
"""Connections after which a worker that was not reached is given up: the kernel spreads them at random."""

_BROKEN_LEDGER = "; forecasts with a game id, streams and the record fail, what-ifs do not; see the server's log"


_WINDOWS: Final = {"1": 60, "5": 300, "15": 900, "all": 0}
"""Lengths of the windows of the statistics, in seconds."""


def _known_window(minutes: str) -> str:
    if minutes not in _WINDOWS:
        raise typer.BadParameter(f"{minutes!r} is not one of {', '.join(_WINDOWS)}")
    return minutes


def health(
    service: Annotated[
        str,
        typer.Argument(
            help="Full name of a service, for example dejavu.v1.PredictionService, or dejavu.ledger; "
            "the whole server by default."
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Check whether the server accepts calls: exit code 0 if it is SERVING, otherwise 1.

    A server with a broken ledger still serves what-ifs.
    The ledger's health is shown too, but does not change the exit code.
    `dejavu health dejavu.ledger` checks only the ledger.
    Checks each of several servers: exit code 0 if one is SERVING.
    """
    client_options(target)  # raises if the list is wrong
    servers = [each.target for each in parse_servers(target).addresses]
    serving = [_print_health(service, each, timeout, one_of=len(servers), as_json=as_json) for each in servers]
    if not any(serving):
        raise typer.Exit(FAILED)


def _print_health(service: str, target: str, timeout: float, *, one_of: int, as_json: bool) -> bool:
    """Prints the health of one server, with its address if it is one of several; returns whether it is SERVING."""
    hint, ledger = "", None
    with connect(target, timeout) as client:
        try:
            status = client.health(service).name
            if not service and status == HealthStatus.SERVING.name:
                ledger = _ledger(client)
        except NotFoundError:
            status = "SERVICE_UNKNOWN"
        except UnavailableError as error:
            status, hint = "UNREACHABLE", error.message
    if as_json:
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
    minutes: Annotated[
        str,
        typer.Option(
            "--minutes",
            metavar="1|5|15|all",
            callback=_known_window,
            help="Show the calls of the last 1, 5 or 15 minutes, or of all since the start.",
        ),
    ] = "5",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show what a server did: forecasts, calls, errors, durations, coverage, lag; summed over its workers.

    Several servers with one ledger are shown one by one, with the forecasts and calls of all. Needs no metrics; with
    tokens, the scope read.
    """
    with connect(target, timeout) as client:
        answer = client.get_service_stats()
    show(answer, partial(print_stats, length_seconds=_WINDOWS[minutes]), as_json=as_json)


def cache(
    action: Annotated[
        CacheAction,
        typer.Argument(help="stats: show what is in it; clear: empty it; warm: compute what-ifs in advance."),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help='What-ifs to warm it with, one a line as JSON, for example {"pattern": [0, 2, 4], '
            '"horizon": "HORIZON_FINAL"}; `-` for standard input.',
        ),
    ] = None,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show, clear or warm the server's cache of what-ifs.

    Clearing needs the scope admin where the server asks for tokens, and so does warming.
    Each worker has a memory of its own: warming goes on over new connections until all workers have the answers.
    """
    if (file is None) == (action == "warm"):
        problem = "warm needs a file of what-ifs" if file is None else f"{action} takes no file"
        raise typer.BadParameter(problem, param_hint="FILE")
    if file is not None:
        _warm(_what_ifs(file), target, timeout, as_json=as_json)
        return
    with connect(target, timeout) as client:
        if action == "clear":
            cleared = client.clear_cache()
            show(cleared, lambda each: typer.echo(f"cleared: {pluralize(each.entries, 'answer')}"), as_json=as_json)
        else:
            show(client.get_cache_stats(), print_cache_stats, as_json=as_json)


def _what_ifs(file: Path) -> list[PredictRequest]:
    """Reads what-ifs; raises typer.BadParameter if a line is none, typer.Exit if the file cannot be read."""
    with exit_on_os_error(f"cannot read {file}"):
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8", errors="replace")
    requests = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            request = json_format.Parse(line, PredictRequest())
        except (json_format.ParseError, RecursionError) as error:
            raise typer.BadParameter(f"line {number}: {error}", param_hint="FILE") from None
        if request.game_id:
            raise typer.BadParameter(f"line {number}: game_id is set; only what-ifs are kept", param_hint="FILE")
        requests.append(request)
    if not requests:
        raise typer.BadParameter(f"{file} has no requests", param_hint="FILE")
    return requests


def _warm(requests: list[PredictRequest], target: str, timeout: float, *, as_json: bool) -> None:
    """Warms worker after worker, until all have the answers; exit code 1 if not all, or if a request is refused."""
    computed = known = 0
    failures: dict[int, str] = {}
    reached: set[str] = set()
    workers = attempts = 1
    while len(reached) < workers and attempts <= _CONNECTIONS_A_WORKER * workers:
        attempts += 1
        with connect(target, timeout) as client:  # a new connection, which any worker may get
            for start in range(0, len(requests), _MOST_REQUESTS):
                answer = client.warm_cache(requests[start : start + _MOST_REQUESTS])
                reached.add(answer.worker)
                computed, known = computed + answer.computed, known + answer.known
                failures |= {start + each.index: each.error.message for each in answer.failures}
            workers = max(1, client.get_cache_stats().workers)
    result = {"requests": len(requests), "failed": len(failures), "workers_warmed": len(reached), "workers": workers}
    if as_json:
        typer.echo(json.dumps({**result, "computed": computed, "known": known}))
    else:
        kept = pluralize(len(requests) - len(failures), "answer")
        typer.echo(f"{kept} kept by {len(reached)} of {pluralize(workers, 'worker')} ({computed} computed)")
    for index, message in sorted(failures.items()):
        typer.echo(f"request {index + 1}: {message}", err=True)
    if failures or len(reached) < workers:
        raise typer.Exit(FAILED)


def top(
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="HOST:PORT",
            envvar="DEJAVU_METRICS",
            help="Address of the server's metrics: its option --metrics-listen.",
        ),
    ] = "127.0.0.1:9464",
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=3600, help="Time between two looks at the metrics.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show one interval, then end.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a server does: calls, durations, refusals, workers, ledger, lag; live in a terminal.

    Reads the server's metrics (dejavu-server --metrics-listen HOST:PORT). Stop with Ctrl-C.
    """
    source = address(metrics, "--metrics")
    console = Console()
    if once or as_json or not console.is_terminal:
        _print_intervals(source, interval, console, once=once, as_json=as_json)
    else:
        _draw_intervals(source, interval, console)


def _print_intervals(source: Address, seconds: float, console: Console, *, once: bool, as_json: bool) -> None:
    """Prints what happened in each interval; ends when the metrics cannot be read."""
    from dejavu_client.output.server_metrics import ScrapeInterval, summary  # noqa: PLC0415 - see TYPE_CHECKING

    try:
        before = _scrape(source)
        while True:
            time.sleep(seconds)
            now = _scrape(source)
            view = summary(ScrapeInterval(before, now))
            if as_json:
                typer.echo(json.dumps(view))
            else:
                console.print(server_view(view, str(source)))
            if once:
                return
            before = now
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, BrokenPipeError):
            raise
        typer.echo(f"Error: {_reason(source, error)}", err=True)
        raise typer.Exit(NO_ANSWER) from None


def _draw_intervals(source: Address, seconds: float, console: Console) -> None:
    """Draws the newest interval until the program is interrupted, also while the metrics cannot be read."""
    from dejavu_client.output.server_metrics import ScrapeInterval, summary  # noqa: PLC0415 - see TYPE_CHECKING

    before: Scrape | None = None
    view = None
    with Live(waiting_view(str(source), ""), console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                now, trouble = _scrape(source), ""
                view, before = (None if before is None else summary(ScrapeInterval(before, now))), now
            except (OSError, ValueError, http.client.HTTPException) as error:
                trouble = _reason(source, error)
            shown = (
                waiting_view(str(source), trouble) if view is None else server_view(view, str(source), trouble=trouble)
            )
            live.update(shown, refresh=True)
            time.sleep(seconds if view is not None or trouble else min(seconds, _FIRST_SECONDS))


def _scrape(source: Address) -> Scrape:
    """Reads the metrics of a server.

    Raises:
        OSError, HTTPException: if they cannot be read.
        NoServerMetrics: if something else answers.
    """
    from dejavu_client.output.server_metrics import NoServerMetrics, Scrape  # noqa: PLC0415 - see TYPE_CHECKING

    connection = http.client.HTTPConnection(source.host, source.port, timeout=_SCRAPE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        body = response.read(_MAX_BYTES)
        if response.status != http.client.OK:
            raise NoServerMetrics(f"the answer has the status {response.status}; expected 200")
        return Scrape(body.decode("utf-8", "replace"), time.monotonic())
    finally:
        connection.close()


def _reason(source: Address, error: Exception) -> str:
    """Says why metrics could not be read, and what to do."""
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    if isinstance(error, http.client.HTTPException):  # its text has what was received
        reason = "the answer is not HTTP"
    return f"cannot read the metrics at {source}: {reason}; does the server run with --metrics-listen {source}?"


def _ledger(client: DejavuClient) -> str | None:
    """Returns the ledger's health; None if the server does not report it."""
    try:
        return client.health(LEDGER).name
    except NotFoundError:
        return None
