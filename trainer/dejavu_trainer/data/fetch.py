"""Fetches seasons from the NBA's statistics into plays_{season}.parquet, game by game; resumable after a kill.

missing_{season}.csv lists the games of a season that could not be fetched. A later fetch requests these again, as well
as games played since and games whose result the NBA has corrected; all others are read from the cache.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from dejavu_common.shown_text import spreadsheet_cell
from dejavu_feed.errors import DataError, IncompleteGame, MalformedFeed
from dejavu_feed.event_table import event_table
from dejavu_feed.files.checked_games import GameInFiles
from dejavu_feed.files.plays_format import MAX_ELAPSED, MAX_SCORE
from dejavu_feed.game_ids import COMPETITIVE, CUP_FINAL, season_of
from dejavu_feed.nba.stats_payloads import (
    ListedGame,
    ScoreTimeline,
    read_game_events,
    read_game_log,
    read_score_timeline,
)
from dejavu_feed.nba.stats_service import Stats
from dejavu_trainer.data.fetch_cache import FetchCache, FetchedGame, exclusive_lock, write_part
from dejavu_trainer.data.games import parse_seasons
from dejavu_trainer.data.plays import Content, plays_table, season_path
from dejavu_trainer.data.retries import FetchStopped, RetriesExhausted, RetryingClient

FIRST_SEASON: Final = 1997
"""First season for which the NBA has plays."""
_MAX_FAILURES_IN_A_ROW: Final = 10
"""Number of consecutive games without a valid response after which the fetch stops."""
_SOURCE: Final = {b"dejavu.source": b"stats.nba.com"}
"""Metadata that marks files written by a fetch; other files are only replaced with `overwrite`."""
_NBA_SEASON: Final = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)


class Phase(StrEnum):
    """Part of a season; the value is its name on the command line."""

    REGULAR = "regular"
    CUP_FINAL = "cup-final"
    PLAY_IN = "play-in"
    PLAYOFFS = "playoffs"

    @property
    def code(self) -> str:
        """Code in the column `type`."""
        return {"regular": "RS", "cup-final": "RS", "play-in": "PI", "playoffs": "PO"}[self]

    @property
    def nba_name(self) -> str:
        """Name in requests to the NBA."""
        return {"regular": "Regular Season", "cup-final": "IST", "play-in": "PlayIn", "playoffs": "Playoffs"}[self]

    @property
    def first_season(self) -> int:
        """First season that has this part."""
        return {"regular": FIRST_SEASON, "cup-final": 2024, "play-in": 2020, "playoffs": FIRST_SEASON}[self]


class MissingGame(NamedTuple):
    """A finished game that could not be fetched: a row of missing_{season}.csv."""

    game_id: str
    type: str
    date: date
    teams: str
    reason: str


@dataclass(frozen=True, slots=True)
class FetchResult:
    """Result of fetching a season.

    Attributes:
        season: year in which the season ends.
        path: file of the season; None if no game could be fetched and no file was written.
        plays: content of the file; see `dejavu_trainer.data.plays.plays_table`.
        asked: number of games fetched from the NBA this time; the others were cached.
        not_over: number of listed games that are not finished.
        missing: games that could not be fetched, by date and id.
        stopped: why the fetch stopped early; "" if it did not.
    """

    season: int
    path: Path | None
    plays: pa.Table
    asked: int
    not_over: int
    missing: tuple[MissingGame, ...]
    stopped: str = ""


class FetchObserver(Protocol):
    """Receives the progress of a fetch."""

    def begin(self, season: str, games: int, there: int) -> object:
        """Receive the number of finished games of a season, and the number of cached ones among them."""
        ...

    def done(self, season: str) -> object:
        """Count one more game, fetched or given up."""
        ...

    def say(self, text: str) -> object:
        """Show a message to the user."""
        ...


def season_name(season: int) -> str:
    """Return the NBA's name of the season that ends in a year: "2024-25" for 2025."""
    return f"{season - 1}-{season % 100:02d}"


