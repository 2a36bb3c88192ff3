"""Parses the players of a game from the NBA's live box scores."""

from __future__ import annotations

from typing import Final, NamedTuple

from dejavu_feed.box_score import MAX_PLUS_MINUS, Lineups, PlayerLine, lineup_faults, lineups
from dejavu_feed.errors import MalformedFeed
from dejavu_feed.nba.typed_fields import clock_seconds, optional_text, required, required_list

MAX_LISTED: Final = 40
"""Maximum number of players that a box score lists for a team, inactive ones included."""


class BoxScore(NamedTuple):
    """Players of a game so far.

    Attributes:
        lineups: players who have been on court; None if the box score does not name five starters of each team.
        lines: a line for every player who has been on court for at least a second, in ascending order of their ids;
            empty if the plus-minus of one is not known.
    """

    lineups: Lineups | None
    lines: tuple[PlayerLine, ...]


def read_box_score(payload: object, game_id: str) -> BoxScore:
    """Parse the players of a game.

    Raises:
        MalformedFeed: if the payload is not the box score of this game, or a player has no id.
    """
    game = required(payload, "game", dict, "payload")
    received = required(game, "gameId", str, "game")
    if received != game_id:
        raise MalformedFeed(f"requested the box score of {game_id}, received that of {received[:20]!r}")
    teams, lines, whole = [], list[PlayerLine](), True
    for name in ("homeTeam", "awayTeam"):
        team = required(game, name, dict, "game")
        starters, seen = list[int](), list[int]()
        for place, record in enumerate(required_list(team, "players", name, MAX_LISTED)):
            where = f"{name}.players[{place}]"
            player, started = required(record, "personId", int, where), optional_text(record, "starter") == "1"
            statistics = required(record, "statistics", dict, where)
            seconds = int(clock_seconds(optional_text(statistics, "minutes")) or 0)
            if started:
                starters.append(player)
            if seconds or optional_text(record, "played") == "1" or optional_text(record, "oncourt") == "1":
                seen.append(player)
            if seconds:
                points = statistics.get("plusMinusPoints")
                if isinstance(points, float | int) and abs(points) <= MAX_PLUS_MINUS:  # NaN fails too
                    lines.append(PlayerLine(player, name == "homeTeam", seconds, round(points), started))
                else:
                    whole = False
        teams.append((starters, seen))
    (home, home_seen), (away, away_seen) = teams
    found = lineups(home, away, home_seen, away_seen)
    return BoxScore(None if lineup_faults(found) else found, tuple(sorted(lines)) if whole else ())
