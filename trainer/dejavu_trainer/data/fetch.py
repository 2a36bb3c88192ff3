"""Seasons from the NBA's statistics to plays_{season}.parquet, game by game; a fetch that was killed goes on.

Beside a season lies missing_{season}.csv with the games that could not be had. A later fetch asks for these again, for
games played since, and for those whose result the NBA has corrected; all others are in the cache and stay there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from dejavu_feed.errors import IncompleteGame, MalformedFeed
from dejavu_feed.names import season_of
from dejavu_feed.nba.stats import ListedGame, ScoreTimeline, read_game_log, read_score_timeline
from dejavu_feed.nba.stats_service import Stats
from dejavu_trainer.data.fetch_cache import FetchCache, exclusive_lock, write_atomic
from dejavu_trainer.data.games import parse_seasons
from dejavu_trainer.data.plays import DATED, MAX_ELAPSED, MAX_SCORE, DataError, season_path
from dejavu_trainer.data.rate_limit import FetchStopped, RetriesExhausted, RetryingClient

FIRST_SEASON: Final = 1997
"""The first of which the NBA has plays."""
_FIRST_PLAY_IN: Final = 2020
_MOST_IN_A_ROW: Final = 10
"""Games in a row without an answer after which the service counts as gone."""
_SOURCE: Final = {b"dejavu.source": b"stats.nba.com"}
"""In the metadata of a file that a fetch wrote, so that no other is ever replaced unasked."""
_NBA_SEASON: Final = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)


class Phase(StrEnum):
    """A part of a season, by its name in options."""

    REGULAR = "regular"
    PLAY_IN = "play-in"
    PLAYOFFS = "playoffs"

    @property
    def code(self) -> str:
        """As the column `type` has it."""
        return {"regular": "RS", "play-in": "PI", "playoffs": "PO"}[self]

    @property
    def nba_name(self) -> str:
        """As the NBA is asked for it."""
        return {"regular": "Regular Season", "play-in": "PlayIn", "playoffs": "Playoffs"}[self]


@dataclass(frozen=True, slots=True)
class MissingGame:
    """A game that is over and could not be had."""

    game: ListedGame
    phase: Phase
    reason: str


@dataclass(frozen=True, slots=True)
class FetchResult:
    """A season after a fetch.

    Attributes:
        season: the year in which it ends.
        path: its file; None if no game of it could be had: then none was written.
        plays: what the file holds, in the columns of dejavu_trainer.data.plays.DATED.
        asked: how many games were had from the NBA this time; the others were there.
        not_over: how many games the NBA lists that are still to be won.
        missing: games that could not be had, by date and id.
        stopped: why the service is not to be asked any more; "" if it answered to the end.
    """

    season: int
    path: Path | None
    plays: pa.Table
    asked: int
    not_over: int
    missing: tuple[MissingGame, ...]
    stopped: str = ""


class FetchObserver(Protocol):
    """Is told how far a fetch is."""

    def begin(self, season: str, games: int, there: int) -> object:
        """A season's list was had: so many games that are over, so many of them in the cache."""
        ...

    def done(self, season: str) -> object:
        """A game was had, or given up."""
        ...

    def say(self, text: str) -> object:
        """Something that a reader should know now."""
        ...


def season_name(season: int) -> str:
    """The NBA's name of the season that ends in a year: 2025 is "2024-25"."""
    return f"{season - 1}-{season % 100:02d}"


