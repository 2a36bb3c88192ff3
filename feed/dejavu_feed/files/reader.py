"""Reads games from files, our own format and those of other projects: every change of the score of a season's games.

A game whose id is not the NBA's gets the NBA's id from a list of games, by date and teams. If the list lacks the game,
its id consists of date and home team (docs/training.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Final

from dejavu_feed.errors import DataError
from dejavu_feed.events import Event, EventKind, complete_events
from dejavu_feed.files.checked_games import MAX_PROBLEMS, CheckedGames, GameInFiles, LeftOutGame, RowProblem, no_game_of
from dejavu_feed.files.game_list import (
    GameInList,
    GameList,
    UnusableGame,
    by_teams,
    check_result,
    match,
    read_game_list,
)
from dejavu_feed.files.own_format import read_own_format
from dejavu_feed.files.plays_format import season_window
from dejavu_feed.files.source_rows import FORMATS, Source, SourceEvent, SourceFormat, SourceRow
from dejavu_feed.files.tables import read_rows
from dejavu_feed.game_ids import is_game_id, season_of
from dejavu_feed.pattern import Score
from dejavu_feed.score_changes import Points, contradiction, exchanged_sides, score_changes

_SUFFIXES: Final = {".csv", ".tsv", ".txt", ".parquet", ".json"}
_FEWEST_POINTS: Final = 20
"""Fewest scoring plays from which the sides of a game are judged; whole games have more than sixty."""

_NO_GAMES: Final = GameList()


_EventRow = tuple[Event, tuple[int, int] | None]
"""An event and the score of its row; None if the row has none."""


@dataclass(slots=True)
class _Game:
    """Data of a game from its rows.

    Attributes:
        rows: number in the order of entry (None if the source has none) and score of each row with a score.
        events: event and score of each row with a clock, by the values that copies of the row have in common.
        places: file and line of the first row with each score.
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


def _read_other_project(
    paths: Sequence[Path], source: Source, season: int, listed: GameList | None = None, day: date | None = None
) -> CheckedGames:
    """Read files of another project and return the games of a season, validated row by row.

    Args:
        paths: files, or folders of them.
        source: project whose files they are.
        season: year in which the season ends; games of other seasons are left out.
        listed: the list of games with their NBA ids and dates; None if there is none.
        day: return only the games of this local date; None: all games.

    Returns:
        The games, sorted by date and id, or the problems; and the games that were left out, with the reason. All games
        of a day can be left out, but not all games of a season.

    Raises:
        DataError: if a file can't be read or lacks a column, no game of the season is left, no game is of the day, or
            the source's rows have no dates and there is no list.
        FeedNotInstalled: if a file is parquet, and pyarrow is missing.
    """
    source_format = FORMATS[source]
    if listed is None and not source_format.dated:
        raise DataError(
            f"--from {source} needs a list of games with GAME_ID, GAME_DATE and MATCHUP, such as nba_api's "
            "LeagueGameLog, since the plays have no dates (import: --games FILE, replay: --game-list FILE)"
        )
    problems: list[RowProblem] = []
    played = _read_games(_files(paths, source_format), source_format, problems)
    if problems:
        return CheckedGames((), tuple(problems))
    if not played:
        raise DataError(f"{paths[0]}: holds no row")
    games = listed or _NO_GAMES
    found = {name: _listed(name, game, source_format, games) for name, game in played.items()}
    if day is not None:
        days = {name: game.day or (each.day if (each := found[name]) else None) for name, game in played.items()}
        found = {name: each for name, each in found.items() if days[name] == day}
        if not found:
            raise no_game_of(day, paths[0], {each for each in days.values() if each is not None})
    checked = _season(played, found, source_format, season, games)
    if day is None and not checked.games:
        (reason, count), *_ = Counter(each.reason for each in checked.left_out).most_common(1)
        raise DataError(f"no game of the season that ends in {season}; {count} left out: {reason}")
    return checked


def _listed(name: str, game: _Game, source_format: SourceFormat, games: GameList) -> GameInList | None:
    """Return the game of the list with the same id, or with the same date and teams; None if there is none."""
    return games.by_id.get(name) if source_format.nba_ids else by_teams(game.day, game.named, games)


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


def _read_games(paths: Iterable[Path], source_format: SourceFormat, problems: list[RowProblem]) -> dict[str, _Game]:
    games: dict[str, _Game] = {}
    for path in paths:
        for read in read_rows(path, source_format.required, source_format.optional):
            number, line, values = read
            row = SourceRow(values)
            if None in values:
                row.problems.append(("", "there are more values than columns"))
            event = source_format.read(row)
            if not row.problems:
                _add(games.setdefault(event.game, _Game(event.phase, event.day)), event, read.place(path))
            problems += (RowProblem(number, line, column, text, str(path)) for column, text in row.problems)
            if len(problems) >= MAX_PROBLEMS:
                return games
    return games


def _add(game: _Game, event: SourceEvent, place: str) -> None:
    """Add a row to its game; a contradiction with earlier rows becomes the fault of the game."""
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


