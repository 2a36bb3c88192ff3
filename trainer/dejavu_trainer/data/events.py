"""Events of a season, and the box scores that are derived from them; docs/data.md describes the formats and the rule.

Tables of events, beside the plays, have the columns of the NBA's live feed or of PlayByPlayV2. A box score, kept in
players_{season}.parquet, has the players of a game, their time on court, and when they were first on court.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dejavu_common.files import atomic_replace
from dejavu_feed.box_score import MAX_SECONDS, STARTERS, PlayerLine, box_score_faults, final_faults
from dejavu_feed.errors import DataError
from dejavu_feed.events import Event, EventKind, complete_events
from dejavu_feed.files.checked_games import CheckedGames, GameInFiles, LeftOutGame, RowProblem
from dejavu_feed.files.plays_format import MAX_SCORE
from dejavu_feed.files.source_rows import MAX_PERIOD, SourceRow
from dejavu_feed.files.tables import read_rows
from dejavu_feed.nba.event_rows import live_event, v2_event
from dejavu_feed.pattern import Score, elapsed_seconds
from dejavu_feed.score_changes import contradiction, score_changes
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


_COLUMNS: Final = ("game_id", "period", "elapsed_s", "team", "home_score", "away_score", "distance_ft")
_LIVE: Final = {
    "action": "actionType",
    "detail": "subType",
    "result": "shotResult",
    "qualifier": "qualifiers",
    "person": "personId",
    "foul_drawn": "foulDrawnPersonId",
    "players_on": "",
}
"""The other columns of a table of the live feed, and the feed's names of them."""
_V2: Final = {
    "event_type": "EVENTMSGTYPE",
    "event_action": "EVENTMSGACTIONTYPE",
    "player1": "PLAYER1_ID",
    "player2": "PLAYER2_ID",
    "player3": "PLAYER3_ID",
}
"""The same for PlayByPlayV2."""
_WORDS: Final = re.compile(r"\w+")

_MOST_FEET: Final = 94
"""Length of the court."""

_EventRow = tuple[Event, tuple[int, int] | None]
"""An event and the score of its row; None if it has none."""

_Parse = Callable[[SourceRow, int, float, int], Event]
"""Reads a row, given its period, game seconds since tip-off, and number."""


def with_events(checked: CheckedGames, path: Path) -> tuple[CheckedGames, list[LeftOutGame]]:
    """Return games with the events of a table, and the games that have none then, each with the reason.

    A row with a wrong value costs the events of its game only.

    Args:
        checked: games without problems.
        path: a table, as `read_rows` reads it.

    Raises:
        DataError: if the file can't be read, lacks a column, or has usable events of no game.
    """
    played, faults = _read(path)
    games, without = list[GameInFiles](), list[LeftOutGame]()
    for game in checked.games:
        rows = played.pop(game.game_id, [])
        try:
            if game.game_id in faults:
                raise ValueError(faults[game.game_id])
            games.append(replace(game, events=_of_game(rows, game)))
        except ValueError as why:
            games.append(game)
            without.append(LeftOutGame(game.game_id, str(why)))
    without += (LeftOutGame(game_id, "the plays lack it") for game_id in sorted(played))
    if not any(game.events for game in games):
        raise DataError(f"{path}: has usable events of no game; {without[0].game_id}: {without[0].reason}")
    return replace(checked, games=tuple(games)), without


def _read(path: Path) -> tuple[dict[str, list[_EventRow]], dict[str, str]]:
    """Return the events and scores of each game, and the first wrong value of each game that has one."""
    played, faults = defaultdict[str, list[_EventRow]](list), dict[str, str]()
    parse: _Parse | None = None
    for read in read_rows(path, _COLUMNS, (*_LIVE, *_V2)):
        parse = parse or _parser(path, read.values)
        row = SourceRow(read.values)
        game_id = row.required("game_id")
        event = _event(row, read.number, parse)
        if row.problems:
            fault = RowProblem(read.number, read.line, *row.problems[0], file=str(path)).located(path)
            if not game_id:
                raise DataError(fault)
            faults.setdefault(game_id, fault)
        played[game_id].append(event)
    return played, faults


