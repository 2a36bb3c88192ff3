"""Box scores: the players of each game, their time on court, and when they were first on court.

They are derived from the events of a game: who was on court, for how long, and how the lead changed meanwhile; and kept
in players_{season}.parquet. docs/data.md describes the format and the rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dejavu_common.files import atomic_replace
from dejavu_feed.box_score import MAX_SECONDS, STARTERS, PlayerLine, box_score_faults, final_faults
from dejavu_feed.errors import DataError
from dejavu_feed.events import Event, EventKind
from dejavu_feed.files.checked_games import GameInFiles, LeftOutGame
from dejavu_feed.files.tables import read_rows
from dejavu_feed.pattern import elapsed_seconds
from dejavu_feed.teams import team_code

SCHEMA: Final = pa.schema(
    {
        "game_id": pa.string(),
        "player": pa.int64(),
        "home": pa.bool_(),
        "seconds": pa.int64(),
        "plus_minus": pa.int64(),
        "started": pa.bool_(),
        "first_s": pa.float64(),
    }
)
"""One row per player and game."""


class SeenLine(NamedTuple):
    """A line of a box score, and when the player was first on court, in game seconds since tip-off."""

    line: PlayerLine
    first: float


def no_box_scores(count: int) -> NDArray[np.object_]:
    """Return the box scores of games that have none, (n,)."""
    result = np.empty(count, np.object_)
    for row in range(count):
        result[row] = ()
    return result


def write_box_scores(path: Path, games: Mapping[str, Iterable[SeenLine]]) -> None:
    """Write the box scores of games, by id, atomically and in the given order."""
    rows = [(game_id, *each.line, each.first) for game_id, lines in games.items() for each in lines]
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
    with atomic_replace(path) as new:
        pq.write_table(table, new, compression="zstd")


def read_box_scores(path: Path) -> dict[str, tuple[SeenLine, ...]]:
    """Read the box scores of a season's games, by id.

    Raises:
        DataError: if it can't be read, is too large, lacks a column, or the lines of a game are wrong.
    """
    try:
        rows = [row.values for row in read_rows(path, SCHEMA.names)]  # with limits: such files come from elsewhere
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"{path}: can't be read as box scores: {error}") from error
    for name in SCHEMA.names:
        if table[name].null_count:
            raise DataError(f"{path}: {name} is missing in {table[name].null_count:,} rows")
        if pa.types.is_integer(table[name].type):
            fractions = [row[name] for row in rows if row[name] % 1]  # Arrow cuts them off
            if fractions:
                raise DataError(f"{path}: {name} is {fractions[0]}; expected a whole number")
    games: dict[str, list[SeenLine]] = {}
    for game_id, *values, first in zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True):
        if not 0 <= first <= MAX_SECONDS:  # NaN fails too
            raise DataError(f"{path}: game {game_id}: first_s is {first}; expected 0 to {MAX_SECONDS}")
        games.setdefault(game_id, []).append(SeenLine(PlayerLine(*values), first))
    for game_id, lines in games.items():
        for name, value, expected in box_score_faults([each.line for each in lines]):
            raise DataError(f"{path}: game {game_id}: {name} is {value}; expected {expected}")
    return {game_id: tuple(sorted(lines)) for game_id, lines in games.items()}


_BESIDE_THE_COURT = frozenset({EventKind.TIMEOUT, EventKind.OTHER})
"""Kinds of events that name persons who may not be on court."""


class _Stint(NamedTuple):
    """A player's uninterrupted time on court, in game seconds since tip-off, and by how much the lead changed."""

    begins: float
    ends: float
    change: int


def box_scores_from(games: Iterable[GameInFiles]) -> tuple[dict[str, tuple[SeenLine, ...]], list[LeftOutGame]]:
    """Derive the box scores of those games whose events name the players who enter.

    Returns:
        The box scores by id of the game; and the games for which this fails, each with the reason.
    """
    box_scores, without = dict[str, tuple[SeenLine, ...]](), list[LeftOutGame]()
    for game in games:
        if any(enters for event in game.events for _, enters in _moves(event)):
            try:
                box_scores[game.game_id] = box_score_from(game.events, team_codes(game))
            except ValueError as why:
                without.append(LeftOutGame(game.game_id, str(why)))
    return box_scores, without


def team_codes(game: GameInFiles) -> tuple[str, str]:
    """Return the NBA codes of home and away team; the latter is empty for a game that was never played."""
    return team_code(game.home), team_code(game.away) if game.away else ""


