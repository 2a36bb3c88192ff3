"""`dejavu notify`: tells moments of games."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from dejavu_cli.options import Call, Replays, argument, flag, option


def notify(
    call: Call,
    file: Annotated[Path, argument("RULES", "File of rules and targets, TOML.", envvar="DEJAVU_RULES")],
    *,
    delay: Annotated[
        float,
        option("SECONDS", "Send moments of games this much later, as when the picture is delayed.", min=0, max=600),
    ] = 0.0,
    dry_run: Annotated[bool, flag("--dry-run", "Print what would be sent, and send nothing.")] = False,
    test: Annotated[bool, flag("--test", "Send a test message to each target, and exit.")] = False,
    replays: Replays = False,
) -> None:
    """Tell moments of games: a close end, a swing, an upset, a forecast, a final, silence.

    Sends webhooks, and messages by Slack, Discord and ntfy, each once a game.
    Start it twice, and the two share the work: each sends what the other does
    not. Stop with Ctrl-C.
    """
    from dejavu_cli.commands.notifier import run_notifier, send_tests  # noqa: PLC0415 - an extra

    if test:
        send_tests(file, as_json=call.as_json)
    else:
        modes = {"dry_run": dry_run, "replays": replays, "as_json": call.as_json}
        run_notifier(file, call.target, call.timeout, delay=delay, **modes)