def parse_nba_seasons(text: str) -> tuple[int, ...]:
    """Parse seasons into the years in which they end, ascending and without duplicates.

    Args:
        text: comma-separated parts: "2024-25" as the NBA writes it, or the syntax of `parse_seasons`.

    Raises:
        ValueError: if the text is empty, a part is malformed, or the NBA has no plays of a season.
    """
    seasons = set[int]()
    for part in (part.strip() for part in text.split(",")):
        if match := _NBA_SEASON.fullmatch(part):
            season = int(match[1]) + 1
            if season_name(season) != part:
                raise ValueError(f"{part!r} is not a season; did you mean {season_name(season)}?")
            seasons.add(season)
            continue
        try:
            seasons.update(parse_seasons(part))
        except ValueError as error:
            raise ValueError(
                f"{part!r} is neither a season such as 2024-25 nor years such as 2025 or 2015-2021"
            ) from error
    if early := [season for season in sorted(seasons) if season < FIRST_SEASON]:
        raise ValueError(f"the NBA has plays from {season_name(FIRST_SEASON)} on, not of {season_name(early[0])}")
    return tuple(sorted(seasons))


def missing_path(folder: Path, season: int) -> Path:
    """Return the path of the list of missing games; the file exists only if games are missing."""
    return folder / f"missing_{season}.csv"


def fetch_list(stats: Stats, season: int, phase: Phase, client: RetryingClient) -> tuple[ListedGame, ...]:
    """Fetch the games of a part of a season, sorted by date and id; empty for a part that the season does not have.

    Raises:
        FetchStopped: if it could not be fetched.
    """
    if season < phase.first_season:
        return ()
    name = season_name(season)

    def request() -> tuple[ListedGame, ...]:
        games = read_game_log(stats.game_log(name, phase.nba_name))
        if phase is Phase.CUP_FINAL:  # the other games of the Cup are of the regular season as well
            games = tuple(game for game in games if game.game_id.startswith(CUP_FINAL))
        if other := [game.game_id for game in games if season_of(game.game_id) != season]:
            raise MalformedFeed(f"holds game {other[0]} of another season")
        if other := [game.game_id for game in games if COMPETITIVE.get(game.game_id[:3]) != phase.code]:
            raise MalformedFeed(f"holds game {other[0]} of another part of the season")
        return games

    try:
        return client.call(request)
    except RetriesExhausted as error:
        raise FetchStopped(f"{name}: the list of games, {phase.nba_name}, could not be fetched: {error}") from error


def fetch_game(stats: Stats, game: ListedGame) -> FetchedGame:
    """Request the plays of a game once.

    Raises:
        FeedError: if the service gives none, they are invalid, or they contradict the list.
    """
    payload = stats.plays(game.game_id)
    timeline = read_score_timeline(payload, game)
    for score in timeline.scores:
        if not (min(score) >= 0 and max(score.home, score.away) <= MAX_SCORE and score.elapsed <= MAX_ELAPSED):
            raise IncompleteGame(f"invalid score: {score.home}–{score.away} after {score.elapsed:g} s")
    return FetchedGame(timeline, read_game_events(payload, timeline))


def fetch(
    stats: Stats,
    seasons: Sequence[int],
    phases: Sequence[Phase],
    out: Path,
    observer: FetchObserver,
    client: RetryingClient,
    *,
    overwrite: bool = False,
) -> Iterator[FetchResult]:
    """Fetch seasons into a folder, one after the other, and yield the result of each once its files are written.

    The files hold the games of the phases, sorted by date and id. Equal responses give equal files, even if the fetch
    was killed and resumed.

    Args:
        stats: the statistics service.
        seasons: years in which the seasons end.
        phases: parts of each season to fetch.
        out: folder of the seasons; created if it does not exist.
        observer: receives the progress.
        client: sends the requests, with rate limit and retries.
        overwrite: whether to replace a season's file that was not written by a fetch.

    Raises:
        DataError: if another fetch is running in the folder, a season has no finished game, or its file was not written
            by a fetch.
        FetchStopped: if the list of a season's games could not be fetched, or the service has stopped responding. Games
            already fetched are kept.
        OSError: if a file cannot be written.
    """
    with exclusive_lock(out) as parts:
        for season in seasons:
            if not overwrite:
                _check_replaceable(season_path(out, season))
        for season in seasons:
            fetched = _Season(stats, season, phases, out, parts, observer, client).fetch()
            yield fetched
            if fetched.stopped:
                raise FetchStopped(fetched.stopped)


def _check_replaceable(path: Path) -> None:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError:
        return
    except (pa.ArrowException, OSError):
        metadata = {}
    if not metadata.items() >= _SOURCE.items():
        raise DataError(f"{path}: already exists and was not written by fetch; use --overwrite to replace it")