def _parser(path: Path, values: Mapping[Any, Any]) -> _Parse:
    for columns, parse in ((_LIVE, _live), (_V2, _v2)):
        if values.keys() >= set(columns):
            return parse
    raise DataError(f"{path}: lacks columns; expected {', '.join(_LIVE)}, or {', '.join(_V2)}")


def _event(row: SourceRow, number: int, parse: _Parse) -> _EventRow:
    """Read a row; wrong values become its problems."""
    period = row.whole("period", 1, MAX_PERIOD)
    if row.problems:
        return Event(0, 0.0, number, EventKind.OTHER), None
    begins, ends = elapsed_seconds(period - 1, 0.0), elapsed_seconds(period, 0.0)
    elapsed = row.real("elapsed_s", begins, ends)
    score = None
    if row.text("home_score") or row.text("away_score"):
        score = row.whole("home_score", 0, MAX_SCORE), row.whole("away_score", 0, MAX_SCORE)
    event = parse(row, period, round(elapsed, 2), number)
    if event.kind is EventKind.SHOT and row.text("distance_ft"):
        event = event._replace(distance=row.real("distance_ft", 0, _MOST_FEET))
    if event.kind is not EventKind.JUMP_BALL and row.text("team"):  # there, the team of the first jumper
        try:
            event = event._replace(team=team_code(row.text("team")))
        except ValueError:
            row.refuse("team", "a team of the NBA")
    return event, score


def _live(row: SourceRow, period: int, elapsed: float, number: int) -> Event:
    fields: dict[str, Any] = {theirs: row.text(ours) for ours, theirs in _LIVE.items()}
    fields["qualifiers"] = _WORDS.findall(fields["qualifiers"])
    if fields["actionType"] == EventKind.SUBSTITUTION:  # the feed names the player, and who is on court afterwards
        fields["subType"] = "in" if fields["personId"] in row.text("players_on").split("|") else "out"
    return live_event(fields, period, elapsed, number)


def _v2(row: SourceRow, period: int, elapsed: float, number: int) -> Event:
    event = v2_event({theirs: row.text(ours) for ours, theirs in _V2.items()}, period, elapsed, number)
    if event.kind is EventKind.FREE_THROW:
        return event._replace(made=bool(row.text("home_score")))
    # The score tells how much a made shot counts; nothing tells that of a miss.
    return event._replace(value=0)


def _of_game(rows: list[_EventRow], game: GameInFiles) -> tuple[Event, ...]:
    """Return the events of a game in order, with scores and possession.

    Raises:
        ValueError: if there are none, or they contradict each other or the plays.
    """
    if not rows:
        raise ValueError("the file has none")
    teams = team_codes(game)
    if others := {event.team for event, _ in rows} - {"", *teams}:
        raise ValueError(f"they name {min(others)}, which does not play")
    scores = score_changes((None, Score(event.elapsed, *score)) for event, score in rows if score is not None)
    if wrong := contradiction(scores):
        raise ValueError(wrong.reason)
    if scores[-1][1:] != game.scores[-1][1:]:
        (_, *found), (_, *expected) = scores[-1], game.scores[-1]
        raise ValueError(f"they end {found[0]}–{found[1]}; expected {expected[0]}–{expected[1]}, as the plays")
    team_of = {event.player: event.team for event, _ in rows if event.player and event.team}
    named = [
        (
            event._replace(team=team_of.get(event.player, event.team)) if event.kind is EventKind.JUMP_BALL else event,
            score,
        )
        for event, score in rows
    ]
    events = complete_events(named, scores, teams)
    return tuple(_with_value(event, before) for before, event in pairwise((Event(1, 0.0, 0, EventKind.OTHER), *events)))


def _with_value(event: Event, before: Event) -> Event:
    """Return a made shot of unknown value with the points by which the score rises."""
    if not event.made or event.value or event.kind is not EventKind.SHOT:
        return event
    points = event.home + event.away - before.home - before.away
    return event._replace(value=points if points in (2, 3) else 2)
