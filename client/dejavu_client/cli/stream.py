"""`dejavu stream`: forecasts and outcomes as they are recorded."""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable
from typing import Annotated

import typer

from dejavu_client.cli.options.common import DEFAULT_TARGET, Json, Target, connect
from dejavu_client.output.forecast import print_json
from dejavu_client.output.stream_event import print_event


def stream(
    game: Annotated[
        list[str] | None, typer.Option(metavar="GAME_ID", help="A game to follow; again for more; all by default.")
    ] = None,
    token: Annotated[str, typer.Option(help="Go on right after the event that carried this resume token.")] = "",
    include_current: Annotated[
        bool, typer.Option("--include-current", help="Begin with the newest forecasts of the last 12 hours.")
    ] = False,
    heartbeats: Annotated[
        bool, typer.Option("--heartbeats", help="Print heartbeats too; the first says that the subscription stands.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    as_json: Json = False,
) -> None:
    """Follow forecasts as they are made, and outcomes as they are reported.

    Ends with Ctrl-C; a lost connection is made again and nothing is missed.
    """
    with connect(target) as client:
        _when_reader_leaves(client.close)
        events = client.stream_predictions(
            game or (), resume_token=token, include_current=include_current, heartbeats=heartbeats
        )
        for event in events:
            if as_json:
                print_json(event)
            else:
                print_event(event)


def _when_reader_leaves(act: Callable[[], object]) -> None:
    """Acts once nobody reads standard output any more.

    Writing would tell, but between two forecasts minutes may pass, and `dejavu stream | head -1` shall not hang.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # replaced by something that is no file
        return
    poll = select.poll()
    poll.register(output, 0)  # errors and hang-ups are always reported

    def watch() -> None:
        poll.poll()
        act()

    threading.Thread(target=watch, name="dejavu-output-watch", daemon=True).start()
