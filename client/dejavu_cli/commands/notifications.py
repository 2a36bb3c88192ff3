"""`dejavu notifications`: what notifiers sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Annotated, Final

from rich.text import Text

from dejavu.ops.v1.notification_service_pb2 import Notification, NotificationStatus
from dejavu_cli.options import Call, option
from dejavu_cli.output.forecast import print_rows
from dejavu_cli.output.responsive_table import ListingColumn
from dejavu_client.formatting import enum_word
from dejavu_common.shown_text import visible


def notifications(
    call: Call,
    limit: Annotated[int, option("N", "Maximum number.", min=1, max=1000)] = 100,
) -> None:
    """List the notifications of the last three days: what was sent, to which target, and what failed."""
    with call.connect() as client:
        call.show_all(client.list_notifications(limit=limit), _print)


def _print(found: Sequence[Notification]) -> None:
    print_rows(_COLUMNS, found, "No notifications in the last three days (dejavu notify sends them).")


_STYLES: Final = {"sent": "green", "failed": "red", "waiting": "yellow", "claimed": "yellow"}


def _status(each: Notification) -> Text:
    word = enum_word(NotificationStatus.DESCRIPTOR, each.status) or f"{each.status}"
    attempts = f", {each.attempts} attempts" if each.attempts > 1 else ""
    return Text(word + attempts, style=_STYLES.get(word, ""))


_COLUMNS: Final[Sequence[ListingColumn[Notification]]] = (
    ListingColumn("time", "left", 8, lambda each: f"{each.create_time.ToDatetime(UTC).astimezone():%a %H:%M}"),
    ListingColumn("rule", "left", 5, lambda each: visible(each.rule, line=True), "bold"),
    ListingColumn("to", "left", 7, lambda each: visible(each.target, line=True)),
    ListingColumn("status", "left", 9, _status),
    ListingColumn("why", "left", 6, lambda each: visible(each.failure, line=True)),
    ListingColumn("what", "left", 4, lambda each: visible(each.text.partition(". ")[0], line=True)),
    ListingColumn("by", "left", 1, lambda each: visible(each.published_by, line=True), "dim"),
)
