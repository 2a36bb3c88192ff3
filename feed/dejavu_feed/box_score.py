"""Players of a game: the lines of its box score, and the players seen on court so far."""

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
"""Maximum id of a player; the NBA's have up to 7 digits."""

SUM_TOLERANCE: Final = 10
"""Largest difference between the plus-minus of a team's players and five times the differential, in points."""

TIME_TOLERANCE: Final = 0.05
"""Largest relative excess of a team's time over the other's, and of a player's over a fifth of his team's."""

MAX_SECONDS: Final = 3600 * 3
"""Bound of the seconds of a player, far beyond 48 minutes and any overtimes."""

MAX_PLUS_MINUS: Final = 150
"""Bound of the change of the differential while a player was on court, in points."""


def mark_of(minute: int) -> int:
    """Return the index of the last of MARKS up to a minute."""
    return sum(minute >= each for each in MARKS) - 1


Fault = tuple[str, str, str]
"""A wrong value: field, value and expected value."""


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
    """Players seen on court so far, as NBA ids in ascending order, without repetition.

    Attributes:
        home_starters, away_starters: the five players at tip-off.
        home_seen, away_seen: all players so far; includes the starters.
        minute: elapsed minutes of play up to which they were seen; 0: only the starters are known.
    """

    home_starters: tuple[int, ...]
    away_starters: tuple[int, ...]
    home_seen: tuple[int, ...]
    away_seen: tuple[int, ...]
    minute: int = 0


def lineups(
    home_starters: Sequence[int],
    away_starters: Sequence[int],
    home_seen: Sequence[int],
    away_seen: Sequence[int],
    minute: int = 0,
) -> Lineups:
    """Return line-ups in their canonical order; the players seen can lack the starters."""
    home, away = set(home_starters), set(away_starters)
    seen = tuple(sorted(home.union(home_seen))), tuple(sorted(away.union(away_seen)))
    return Lineups(tuple(sorted(home)), tuple(sorted(away)), *seen, minute)


def lineup_faults(given: Lineups) -> list[Fault]:
    """Return the wrong values of line-ups."""
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


def lines_of_team(lines: Sequence[PlayerLine], *, home: bool) -> list[PlayerLine]:
    """Return the lines of a team, in their order."""
    return [line for line in lines if line.home is home]


def box_score_faults(lines: Sequence[PlayerLine]) -> list[Fault]:
    """Return the wrong values of the lines of a game; a game without lines has none."""
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
        team, of_team = "home" if home else "away", lines_of_team(lines, home=home)
        if not STARTERS <= len(of_team) <= MAX_PLAYERS:
            faults.append(("players", f"{len(of_team)} of the {team} team", f"{STARTERS} to {MAX_PLAYERS}"))
        elif (started := sum(line.started for line in of_team)) != STARTERS:
            faults.append(("players", f"{started} starters of the {team} team", f"{STARTERS}"))
    return faults


def final_faults(lines: Sequence[PlayerLine], differential: int) -> list[Fault]:
    """Return the wrong values of the lines of a game with this final differential; without lines there are none."""
    if faults := box_score_faults(lines):
        return faults
    times = []
    for home in (True, False) if lines else ():
        team, of_team = "home" if home else "away", lines_of_team(lines, home=home)
        total, due = sum(line.plus_minus for line in of_team), STARTERS * (differential if home else -differential)
        if abs(total - due) > SUM_TOLERANCE:
            found = f"a plus-minus of {total} of the {team} team together"
            faults.append(("players", found, f"{due}, five times the differential, within {SUM_TOLERANCE}"))
        times.append(sum(line.seconds for line in of_team))
        longest, most = max(line.seconds for line in of_team), (1 + TIME_TOLERANCE) * times[-1] / STARTERS
        if longest > most:
            faults.append(("players", f"{longest} s of a player of the {team} team", f"at most {most:.0f}, a fifth"))
    if times and not faults and max(times) > (1 + TIME_TOLERANCE) * min(times):
        faults.append(("players", f"{times[0]} s of the home team and {times[1]} of the away team", "the same time"))
    return faults
