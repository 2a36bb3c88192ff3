"""Imports play-by-play files of other projects as a season: every change of the score, game by game.

A game whose id is not the NBA's gets the NBA's by date and teams from a list of games; if the list has none, an id of
its date and home team (docs/training.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from dejavu_feed.errors import DataError
from dejavu_feed.events import Event, EventKind, complete_events
from dejavu_feed.game_ids import is_game_id, season_of
from dejavu_feed.pattern import Score
from dejavu_feed.score_changes import contradiction, score_changes
from dejavu_trainer.data.game_list import GameInList, GameList
from dejavu_trainer.data.game_match import Contradicts, NotImported, by_teams, check_result, match
from dejavu_trainer.data.import_plays import CheckedPlays, ImportProblem, LeftOutGame, season_window
from dejavu_trainer.data.plays import DATED
from dejavu_trainer.data.source_rows import FORMATS, Source, SourceEvent, SourceFormat, SourceRow
from dejavu_trainer.data.tables import read_rows

_SUFFIXES: Final = {".csv", ".tsv", ".txt", ".parquet", ".json"}
_NO_GAMES: Final = GameList()


_EventRow = tuple[Event, tuple[int, int] | None]
"""An event and the score of its row; None if the row has none."""


@dataclass(slots=True)
class _Game:
    """Data of a game from its rows.

    Attributes:
        rows: number in the order of entry (None if the source has none) and score of each row with a score.
        events: event and score of each row with a clock, by what copies of the row have in common.
        places: file and line of the first row with a score.
        named: home and away team as first named, by the field of `SourceEvent`.
        fault: the first contradiction between its rows; empty if there is none.
    """

    phase: str
    day: date | None
    rows: list[tuple[int | None, Score]] = field(default_factory=list)
    events: dict[_EventRow, _EventRow] = field(default_factory=dict)
    places: dict[Score, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    unknown: str = ""
    fault: str = ""


def read_source(paths: Sequence[Path], source: Source, season: int, games: GameList | None = None) -> CheckedPlays:
    """Read files of a source and return the plays of a season, validated row by row.

    Args:
        paths: files, or folders of them.
        source: whose files they are.
        season: year in which the season ends; games of other seasons are left out.
        games: the list of games with their NBA ids and dates; None if there is none.

    Returns:
        The plays, sorted by date and id, or the problems; and the games that were left out, with the reason.

    Raises:
        DataError: if a file can't be read or lacks a column, no game is left, or the source's rows have no dates and
            there is no list.
    """
    source_format = FORMATS[source]
    if games is None and not source_format.dated:
        raise DataError(
            f"--from {source} needs --games FILE, a list with GAME_ID, GAME_DATE and MATCHUP such as nba_api's "
            "LeagueGameLog: the plays have no dates"
        )
    problems: list[ImportProblem] = []
    played = _read_games(_files(paths, source_format), source_format, problems)
    if problems:
        return CheckedPlays(DATED.empty_table(), tuple(problems))
    if not played:
        raise DataError(f"{paths[0]}: holds no row")
    return _season(played, source_format, season, games or _NO_GAMES)


def _files(paths: Sequence[Path], source_format: SourceFormat) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(
            each
            for each in path.iterdir()
            if each.suffix.lower() in _SUFFIXES and not each.name.startswith(source_format.skipped_files or "\0")
        )
        if not inside:
            raise DataError(f"{path}: holds no file of plays ({', '.join(sorted(_SUFFIXES))})")
        yield from inside


def _read_games(paths: Iterable[Path], source_format: SourceFormat, problems: list[ImportProblem]) -> dict[str, _Game]:
    games: dict[str, _Game] = {}
    for path in paths:
        for number, (line, values) in enumerate(
            read_rows(path, source_format.required, source_format.optional), start=1
        ):
            row = SourceRow(values)
            if None in values:
                row.problems.append(("", "there are more values than columns"))
            event = source_format.read(row)
            if not row.problems:
                place = f"{path} row {number}" if line is None else f"{path} line {line}"
                _add(games.setdefault(event.game, _Game(event.phase, event.day)), event, place)
            problems += (ImportProblem(number, line, column, text, str(path)) for column, text in row.problems)
    return games


def _add(game: _Game, event: SourceEvent, place: str) -> None:
    """Add a row to its game; a contradiction of earlier rows becomes the fault of the game."""
    for side in ("home", "away"):
        if team := getattr(event, side):
            known = game.named.setdefault(side, team)
            if known != team:
                game.fault = game.fault or f"its {side} team is {known}, and {team} in {place}"
    if (event.phase, event.day) != (game.phase, game.day):
        game.fault = game.fault or f"it has another date or season type in {place} than before"
    game.unknown = game.unknown or event.unknown
    if event.score is not None:
        game.rows.append((event.number, event.score))
        game.places.setdefault(event.score, place)
    if event.event is not None:
        score = None if event.score is None else event.score[1:]
        of_row = event.event._replace(order=event.event.order or len(game.events))
        game.events.setdefault((event.event, score), (of_row, score))


def _season(played: Mapping[str, _Game], source_format: SourceFormat, season: int, games: GameList) -> CheckedPlays:
    """Return the plays of a season's games, and the games that were left out."""
    kept: dict[tuple[date, str], list[dict[str, Any]]] = {}
    left_out: list[LeftOutGame] = []
    events: dict[tuple[date, str], tuple[str, tuple[Event, ...]]] = {}
    matched = {found.game_id for game in played.values() if (found := by_teams(game.day, game.named, games))}
    for name, game in played.items():
        try:
            _check_belongs(name, game, source_format, season)
            listed = games.by_id.get(name) if source_format.nba_ids else by_teams(game.day, game.named, games)
            found = match(game.day, game.named, listed, games, matched)
            scores = score_changes(game.rows)
            _check(scores, game, found, season)
            if (found.day, found.game_id) in kept:
                raise Contradicts(f"another game has the id {found.game_id}")
        except NotImported as why:
            left_out.append(LeftOutGame(name, str(why), contradicts=isinstance(why, Contradicts)))
            continue
        if any(event.kind is not EventKind.OTHER for event, _ in game.events.values()):
            of_game = complete_events(game.events.values(), scores, (found.home, found.away))
            events[found.day, found.game_id] = found.game_id, of_game
        kept[found.day, found.game_id] = [
            {
                "game_id": found.game_id,
                "type": game.phase,
                "home": found.home,
                "away": found.away,
                "elapsed_s": score.elapsed,
                "home_score": score.home,
                "away_score": score.away,
                "game_date": found.day,
            }
            for score in scores
        ]
    if not kept:
        (reason, count), *_ = Counter(each.reason for each in left_out).most_common(1)
        raise DataError(f"no game of the season that ends in {season}; {count} left out: {reason}")
    rows = [row for key in sorted(kept) for row in kept[key]]
    # A list of games is given for the sake of the NBA's ids: report the games that still have an id of date and home
    # team.
    unlisted = tuple(game_id for _, game_id in sorted(kept) if games.by_id and not is_game_id(game_id))
    in_order = tuple(events[key] for key in sorted(events))
    return CheckedPlays(pa.Table.from_pylist(rows, schema=DATED), (), tuple(left_out), unlisted, in_order)


