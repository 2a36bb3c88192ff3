"""Reads tables of events of a season, in the columns of the NBA's live feed or of PlayByPlayV2, beside its plays.

docs/data.md describes the columns.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

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
from dejavu_trainer.data.box_scores import team_codes

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
