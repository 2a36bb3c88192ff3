"""`dejavu notifications`: what notifiers sent."""

from __future__ import annotations

from typing import Annotated

import typer

from dejavu_cli.options import Json, Timeout, connect
from dejavu_cli.output.forecast import print_json
from dejavu_cli.output.notifications import print_notifications
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.connection_options import Target


def notifications(
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Maximum number.")] = 100,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """List the notifications of the last three days: what was sent, to which target, and what failed."""
    with connect(target, timeout=timeout) as client:
        found = client.list_notifications(limit=limit)
        if as_json:
            for each in found:
                print_json(each)
        else:
            print_notifications(found)
