"""Who played in a game: the lines of its box score, and who has been on court so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

STARTERS: Final = 5
"""Players of a team on court."""

MARKS: Final = (0, 6, 12, 24)
"""Minutes of play up to which players are counted as seen; the first is the tip-off, when starters are known."""

MAX_PLAYERS: Final = 20
"""Maximum number of players of a team in a game; a roster has 15, and three on two-way contracts."""

MAX_PLAYER_ID: Final = 2**31 - 1
"""The NBA's ids of players have up to 7 digits."""

MAX_SECONDS: Final = 3600 * 3
"""Bound of the seconds of a player, far beyond 48 minutes and any overtimes."""

MAX_PLUS_MINUS: Final = 150
"""Bound of the change of the differential while a player was on court, in points."""

Fault = tuple[str, str, str]
"""A wrong value: field, value and what was expected."""


class PlayerLine(NamedTuple):
    """A player who was on court in a game.

    Attributes:
        player: the NBA's id.
        home: whether he plays for the home team.
        seconds: time on court.
        plus_minus: his team's points minus the other team's while he was on court.
        started: whether he was on court at tip-off.
    """

    player: int
    home: bool
    seconds: int
    plus_minus: int
    started: bool


class Lineups(NamedTuple):
    """Who has been on court so far, by the NBA's ids in ascending order, without repetition.

    Attributes:
        home_starters, away_starters: the five players at tip-off.
        home_seen, away_seen: all players so far; includes the starters.
    """

    home_starters: tuple[int, ...]
    away_starters: tuple[int, ...]
    home_seen: tuple[int, ...]
    away_seen: tuple[int, ...]


def lineups(
    home_starters: Sequence[int], away_starters: Sequence[int], home_seen: Sequence[int], away_seen: Sequence[int]
) -> Lineups:
    """Return line-ups in their canonical order; those seen may lack the starters."""
    home, away = set(home_starters), set(away_starters)
    ordered = (tuple(sorted(ids)) for ids in (home, away, home.union(home_seen), away.union(away_seen)))
    return Lineups(*ordered)


def lineup_faults(given: Lineups) -> list[Fault]:
    """Return what is wrong with line-ups."""
    faults: list[Fault] = []
    for team, starters, seen in (
        ("home", given.home_starters, given.home_seen),
        ("away", given.away_starters, given.away_seen),
    ):
        if len(starters) != STARTERS:
            faults.append((f"lineups.{team}_starters", f"{len(starters)} players", f"{STARTERS} different ones"))
        if len(seen) > MAX_PLAYERS:
            faults.append((f"lineups.{team}_seen", f"{len(seen)} players", f"at most {MAX_PLAYERS}"))
        if seen and not (seen[0] >= 1 and seen[-1] <= MAX_PLAYER_ID):
            faults.append((f"lineups.{team}_seen", f"{seen[0]} to {seen[-1]}", f"ids from 1 to {MAX_PLAYER_ID}"))
    if both := {*given.home_seen} & {*given.away_seen}:
        faults.append(("lineups.away_seen", f"{min(both)}", "a player who is not of the home team"))
    return faults


def box_score_faults(lines: Sequence[PlayerLine]) -> list[Fault]:
    """Return what is wrong with the lines of a game; no lines are no fault."""
    faults: list[Fault] = []
    for index, line in enumerate(lines):
        for name, value, least, most in (
            ("player_id", line.player, 1, MAX_PLAYER_ID),
            ("seconds", line.seconds, 1, MAX_SECONDS),
            ("plus_minus", line.plus_minus, -MAX_PLUS_MINUS, MAX_PLUS_MINUS),
        ):
            if not least <= value <= most:
                faults.append((f"players[{index}].{name}", f"{value}", f"{least} to {most}"))
    if lines and len({line.player for line in lines}) < len(lines):
        faults.append(("players", "a player twice", "one line a player"))
    for home in (True, False) if lines else ():
        team, of_team = "home" if home else "away", [line for line in lines if line.home is home]
        if not STARTERS <= len(of_team) <= MAX_PLAYERS:
            faults.append(("players", f"{len(of_team)} of the {team} team", f"{STARTERS} to {MAX_PLAYERS}"))
        elif (started := sum(line.started for line in of_team)) != STARTERS:
            faults.append(("players", f"{started} starters of the {team} team", f"{STARTERS}"))
    return faults
