"""`dejavu notify`: tells moments of games, and lists what notifiers sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from dejavu.ops.v1.notification_service_pb2 import Notification, NotificationStatus
from dejavu_cli.options import Call, Replays, argument, flag, option, refuse
from dejavu_cli.output.forecast import local_time, print_rows
from dejavu_cli.output.responsive_table import Column
from dejavu_client.formatting import enum_word
from dejavu_common.shown_text import visible


def notify(
    ctx: typer.Context,
    call: Call,
    file: Annotated[Path | None, argument("[RULES]", envvar="DEJAVU_RULES")] = None,
    *,
    delay: Annotated[float, option("SECONDS", min=0, max=600)] = 0.0,
    dry_run: Annotated[bool, flag("--dry-run")] = False,
    test: Annotated[bool, flag("--test")] = False,
    replays: Replays = False,
    listed: Annotated[bool, flag("--list")] = False,
    limit: Annotated[int, option("N", min=1, max=1000)] = 100,
) -> None:
    """Tell moments of games: a close end, a swing, an upset, a forecast, a final, silence.

    Sends webhooks, and messages by Slack, Discord and ntfy, each once a game.
    Start it twice, and the two share the work: each sends what the other does
    not. Stop with Ctrl-C.

    Args:
        file: File of rules and targets, TOML.
        delay: Send moments of games this much later, as when the picture is delayed.
        dry_run: Print what would be sent, and send nothing.
        test: Send a test message to each target, and exit.
        listed: List the notifications of the last three days: sent, to which target, failed.
        limit: With --list: maximum number.
    """
    if listed:
        refuse(ctx, "not with --list", "file", "delay", "dry_run", "test", "replays")
        with call.connect() as client:
            call.show_all(client.list_notifications(limit=limit), _print)
        return
    refuse(ctx, "needs --list", "limit")
    if file is None:
        raise typer.BadParameter("missing; expected a file of rules, or --list", param_hint="RULES")
    from dejavu_cli.commands.notifier import run_notifier, send_tests  # noqa: PLC0415 - an extra

    if test:
        send_tests(file, as_json=call.as_json)
    else:
        run_notifier(file, call, delay=delay, dry_run=dry_run, replays=replays)


def _print(found: Sequence[Notification]) -> None:
    print_rows(_COLUMNS, found, "No notifications in the last three days (dejavu notify sends them).")


_STYLES: Final = {"sent": "green", "failed": "red", "waiting": "yellow", "claimed": "yellow"}


def _status(each: Notification) -> Text:
    word = enum_word(NotificationStatus.DESCRIPTOR, each.status) or f"{each.status}"
    attempts = f", {each.attempts} attempts" if each.attempts > 1 else ""
    return Text(word + attempts, style=_STYLES.get(word, ""))


_COLUMNS: Final[Sequence[Column[Notification]]] = (
    Column("time", "left", 8, lambda each: local_time(each.create_time, "%a %H:%M")),
    Column("rule", "left", 5, lambda each: visible(each.rule, line=True), "bold"),
    Column("to", "left", 7, lambda each: visible(each.target, line=True)),
    Column("status", "left", 9, _status),
    Column("why", "left", 6, lambda each: visible(each.failure, line=True)),
    Column("what", "left", 4, lambda each: visible(each.text.partition(". ")[0], line=True)),
    Column("by", "left", 1, lambda each: visible(each.published_by, line=True), "dim"),
)