def parse_nba_seasons(text: str) -> tuple[int, ...]:
    """The seasons that a text names, as years in which they end, ascending, each once.

    Args:
        text: parts with commas between: "2024-25" as the NBA writes it, or as `parse_seasons` takes them.

    Raises:
        ValueError: if it names none, a part is neither, or the NBA has no plays of it.
    """
    seasons = set[int]()
    for part in (part.strip() for part in text.split(",")):
        if match := _NBA_SEASON.fullmatch(part):
            season = int(match[1]) + 1
            if season_name(season) != part:
                raise ValueError(f"{part!r} is no season; did you mean {season_name(season)}?")
            seasons.add(season)
            continue
        try:
            seasons.update(parse_seasons(part))
        except ValueError as error:
            raise ValueError(
                f"{part!r} is neither a season such as 2024-25 nor years such as 2025 or 2015-2021"
            ) from error
    if early := [season for season in sorted(seasons) if season < FIRST_SEASON]:
        raise ValueError(f"the NBA has plays from {season_name(FIRST_SEASON)} on, none of {season_name(early[0])}")
    return tuple(sorted(seasons))


def missing_path(folder: Path, season: int) -> Path:
    """Where the list of the games lies that could not be had; there is none if all were."""
    return folder / f"missing_{season}.csv"


def fetch(
    stats: Stats,
    seasons: Sequence[int],
    phases: Sequence[Phase],
    out: Path,
    watcher: FetchObserver,
    asker: RetryingClient,
    *,
    overwrite: bool = False,
) -> Iterator[FetchResult]:
    """Fetches seasons into a folder, one after the other, and says what came of each once its files are there.

    The files hold the games of these phases, by date and id: equal for equal answers, whatever was killed in between.

    Args:
        stats: what is asked.
        seasons: years in which they end.
        phases: of each season.
        out: folder of the seasons; made if need be.
        watcher: told how far it is.
        asker: asks at its pace.
        overwrite: whether to replace a season's file that no fetch has written.

    Raises:
        DataError: if another fetch is at work in the folder, a season has no game that is over, or a file of it that no
            fetch has written.
        FetchStopped: if a season's list could not be had, or the service has stopped answering. What was had stays.
        OSError: if a file cannot be written.
    """
    with exclusive_lock(out) as parts:
        for season in seasons:
            if not overwrite:
                _check_ours(season_path(out, season))
        for season in seasons:
            fetched = _Season(stats, season, phases, out, parts, watcher, asker).fetch()
            yield fetched
            if fetched.stopped:
                raise FetchStopped(fetched.stopped)


def _check_ours(path: Path) -> None:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError:
        return
    except (pa.ArrowException, OSError):
        metadata = {}
    if not metadata.items() >= _SOURCE.items():
        raise DataError(f"{path}: is already there, and not from a fetch; --overwrite replaces it")