@dataclass
class _Season:
    """Fetch of one season."""

    stats: Stats
    season: int
    phases: Sequence[Phase]
    out: Path
    parts: Path
    observer: FetchObserver
    client: RetryingClient

    def __post_init__(self) -> None:
        self.name = season_name(self.season)
        self.cache = FetchCache(self.out, self.name)

    def fetch(self) -> FetchResult:
        listed = sorted(
            (
                (game, phase)
                for phase in Phase
                if phase in self.phases
                for game in fetch_list(self.stats, self.season, phase, self.client)
            ),
            key=lambda entry: (entry[0].date, entry[0].game_id),
        )
        finished = [(game, phase) for game, phase in listed if game.over]
        if not finished:
            raise DataError(f"{self.name}: the NBA lists no finished game")
        fetched = {game.game_id: kept for game, _ in finished if (kept := self.cache.game(game)) is not None}
        cached = len(fetched)
        self.observer.begin(self.name, len(finished), cached)
        stopped, reasons = self._request([game for game, _ in finished if game.game_id not in fetched], fetched)
        missing = tuple(
            MissingGame(game.game_id, phase.code, game.date, game.teams, reasons[game.game_id])
            for game, phase in finished
            if game.game_id not in fetched
        )
        complete = [(game, phase) for game, phase in finished if game.game_id in fetched]
        plays = _table([(game, phase, fetched[game.game_id].timeline) for game, phase in complete])
        if complete:
            events = ((game.game_id, fetched[game.game_id].events) for game, _ in complete)
            with write_part(season_path(self.out, self.season, Content.EVENTS), self.parts) as part:
                pq.write_table(event_table(events), part, compression="zstd")
        return FetchResult(
            season=self.season,
            path=self._write(plays, missing),
            plays=plays,
            asked=len(fetched) - cached,
            not_over=len(listed) - len(finished),
            missing=missing,
            stopped=stopped,
        )

    def _request(self, games: Sequence[ListedGame], fetched: dict[str, FetchedGame]) -> tuple[str, dict[str, str]]:
        """Fetch games into `fetched`.

        Returns:
            Why the fetch stopped early ("" if it did not), and by game id the reason of each failure.
        """
        reasons = {game.game_id: game.fault or "not requested: the service had stopped responding" for game in games}
        in_a_row = 0
        for game in games:
            if not game.fault:
                try:
                    received = self.client.call(partial(fetch_game, self.stats, game))
                except (RetriesExhausted, IncompleteGame) as error:
                    reasons[game.game_id] = str(error)
                    in_a_row = in_a_row + 1 if isinstance(error, RetriesExhausted) else 0
                except FetchStopped as stopped:
                    return str(stopped), reasons
                else:
                    self.cache.keep(game.game_id, received)
                    fetched[game.game_id] = received
                    in_a_row = 0
            if game.game_id not in fetched:
                self.observer.say(f"{game.game_id} {game.teams}, {game.date}: {reasons[game.game_id]}")
            self.observer.done(self.name)
            if in_a_row == _MAX_FAILURES_IN_A_ROW:
                return f"{self.name}: no valid response for {in_a_row} games in a row; try again later", reasons
        return "", reasons

    def _write(self, plays: pa.Table, missing: Sequence[MissingGame]) -> Path | None:
        path = season_path(self.out, self.season) if len(plays) else None
        if path is not None:
            with write_part(path, self.parts) as part:
                pq.write_table(plays, part, compression="zstd")
        listing = missing_path(self.out, self.season)
        if missing:
            with write_part(listing, self.parts) as part, part.open("w", encoding="utf-8", newline="") as file:
                rows = ([spreadsheet_cell(str(value)) for value in game] for game in missing)
                csv.writer(file, lineterminator="\n").writerows([MissingGame._fields, *rows])
        else:
            listing.unlink(missing_ok=True)
        return path


def _table(games: Sequence[tuple[ListedGame, Phase, ScoreTimeline]]) -> pa.Table:
    """Build a table of the games' plays, in the given order; see `plays_table`."""
    plays = plays_table(
        GameInFiles(
            game.game_id,
            phase.code,
            game.date,
            timeline.home,
            timeline.away,
            timeline.scores,
            neutral_site=game.is_neutral or None,
        )
        for game, phase, timeline in games
    )
    return plays.replace_schema_metadata(_SOURCE)
