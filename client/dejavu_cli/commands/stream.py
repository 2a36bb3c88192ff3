"""`dejavu stream`: prints forecasts and outcomes as they are recorded."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable
from typing import Annotated

import typer

from dejavu_cli.options import Json, ServerOptions, flag, option
from dejavu_cli.output.forecast import show
from dejavu_cli.output.stream_event import EventPrinter
from dejavu_client.config import DEFAULT_TARGET
from dejavu_client.connection_options import Target


def stream(
    game: Annotated[list[str] | None, option("GAME_ID")] = None,
    token: Annotated[str, typer.Option()] = "",
    include_current: Annotated[bool, flag("--include-current")] = False,
    heartbeats: Annotated[bool, flag("--heartbeats")] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Stream forecasts as they are recorded, and outcomes as they are reported.

    Stop with Ctrl-C. Reconnects after a lost connection without missing events.

    Args:
        game: Game to follow; repeat for more games; all by default.
        token: Resume right after the event with this resume token.
        include_current: Start with the newest forecasts of the last 12 hours.
        heartbeats: Print heartbeats too; the first one confirms the subscription.
    """
    with ServerOptions(target=target).connect() as client:
        _on_stdout_closed(client.close)
        events = client.stream_predictions(
            game or (), resume_token=token, include_current=include_current, heartbeats=heartbeats
        )
        print_event = EventPrinter()
        for event in events:
            show(event, print_event, as_json=as_json)


def _on_stdout_closed(callback: Callable[[], object]) -> None:
    """Call `callback` once the reader of standard output has closed the pipe.

    A write would detect this too, but minutes may pass between two forecasts, and `dejavu stream | head -1` must not
    hang.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # stdout was replaced by something without a file descriptor
        return
    poll = select.poll()
    poll.register(output, 0)  # poll reports errors and hang-ups even with an empty event mask

    def watch() -> None:
        poll.poll()
        callback()

    threading.Thread(target=watch, name="dejavu-output-watch", daemon=True).start()