def _season(
    played: Mapping[str, _Game],
    found: Mapping[str, GameInList | None],
    source_format: SourceFormat,
    season: int,
    games: GameList,
) -> CheckedGames:
    """Return games of a season, and the games that are left out.

    Args:
        played: all games of the files.
        found: the games to return, each with the game of the list that `_listed` returns.
        source_format: format of the files.
        season: year in which the season ends.
        games: the list.
    """
    kept: dict[tuple[date, str], GameInFiles] = {}
    left_out: list[LeftOutGame] = []
    matched = {each.game_id for game in played.values() if (each := by_teams(game.day, game.named, games))}
    for name, listed in found.items():
        game = played[name]
        try:
            _check_belongs(name, game, source_format, season)
            matching = match(game.day, game.named, listed, games, matched)
            scores = score_changes(game.rows)
            events = _events(game, scores, (matching.home, matching.away))
            _check(scores, events, game, matching, season)
            key = matching.day, matching.game_id
            if key in kept:
                raise UnusableGame(f"another game has the id {matching.game_id}")
        except UnusableGame as why:
            left_out.append(LeftOutGame(name, str(why)))
            continue
        kept[key] = GameInFiles(
            matching.game_id,
            game.phase,
            matching.day,
            matching.home,
            matching.away,
            scores,
            events,
            neutral_site=matching.neutral or None,
        )
    in_order = tuple(kept[key] for key in sorted(kept))
    # A list of games is given for the sake of the NBA's ids: report the games that still have an id of date and home
    # team.
    unlisted = tuple(game.game_id for game in in_order if games.by_id and not is_game_id(game.game_id))
    return CheckedGames(in_order, (), tuple(left_out), unlisted)


def _events(game: _Game, scores: Sequence[Score], teams: tuple[str, str]) -> tuple[Event, ...]:
    """Return the events of a game; none if its rows do not give kinds of events."""
    if all(event.kind is EventKind.OTHER for event, _ in game.events.values()):
        return ()
    return complete_events(game.events.values(), scores, teams)


def _check_belongs(name: str, game: _Game, source_format: SourceFormat, season: int) -> None:
    """Check the consistency of the rows of a game.

    Raises:
        UnusableGame: if it is not of the season, not of the league, or its rows contradict each other.
    """
    if not game.phase:
        raise UnusableGame("of no part of the season that counts (preseason, All-Star)")
    if game.unknown:
        raise UnusableGame(f"{game.unknown} is not a team of the NBA")
    if source_format.nba_ids and season_of(name) != season:
        raise UnusableGame("of another season")
    if game.day is not None:
        _check_day(game.day, season)
    if game.fault:
        raise UnusableGame(game.fault)
    if not game.rows:
        raise UnusableGame("it has no row with a score")


def _check_day(day: date, season: int) -> None:
    first, last = season_window(season)
    if not first <= day <= last:
        raise UnusableGame("of another season")


def _check(scores: Sequence[Score], events: Sequence[Event], game: _Game, found: GameInList, season: int) -> None:
    """Check the date, the scores and the sides of a game.

    Raises:
        UnusableGame: if it is of another season, or its scores contradict each other or the list.
    """
    _check_day(found.day, season)
    check_result(scores, found)
    if wrong := contradiction(scores):
        place = game.places.get(wrong.score)
        raise UnusableGame(f"{wrong.reason}{f' ({place})' * (place is not None)}")
    rises = (
        (event.team, event.home - before.home, event.away - before.away)
        for before, event in pairwise((Event(1, 0.0, 0, EventKind.OTHER), *events))
        if event.made and event.team
    )
    points = [Points(team, home > 0) for team, home, away in rises if (home > 0) != (away > 0)]
    exchanged = exchanged_sides(points, found.home, found.away)
    if exchanged and len(points) >= _FEWEST_POINTS:
        raise UnusableGame(f"home and away are in doubt: {exchanged}")


def read_games(
    paths: Sequence[Path], source: Source, season: int, game_list: Path | None = None, day: date | None = None
) -> CheckedGames:
    """Read the games of a season, or of one of its days, and validate them row by row.

    Args:
        paths: one file of this project's format; of other projects, files or folders of them.
        source: project whose files they are.
        season: year in which the season ends.
        game_list: file of the list of games with their NBA ids and dates; None if there is none.
        day: return only the games of this local date; None: all games.

    Returns:
        The games or the problems; and the games that were left out, with the reason.

    Raises:
        ValueError: if there are several files of this project's format, or a list for it.
        DataError: if a file can't be read or lacks a column, or no game is left.
        FeedNotInstalled: if a file is parquet, and pyarrow is missing.
    """
    if source is not Source.PLAYS:
        listed = None if game_list is None else read_game_list(game_list)
        return _read_other_project(paths, source, season, listed, day)
    if len(paths) > 1 or game_list is not None:
        raise ValueError("this project's format takes one file and no list of games")
    return read_own_format(paths[0], season, day)
