"""When the rules for a silent feed or poller hold: one notification for each silence.

A live game's state is published again every 15 seconds while a poller reads the feed. Once these states are old, the
report of the poller to the server tells which of the two is silent. Games that should have begun are published rarely:
their silence shows only by a report, which one of several servers has. A silence begins with the newest state of a live
game, or else with the tip-off that passed, so all notifiers give it the same id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu.v1.operations_service_pb2 import FeedStatus
from dejavu_client.formatting import pluralize, seconds_text
from dejavu_client.notify.conditions import Found
from dejavu_client.notify.rules import PollerSilentRule, SilenceRule

_LATE_START: Final = timedelta(minutes=15)
"""Time after tip-off at which a game should have begun."""

_OLDEST: Final = timedelta(hours=2)
"""Length of a silence from which it is not told any more."""


def silence(
    rule: SilenceRule, games: Collection[Game], feeds: Iterable[FeedStatus], now: datetime
) -> tuple[str, Found] | None:
    """Return the beginning of a silence, as text, with title and text of its notification; None if there is none.

    Args:
        rule: the rule.
        games: the published games.
        feeds: the feeds that pollers reported to the server.
        now: the time by the server's clock, aware.
    """
    # A game that stayed live when its poller died, the evening before, says nothing about this evening.
    live = [game for game in games if game.status == GameStatus.GAME_STATUS_LIVE and now - _read(game) <= _OLDEST]
    due = [game for game in games if game.status == GameStatus.GAME_STATUS_SCHEDULED and _is_due(game, now)]
    if not live and not due:
        return None
    feeds = list(feeds)
    newest = max(map(_read, live or games))
    if now - newest > _OLDEST or (now - newest).total_seconds() <= rule.seconds or not (live or feeds):
        return None
    reported = min((each.reported_seconds_ago for each in feeds), default=float("inf"))
    read = min((each.read_age_seconds for each in feeds), default=float("inf"))
    poller_is_silent = reported > rule.seconds
    if poller_is_silent != isinstance(rule, PollerSilentRule) or read <= rule.seconds:
        return None
    begun = f"{int((newest if live else min(game.tip_off.ToDatetime(UTC) for game in due)).timestamp())}"
    counts = ((live, "in play"), (due, "past tip-off"))
    games_text = " and ".join(f"{pluralize(len(found), 'game')} {where}" for found, where in counts if found)
    since = seconds_text((now - newest).total_seconds())
    text = f"{games_text}; the newest state is {since} old."
    if poller_is_silent:
        return begun, Found("No poller reports", text)
    return begun, Found("The feed is silent", f"{text} The poller runs.")


def _read(game: Game) -> datetime:
    return game.observed_time.ToDatetime(UTC)


def _is_due(game: Game, now: datetime) -> bool:
    return game.HasField("tip_off") and _LATE_START <= now - game.tip_off.ToDatetime(UTC) <= _OLDEST
