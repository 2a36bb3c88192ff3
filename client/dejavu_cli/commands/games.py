"""`dejavu games`: the games that the feed shows, as the poller published them."""

from __future__ import annotations

from dejavu_cli.options import Json, Timeout, connect
from dejavu_cli.output.forecast import print_json
from dejavu_cli.output.games import print_games
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.connection_options import Target


def games(target: Target = DEFAULT_TARGET, timeout: Timeout = DEFAULT_TIMEOUT, as_json: Json = False) -> None:
    """List the games of the last 24 hours: score, clock or tip-off, line, and how old that is.

    A poller publishes them; they are no part of the record.
    """
    with connect(target, timeout=timeout) as client:
        found = client.list_games()
        if as_json:
            for game in found:
                print_json(game)
        else:
            print_games(found)
