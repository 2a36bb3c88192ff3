"""`dejavu games`: the games that the feed shows, as the poller published them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final

from rich.text import Text

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_cli.options import Call
from dejavu_cli.output.forecast import print_rows
from dejavu_cli.output.responsive_table import ListingColumn
from dejavu_client.formatting import clock, period_name, seconds_text
from dejavu_common.clock import utc_now
from dejavu_common.shown_text import visible


def games(call: Call) -> None:
    """List the games of the last 24 hours: score, clock or tip-off, line, and how old that is.

    A poller publishes them; they are no part of the record.
    """
    with call.connect() as client:
        call.show_all(client.list_games(), print_games)


_OLD_SECONDS: Final = 60.0
"""Age from which a state of a live game is marked."""


def print_games(games: Sequence[Game]) -> None:
    """Print games, with times of day in the zone of this machine."""
    print_rows(_COLUMNS, games, "No games: none was published in the last 24 hours (a poller does it).")


def _score(game: Game) -> str:
    begun = game.status in {GameStatus.GAME_STATUS_LIVE, GameStatus.GAME_STATUS_FINAL}
    return f"{game.away_score}–{game.home_score}" if begun else ""


def _now(game: Game) -> str:
    """Return the status of a game in words: its clock, its tip-off, final or postponed."""
    match game.status:
        case GameStatus.GAME_STATUS_LIVE if game.period and game.HasField("seconds_left"):
            return clock(game.period, game.seconds_left)
        case GameStatus.GAME_STATUS_LIVE:
            return visible(game.status_text, line=True) or "live"
        case GameStatus.GAME_STATUS_FINAL:
            return f"final, {period_name(game.period)}" if game.period > 4 else "final"
        case GameStatus.GAME_STATUS_POSTPONED:
            return "postponed"
        case _ if game.HasField("tip_off_time"):
            return f"{game.tip_off_time.ToDatetime(UTC).astimezone():%a %H:%M}"
        case _:
            return "scheduled"


def _line(game: Game) -> str:
    margin = ""
    if game.HasField("pregame_margin"):
        ahead = game.home_team if game.pregame_margin >= 0 else game.away_team
        margin = f"{ahead} by {abs(game.pregame_margin):g}"
    total = f"{game.pregame_total:g} points" if game.HasField("pregame_total") else ""
    return " · ".join(part for part in (margin, total) if part)


def _age(game: Game) -> Text:
    """Return the age of a live game's state, marked if it is old: the feed, or the poller, is silent."""
    if game.status != GameStatus.GAME_STATUS_LIVE:
        return Text()
    seconds = max(0.0, (utc_now() - game.observed_time.ToDatetime(UTC)).total_seconds())
    return Text(seconds_text(seconds), style="yellow" if seconds > _OLD_SECONDS else "dim")


_COLUMNS: Final[Sequence[ListingColumn[Game]]] = (
    ListingColumn("id", "left", 2, lambda game: game.game_id, "dim"),
    ListingColumn("game", "left", 9, lambda game: f"{game.away_team} @ {game.home_team}", "bold"),
    ListingColumn("score", "right", 9, _score, "bold"),
    ListingColumn("", "left", 9, _now),
    ListingColumn("line", "left", 5, _line),
    ListingColumn("read", "right", 7, _age),
    ListingColumn("by", "left", 1, lambda game: visible(game.published_by, line=True), "dim"),
)
