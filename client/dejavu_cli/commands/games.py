"""`dejavu games`: the games that the feed shows, as the poller published them; and the teams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Annotated, Final

import typer
from rich.text import Text

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_cli.options import Call, Replays, flag, refuse
from dejavu_cli.output.forecast import REPLAYS_LEFT_OUT, local_time, print_rows
from dejavu_cli.output.responsive_table import Column
from dejavu_client.formatting import clock, lead_text, period_name, seconds_text
from dejavu_common.clock import utc_now
from dejavu_common.shown_text import visible
from dejavu_feed.game_ids import is_replay
from dejavu_feed.teams import TEAMS, Team, also_called, formerly


def games(
    ctx: typer.Context, call: Call, *, replays: Replays = False, teams: Annotated[bool, flag("--teams")] = False
) -> None:
    """List the games of the last 24 hours: score, clock or tip-off, line, and how old that is.

    A poller publishes them; they are no part of the record.

    Args:
        teams: List the teams instead, with their accepted names in upper or lower case.
    """
    if teams:
        refuse(ctx, "not with --teams", "replays")
        _print_teams(as_json=call.as_json)
        return
    with call.connect() as client:
        found = client.list_games()
    shown = found if replays else [each for each in found if not is_replay(each.game_id)]
    left_out = f" {REPLAYS_LEFT_OUT}" if len(shown) < len(found) else ""
    none = f"No games: none was published in the last 24 hours (a poller does it).{left_out}"
    call.show_all(shown, lambda games: print_rows(_COLUMNS, games, none))


_OLD_SECONDS: Final = 60.0
"""Age from which a state of a live game is marked."""


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
            return local_time(game.tip_off_time, "%a %H:%M")
        case _:
            return "scheduled"


def _line(game: Game) -> str:
    margin = ""
    if game.HasField("pregame_margin"):
        margin = lead_text(game.pregame_margin, game.home_team, game.away_team, digits=2)
    total = f"{game.pregame_total:g} points" if game.HasField("pregame_total") else ""
    return " · ".join(part for part in (margin, total) if part)


def _age(game: Game) -> Text:
    """Return the age of a live game's state, marked if it is old: the feed, or the poller, is silent."""
    if game.status != GameStatus.GAME_STATUS_LIVE:
        return Text()
    seconds = max(0.0, (utc_now() - game.observed_time.ToDatetime(UTC)).total_seconds())
    return Text(seconds_text(seconds), style="yellow" if seconds > _OLD_SECONDS else "dim")


_COLUMNS: Final[Sequence[Column[Game]]] = (
    Column("id", "left", 2, lambda game: game.game_id, "dim"),
    Column("game", "left", 9, lambda game: f"{game.away_team} @ {game.home_team}", "bold"),
    Column("score", "right", 9, _score, "bold"),
    Column("", "left", 9, _now),
    Column("line", "left", 5, _line),
    Column("read", "right", 7, _age),
    Column("by", "left", 1, lambda game: visible(game.published_by, line=True), "dim"),
)


def _print_teams(*, as_json: bool) -> None:
    if not as_json:
        print_rows(_TEAM_COLUMNS, list(TEAMS.items()), "")
        return
    for code, team in TEAMS.items():
        former = [{"code": then, **was._asdict()} for then, was in formerly(code).items()]
        typer.echo(json.dumps({"code": code, **team._asdict(), "aliases": also_called(code), "formerly": former}))


def _former(row: tuple[str, Team]) -> str:
    return ", ".join(f"{then} {was.seasons[0]}–{was.seasons[1]}" for then, was in formerly(row[0]).items())


_TEAM_COLUMNS: Final[Sequence[Column[tuple[str, Team]]]] = (
    Column("code", "left", 9, lambda row: row[0], "bold"),
    Column("city", "left", 8, lambda row: row[1].city),
    Column("name", "left", 9, lambda row: row[1].name),
    Column("also", "left", 7, lambda row: ", ".join(also_called(row[0]))),
    Column("formerly", "left", 5, _former),
)
