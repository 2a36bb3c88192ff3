"""Prints what a notifier does, or would do."""

from __future__ import annotations

import json

import typer

from dejavu_client.notify.bodies import Request
from dejavu_client.notify.delivery import Report, Result
from dejavu_common.clock import utc_now


def print_report(report: Report, *, as_json: bool) -> None:
    """Print what a notifier did, as one line."""
    message, target, attempt = report
    if as_json:
        fields = {
            "time": utc_now().isoformat(timespec="milliseconds"),
            "id": message.id,
            "target": target,
            "result": attempt.result,
            "failure": attempt.failure,
            "text": f"{message.title}. {message.text}",
        }
        typer.echo(json.dumps(fields, ensure_ascii=False))
        return
    failure = f" ({attempt.failure})" if attempt.failure else ""
    again = ", tried again" if attempt.result is Result.RETRY else ""
    result = "failed" if attempt.result is Result.RETRY else attempt.result
    typer.echo(
        f"{utc_now().astimezone():%H:%M:%S} {target}: {result}{again}{failure} · {message.title}. {message.text}"
    )


def print_request(target: str, made: Request) -> None:
    """Print what would be sent, without the address, which may be a secret."""
    typer.echo(f"{utc_now().astimezone():%H:%M:%S} {target}: {made.body.decode()}")