class _Season:
    """One season under way."""

    def __init__(
        self,
        stats: Stats,
        season: int,
        phases: Sequence[Phase],
        out: Path,
        parts: Path,
        watcher: FetchObserver,
        asker: RetryingClient,
    ) -> None:
        self._stats = stats
        self._season = season
        self._name = season_name(season)
        self._phases = [phase for phase in Phase if phase in phases]
        self._out = out
        self._parts = parts
        self._watcher = watcher
        self._asker = asker
        self._cache = FetchCache(out, self._name)
        self._asked = 0

    def fetch(self) -> FetchResult:
        listed = sorted(
            ((game, phase) for phase in self._phases for game in self._list(phase)),
            key=lambda entry: (entry[0].date, entry[0].game_id),
        )
        over = [(game, phase) for game, phase in listed if game.over]
        if not over:
            raise DataError(f"{self._name}: the NBA lists no game of it that is over")
        courses = {game.game_id: course for game, _ in over if (course := self._had(game)) is not None}
        self._watcher.begin(self._name, len(over), len(courses))
        stopped, reasons = self._ask_for([game for game, _ in over if game.game_id not in courses], courses)
        missing = tuple(
            MissingGame(game, phase, reasons[game.game_id]) for game, phase in over if game.game_id not in courses
        )
        plays = _table([(game, phase, courses[game.game_id]) for game, phase in over if game.game_id in courses])
        return FetchResult(
            season=self._season,
            path=self._write(plays, missing),
            plays=plays,
            asked=self._asked,
            not_over=len(listed) - len(over),
            missing=missing,
            stopped=stopped,
        )

    def _list(self, phase: Phase) -> tuple[ListedGame, ...]:
        if phase is Phase.PLAY_IN and self._season < _FIRST_PLAY_IN:
            return ()

        def question() -> tuple[ListedGame, ...]:
            games = read_game_log(self._stats.game_log(self._name, phase.nba_name))
            if other := [game.game_id for game in games if season_of(game.game_id) != self._season]:
                raise MalformedFeed(f"holds game {other[0]}, which is of another season")
            return games

        try:
            return self._asker.call(question)
        except RetriesExhausted as error:
            raise FetchStopped(
                f"{self._name}: the list of games, {phase.nba_name}, could not be had: {error}"
            ) from error

    def _had(self, game: ListedGame) -> ScoreTimeline | None:
        """The game from the cache, if it still ends as the list has it."""
        course = None if game.fault else self._cache.course(game.game_id)
        return course if course is not None and course.points == dict(game.points) else None

    def _ask_for(self, games: Sequence[ListedGame], courses: dict[str, ScoreTimeline]) -> tuple[str, dict[str, str]]:
        """Fills `courses`; why it stopped, "" if it did not, and by id why a game could not be had."""
        reasons = {game.game_id: game.fault or "not asked for: the service had stopped answering" for game in games}
        in_a_row = 0
        for game in games:
            if not game.fault:
                try:
                    course = self._asker.call(self._question(game))
                except (RetriesExhausted, IncompleteGame) as error:
                    reasons[game.game_id] = str(error)
                    in_a_row = in_a_row + 1 if isinstance(error, RetriesExhausted) else 0
                except FetchStopped as stopped:
                    return str(stopped), reasons
                else:
                    self._cache.keep(game.game_id, course)
                    courses[game.game_id] = course
                    self._asked += 1
                    in_a_row = 0
            if game.game_id not in courses:
                self._watcher.say(f"{game.game_id} {game.teams}, {game.date}: {reasons[game.game_id]}")
            self._watcher.done(self._name)
            if in_a_row == _MOST_IN_A_ROW:
                return f"{self._name}: no good answer for {in_a_row} games in a row; try again later", reasons
        return "", reasons

    def _question(self, game: ListedGame) -> Callable[[], ScoreTimeline]:
        def question() -> ScoreTimeline:
            course = read_score_timeline(self._stats.plays(game.game_id), game)
            for score in course.scores:
                if not (min(score) >= 0 and max(score.home, score.away) <= MAX_SCORE and score.elapsed <= MAX_ELAPSED):
                    raise IncompleteGame(f"its score is {score.home}–{score.away} after {score.elapsed:g} s")
            return course

        return question

    def _write(self, plays: pa.Table, missing: Sequence[MissingGame]) -> Path | None:
        path = season_path(self._out, self._season) if len(plays) else None
        if path is not None:
            write_atomic(path, self._parts, lambda part: pq.write_table(plays, part, compression="zstd"))
        listing = missing_path(self._out, self._season)
        if missing:
            write_atomic(listing, self._parts, lambda part: _write_missing(part, missing))
        else:
            listing.unlink(missing_ok=True)
        return path


def _table(games: Sequence[tuple[ListedGame, Phase, ScoreTimeline]]) -> pa.Table:
    """The plays of games in the columns of `DATED`, in the order given."""
    rows = chain.from_iterable(
        ((game.game_id, phase.code, course.home, course.away, *score, game.date) for score in course.scores)
        for game, phase, course in games
    )
    columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in DATED]
    return pa.table(dict(zip(DATED.names, columns, strict=True)), schema=DATED.with_metadata(_SOURCE))


def _write_missing(path: Path, missing: Sequence[MissingGame]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("game_id", "type", "date", "teams", "reason"))
        for entry in missing:
            writer.writerow((entry.game.game_id, entry.phase.code, entry.game.date, entry.game.teams, entry.reason))