def _check_belongs(name: str, game: _Game, source_format: SourceFormat, season: int) -> None:
    """Check what a game says of itself.

    Raises:
        NotImported: if it is not of the season, or not of the league.
        Contradicts: if its rows contradict each other.
    """
    if not game.phase:
        raise NotImported("of no part of the season that counts (preseason, All-Star)")
    if game.unknown:
        raise NotImported(f"{game.unknown} is not a team of the NBA")
    if source_format.nba_ids and season_of(name) != season:
        raise NotImported("of another season")
    if game.day is not None:
        _check_day(game.day, season)
    if game.fault:
        raise Contradicts(game.fault)
    if not game.rows:
        raise NotImported("it has no row with a score")


def _check_day(day: date, season: int) -> None:
    first, last = season_window(season)
    if not first <= day <= last:
        raise NotImported("of another season")


def _check(scores: Sequence[Score], game: _Game, found: GameInList, season: int) -> None:
    """Check the date and the scores of a game.

    Raises:
        NotImported: if it is of another season.
        Contradicts: if its scores contradict each other or the list.
    """
    _check_day(found.day, season)
    check_result(scores, found)
    if wrong := contradiction(scores):
        place = game.places.get(wrong.score)
        raise Contradicts(f"{wrong.reason}{f' ({place})' * (place is not None)}")
