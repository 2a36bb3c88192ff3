"""The cache of what-ifs of a server: shown, cleared, warmed by `dejavu stats`."""

from __future__ import annotations

import json
from typing import Final

import typer

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_cli.errors import FAILED
from dejavu_cli.options import Call, message_lines
from dejavu_cli.output.service_stats import print_cache_stats
from dejavu_client.formatting import pluralize

_MOST_REQUESTS: Final = 1000
"""Maximum number of requests in a call."""

_CONNECTIONS_A_WORKER: Final = 8
"""Maximum number of connections, per worker, to reach all workers: the kernel assigns connections at random."""


_OPTION: Final = "--warm-cache"


def serve_cache(call: Call, *, clear: bool, warm: str) -> None:
    """Show the cache of a server; or clear it; or warm it with the what-ifs of a file.

    Raises:
        typer.BadParameter: if a line of the file is no what-if.
        typer.Exit: if the file cannot be read, or some answers are not kept.
    """
    if warm:
        _warm(call, _what_ifs(warm))
        return
    with call.connect() as client:
        if clear:
            call.show(client.clear_cache(), lambda each: typer.echo(f"cleared: {pluralize(each.entries, 'answer')}"))
        else:
            call.show(client.get_cache_stats(), print_cache_stats)


def _what_ifs(file: str) -> list[PredictRequest]:
    """Read what-ifs; raise typer.BadParameter if a line is not a what-if, typer.Exit if the file cannot be read."""
    requests = []
    for number, request in message_lines(file, PredictRequest, _OPTION):
        if request.game_id:
            raise typer.BadParameter(f"line {number}: game_id is set; only what-ifs are kept", param_hint=_OPTION)
        requests.append(request)
    if not requests:
        raise typer.BadParameter(f"{file} has no requests", param_hint=_OPTION)
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
