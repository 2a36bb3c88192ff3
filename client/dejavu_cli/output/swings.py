"""Prints the plays that decided a game."""

from __future__ import annotations

from typing import Any

from dejavu_cli.output.forecast import print_warnings
from dejavu_cli.output.responsive_table import titled_table
from dejavu_client.formatting import chance, clock, pluralize, signed
from dejavu_client.swings import GameSwings
from dejavu_common.rich_console import Console
from dejavu_feed.live_inputs import Side
from dejavu_feed.replay.games import ReplayGame


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
    lowest = made.lowest
    if lowest is not None:
        play, least = lowest
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