def box_score_from(events: Sequence[Event], teams: tuple[str, str]) -> tuple[SeenLine, ...]:
    """Derive the box score of a game.

    A period begins with the players who are named in an event of it before they enter. Those who sit out the plays of
    a whole period are not found: such a game has no box score. Points of a second count for those who are on court
    before its substitutions, because free throws count for those who were on court at the foul.

    Args:
        events: events in order, with the players who leave and enter.
        teams: NBA codes of home and away team.

    Raises:
        ValueError: if other than five players of a team are found at some time, or the result is implausible.
    """
    home, lead, team_of = teams[0], 0, _team_of(events, teams)
    stints: dict[int, list[_Stint]] = defaultdict(list)
    for period, group in groupby(sorted(events, key=attrgetter("period")), attrgetter("period")):
        plays, begins = list(group), elapsed_seconds(period - 1, 0.0)
        on_court = dict.fromkeys(_beginners(plays, team_of), (begins, lead))  # since when, and the lead then
        _check_five(on_court, team_of, home, f"begin period {period}")
        for elapsed, of_second in groupby(plays, attrgetter("elapsed")):
            *_, last = at_once = list(of_second)
            lead = last.home - last.away
            moves = [move for event in at_once for move in _moves(event)]
            for player, enters in moves:
                if enters == (player in on_court):
                    does, is_there = ("enters", "is") if enters else ("leaves", "is not")
                    raise ValueError(f"player {player} {does} after {elapsed:g} s, but {is_there} on court")
                if enters:
                    on_court[player] = elapsed, lead
                else:
                    since, before = on_court.pop(player)
                    stints[player].append(_Stint(since, elapsed, lead - before))
            if moves:
                _check_five(on_court, team_of, home, f"are on court after {elapsed:g} s")
        for player, (since, before) in on_court.items():
            stints[player].append(_Stint(since, elapsed_seconds(period, 0.0), lead - before))
    lines = tuple(_line(player, team_of.get(player) == home, stints[player]) for player in sorted(stints))
    for name, value, expected in final_faults([each.line for each in lines], lead):
        raise ValueError(f"{name} is {value}; expected {expected}")
    return lines


def _line(player: int, home: bool, stints: Sequence[_Stint]) -> SeenLine:
    seconds = max(1, round(sum(stint.ends - stint.begins for stint in stints)))
    plus_minus = sum(stint.change for stint in stints) * (1 if home else -1)
    first = stints[0].begins
    return SeenLine(PlayerLine(player, home, seconds, plus_minus, started=first == 0), first)


def _check_five(on_court: Collection[int], team_of: dict[int, str], home: str, when: str) -> None:
    at_home = sum(team_of.get(player) == home for player in on_court)
    for side, count in (("home", at_home), ("away", len(on_court) - at_home)):
        if count != STARTERS:
            raise ValueError(f"{count} players of the {side} team {when}; expected {STARTERS}")


def _team_of(events: Sequence[Event], teams: tuple[str, str]) -> dict[int, str]:
    """Return the team of each player who acts or enters."""
    team_of = dict[int, str]()
    for event in events:
        if event.team in teams and event.kind not in _BESIDE_THE_COURT:
            of_team = (event.player, event.other_player if event.kind is EventKind.SUBSTITUTION else 0)
            team_of |= {player: event.team for player in of_team if player}
    return team_of


def _beginners(plays: Sequence[Event], team_of: dict[int, str]) -> set[int]:
    """Return the players who are named in a period's events before they enter."""
    begin, seen = set[int](), set[int]()
    for play in plays:
        moves = dict(_moves(play))
        for player in (play.player, play.other_player) if _is_on_court(play) else ():
            if player in team_of and player not in seen:
                seen.add(player)
                if not moves.get(player):
                    begin.add(player)
    return begin


def _is_on_court(play: Event) -> bool:
    """Return whether the players of an event are on court: a technical foul may be of one on the bench."""
    technical = play.kind is EventKind.FOUL and (not play.detail or "technical" in play.detail)
    return not technical and play.kind not in _BESIDE_THE_COURT


def _moves(play: Event) -> Iterator[tuple[int, bool]]:
    """Yield the players who leave and enter at a substitution, and whether they enter."""
    if play.kind is EventKind.SUBSTITUTION:
        if play.player:
            yield play.player, play.detail == "in"
        if play.other_player:
            yield play.other_player, True
