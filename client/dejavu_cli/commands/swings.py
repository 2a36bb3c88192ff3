"""`dejavu swings`: the plays that decided the games of a day."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dejavu_cli.errors import failure
from dejavu_cli.options import Call, GameList, PlaysSource, amount, argument, day_option, option, team_of, team_option
from dejavu_cli.output.forecast import print_warnings
from dejavu_cli.output.responsive_table import titled_table
from dejavu_client.formatting import chance, clock, pluralize, signed
from dejavu_client.requests import PredictOptions
from dejavu_client.swings import GameSwings, game_swings
from dejavu_common.rich_console import Console
from dejavu_feed.errors import FeedError
from dejavu_feed.files.source_rows import Source
from dejavu_feed.live_inputs import Side
from dejavu_feed.replay.games import ReplayGame, recorded_evening


def swings(
    call: Call,
    games: Annotated[Path, argument("PATH")],
    *,
    date: Annotated[datetime, day_option()],
    team: Annotated[str, team_option()] = "",
    source: PlaysSource = Source.PLAYS,
    game_list: GameList = None,
    pregame_margin: Annotated[float | None, amount("POINTS")] = None,
    top: Annotated[int, option("N", min=1)] = 10,
) -> None:
    """Show how much each scoring play of played games changed the probability to win.

    With `--json`, all scoring plays, one line a game. Nothing is recorded.

    Args:
        games: A file of plays (CSV, TSV, parquet; with --from also JSON, or a folder).
        date: Local date of the games.
        team: Only the game of this team (dejavu games --teams).
        pregame_margin: With --team: the line, as the home team's expected final lead before the game; replaces the
            ratings.
        top: Number of plays to show of each game.
    """
    if pregame_margin is not None and not team:
        raise typer.BadParameter("needs --team, the game that it is of", param_hint="--pregame-margin")
    try:
        evening, _ = recorded_evening(games, date.date(), source, game_list)
    except FeedError as error:
        raise failure(error) from error
    code = team_of(team) if team else ""
    chosen = [game for game in evening if code in ("", game.home, game.away)]
    if not chosen:
        raise typer.BadParameter(f"{team} has no game on {date:%Y-%m-%d} in {games}", param_hint="--team")
    with call.connect() as client:
        for game in chosen:
            options = PredictOptions(home_team=game.home, away_team=game.away, game_date=game.day)
            made = game_swings(client, game.scores, **(options | {"pregame_margin": pregame_margin}))
            if call.as_json:
                typer.echo(json.dumps(swings_record(game, made)))
            else:
                print_swings(game, made, top)


def print_swings(game: ReplayGame, made: GameSwings, top: int) -> None:
    """Print the plays of a game that changed the win probability most, in order, and its excitement."""
    console = Console()
    final = game.scores[-1]
    title = f"{game.away} {final.away} @ {game.home} {final.home}, {game.day}"
    if not made.plays:
        console.print(f"{title}: no scoring play after the first minute")
        return
    most = sorted(made.plays, key=lambda play: abs(play.change), reverse=True)[:top]
    table = titled_table(title, "clock", "score", "team", "points", f"{game.home} wins", "change")
    for play in (play for play in made.plays if play in most):
        table.add_row(
            clock(play.period, play.clock),
            f"{play.away}–{play.home}",
            game.home if play.side is Side.HOME else game.away,
            f"{play.points}",
            f"{chance(play.before)} → {chance(play.after)}",
            signed(100 * play.change, 0),
        )
    console.print(table)
    margin = made.expected_margin
    known = "from the score alone" if margin is None else f"{game.home} {signed(margin)} expected before tip-off"
    console.print(f"{pluralize(len(most), 'play')} of {len(made.plays)}, {known}; change in percentage points.")
    if made.lowest is not None:
        play, least = made.lowest
        winner = game.home if made.home_won else game.away
        console.print(f"{winner} won; its chance was lowest at {clock(play.period, play.clock)}: {chance(least)}.")
    console.print(f"Excitement {made.excitement:.2f}: the sum of all changes of probability.")
    print_warnings(console, made.warnings)


def swings_record(game: ReplayGame, made: GameSwings) -> dict[str, Any]:
    """Return the swings of a game for programs."""
    return {
        "source": game.source,
        "gameDate": f"{game.day}",
        "homeTeam": game.home,
        "awayTeam": game.away,
        "expectedMargin": made.expected_margin,
        "excitement": round(made.excitement, 4),
        "plays": [
            {
                "period": play.period,
                "secondsLeft": play.clock,
                "homeScore": play.home,
                "awayScore": play.away,
                "side": play.side.name.lower(),
                "points": play.points,
                "homeWinBefore": round(play.before, 6),
                "homeWinAfter": round(play.after, 6),
            }
            for play in made.plays
        ],
    }
