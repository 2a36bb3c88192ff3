"""Fetches seasons from the NBA's statistics, game by game, and finals from its lists of games; resumable after a kill.

The received plays are kept in fetched/ in the folder of the seasons. A later fetch requests only the games that are
not there, or whose result the NBA has corrected. Finals take four requests per season, and one per game on neutral
ground.

Requests have a rate limit, and retries with exponential backoff.
"""

from __future__ import annotations

import gzip
import json
import random
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import pyarrow as pa

from dejavu_common.clock import Backoff
from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError, FeedError, FeedUnavailable, IncompleteGame, MalformedFeed
from dejavu_feed.files.checked_games import GameInFiles
from dejavu_feed.game_ids import COMPETITIVE, CUP_FINAL, PLAYOFF_PHASES, season_of
from dejavu_feed.nba.stats_payloads import (
    ListedGame,
    ScoreTimeline,
    read_game_events,
    read_game_log,
    read_score_timeline,
)
from dejavu_feed.nba.stats_service import Stats
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data.games import season_name
from dejavu_trainer.data.plays import plays_table, season_path, write_season
from dejavu_trainer.execution import FETCH_LOCK, Progress, locked

T = TypeVar("T")


class FetchStopped(FeedError):
    """The service must not be called for now; games already fetched are kept."""


class RetriesExhausted(FeedError):
    """A request failed permanently or in every attempt; the message is the last error."""


_LONGEST_WAIT: Final = 60.0
"""Upper bound of a wait between two attempts, in seconds."""
_MAX_RETRY_AFTER: Final = 900.0
"""Largest Retry-After to wait for, in seconds; beyond it the fetch stops."""


class RetryingClient:
    """Runs requests one after the other, with rate limit and retries.

    The first request waits too: a fetch that was just killed may have sent one.

    Args:
        waiting: called before each retry, with the wait in seconds and the reason.
        spacing: minimum seconds between the end of one request and the start of the next.
        max_attempts: maximum attempts per request.
        first_wait: seconds before the second attempt; doubles with each further attempt.
        clock, sleep, chance: clock, sleep and random source, replaceable in tests.
    """

    def __init__(
        self,
        waiting: Callable[[float, str], object],
        *,
        spacing: float = 0.6,
        max_attempts: int = 5,
        first_wait: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._waiting = waiting
        self._spacing = spacing
        self._max_attempts = max_attempts
        self._first_wait = first_wait
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._last = clock()

    def call(self, request: Callable[[], T]) -> T:
        """Call a function that makes one request; retry after transient errors and malformed responses.

        Raises:
            RetriesExhausted: if every attempt failed, or a retry would not help.
            FetchStopped: if the service asks for a longer wait than a quarter of an hour.
            FeedError: any other error that the function raises.
        """
        backoff = Backoff(self._first_wait, _LONGEST_WAIT, chance=self._chance)
        for attempt in range(1, self._max_attempts + 1):
            self._pause(self._last + self._spacing - self._clock())
            try:
                return request()
            except (FeedUnavailable, MalformedFeed) as error:
                wait = self._wait(error, attempt, backoff.next())
                if wait is None:
                    raise RetriesExhausted(f"{error}, after {attempt} attempt{'s' * (attempt > 1)}") from error
                reason = str(error)
            finally:
                self._last = self._clock()
            self._waiting(wait, reason)
            self._pause(wait)
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)

    def _wait(self, error: FeedError, attempt: int, wait: float) -> float | None:
        """Return the wait after a failed attempt in seconds, at least `wait`; None if there is no further attempt."""
        retry_after = error.retry_after if isinstance(error, FeedUnavailable) else None
        if retry_after is not None and retry_after > _MAX_RETRY_AFTER:
            raise FetchStopped(f"{error}: the service asks to retry in {retry_after / 60:.0f} min") from error
        if attempt == self._max_attempts or (isinstance(error, FeedUnavailable) and not error.transient):
            return None
        return max(wait, retry_after or 0.0)


FIRST_SEASON: Final = 1997
"""First season for which the NBA has plays."""
_MAX_FAILURES_IN_A_ROW: Final = 10
"""Number of consecutive games without a valid response after which the fetch stops."""


class Phase(NamedTuple):
    """Part of a season: its code in the column `type`, its name in requests, and the first season that has it."""

    code: str
    nba_name: str
    first_season: int = FIRST_SEASON


_OF_THE_CUP: Final = Phase("RS", "IST", 2024)
PHASES: Final = (Phase("RS", "Regular Season"), _OF_THE_CUP, Phase("PI", "PlayIn", 2020), Phase("PO", "Playoffs"))


class NbaSeason:
    """Lists and plays of the games of a season from the NBA; the responses with plays are kept in a folder.

    Args:
        season: year in which the season ends.
        stats: the statistics service.
        client: sends the requests, with rate limit and retries.
        folder: folder of the kept responses of all seasons.
    """

    def __init__(self, season: int, stats: Stats, client: RetryingClient, folder: Path) -> None:
        self.season = season
        self.name = season_name(season)
        self._stats = stats
        self._client = client
        self._folder = folder / self.name

    def games(self) -> list[tuple[ListedGame, Phase]]:
        """Fetch the lists of all parts that the season has; return its games, sorted by date and id.

        Raises:
            FetchStopped: if one could not be fetched.
        """
        phases = [phase for phase in PHASES if self.season >= phase.first_season]
        games = ((game, phase) for phase in phases for game in self._list(phase))
        return sorted(games, key=lambda entry: (entry[0].date, entry[0].game_id))

    def _list(self, phase: Phase) -> tuple[ListedGame, ...]:
        def request() -> tuple[ListedGame, ...]:
            games = read_game_log(self._stats.game_log(self.name, phase.nba_name))
            if phase is _OF_THE_CUP:  # the other games of the Cup are of the regular season as well
                games = tuple(game for game in games if game.game_id.startswith(CUP_FINAL))
            if other := [game.game_id for game in games if season_of(game.game_id) != self.season]:
                raise MalformedFeed(f"holds game {other[0]} of another season")
            if other := [game.game_id for game in games if COMPETITIVE.get(game.game_id[:3]) != phase.code]:
                raise MalformedFeed(f"holds game {other[0]} of another part of the season")
            return games

        try:
            return self._client.call(request)
        except RetriesExhausted as error:
            message = f"{self.name}: the list of games, {phase.nba_name}, could not be fetched: {error}"
            raise FetchStopped(message) from error

    def kept(self, game: ListedGame) -> tuple[ScoreTimeline, object] | None:
        """Return the scores of a game from a kept response that fits its final score, and the response; else None."""
        try:
            payload = json.loads(gzip.decompress(self._path(game).read_bytes()))
            return read_score_timeline(payload, game), payload
        except (OSError, EOFError, zlib.error, ValueError, RecursionError, FeedError):
            return None

    def plays(self, game: ListedGame) -> tuple[ScoreTimeline, object]:
        """Return the scores of a game and the response that has them, which is requested if it is not kept.

        Raises:
            FeedError: if the service gives none, they are invalid, or they contradict the list.
        """

        def request() -> tuple[ScoreTimeline, object]:
            payload = self._stats.plays(game.game_id)
            return read_score_timeline(payload, game), payload

        kept = self.kept(game)
        if kept is None:
            kept = self._client.call(request)
            self._folder.mkdir(exist_ok=True)
            content = json.dumps(kept[1], separators=(",", ":")).encode()
            write_atomic(self._path(game), gzip.compress(content, mtime=0))
        return kept

    def _path(self, game: ListedGame) -> Path:
        return self._folder / f"{game.game_id}.json.gz"


@contextmanager
def exclusive_lock(out: Path) -> Iterator[Path]:
    """Lock the folder of the seasons for one fetch; yield the folder of the received plays.

    Raises:
        DataError: if another fetch is running there.
    """
    folder = out / "fetched"
    with locked(folder, FETCH_LOCK, DataError(f"{out}: another fetch is running there")):
        yield folder


@dataclass(frozen=True, slots=True)
class FetchResult:
    """Result of fetching a season.

    Attributes:
        season: year in which the season ends.
        plays: content of its file, which is not written if it is empty; see `dejavu_trainer.data.plays.plays_table`.
        not_over: number of listed games that are not finished.
        missing: finished games that could not be fetched, by date and id, each with the reason.
        stopped: why the fetch stopped early; "" if it did not.
    """

    season: int
    plays: pa.Table
    not_over: int
    missing: tuple[tuple[ListedGame, str], ...]
    stopped: str


def fetch(
    stats: Stats,
    seasons: Sequence[int],
    out: Path,
    client: RetryingClient,
    progress: Progress,
    say: Callable[[str], object],
    *,
    overwrite: bool = False,
) -> Iterator[FetchResult]:
    """Fetch seasons into a folder, one after the other, and yield the result of each once its files are written.

    The files hold all games, sorted by date and id. Equal responses give equal files, even if the fetch was killed and
    resumed.

    Args:
        stats: the statistics service.
        seasons: years in which the seasons end.
        out: folder of the seasons; created if it does not exist.
        client: sends the requests, with rate limit and retries.
        progress: is told the number of games of each season.
        say: called with a line about each game that could not be fetched.
        overwrite: whether to replace a season that was not fetched.

    Raises:
        DataError: if another fetch is running in the folder, a season has no finished game, or its file is not of a
            fetch.
        FetchStopped: if the list of a season's games could not be fetched, or the service has stopped responding. Games
            already fetched are kept.
        OSError: if a file cannot be written.
    """
    with exclusive_lock(out) as folder:
        for season in seasons:
            path = season_path(out, season)
            if path.exists() and not overwrite and not (folder / season_name(season)).exists():
                raise DataError(f"{path}: already exists and was not written by fetch; use --overwrite to replace it")
        for season in seasons:
            fetched = _fetch_season(NbaSeason(season, stats, client, folder), out, progress, say)
            yield fetched
            if fetched.stopped:
                raise FetchStopped(fetched.stopped)


def _fetch_season(nba: NbaSeason, out: Path, progress: Progress, say: Callable[[str], object]) -> FetchResult:
    listed = nba.games()
    finished = [(game, phase) for game, phase in listed if game.over]
    if not finished:
        raise DataError(f"{nba.name}: the NBA lists no finished game")
    games, missing = list[GameInFiles](), list[tuple[ListedGame, str]]()
    stopped, in_a_row = "", 0
    with progress.step(nba.name, len(finished)) as advance:
        for game, phase in finished:
            reason = game.fault
            if not reason:
                try:
                    found = nba.kept(game) if stopped else nba.plays(game)
                    if found is None:
                        missing.append((game, "not requested: the service had stopped responding"))
                    else:
                        games.append(_game(game, phase, *found))
                    in_a_row = 0
                except (RetriesExhausted, IncompleteGame) as error:
                    reason, in_a_row = str(error), in_a_row + 1 if isinstance(error, RetriesExhausted) else 0
                except FetchStopped as error:
                    reason = stopped = str(error)
            if reason:
                missing.append((game, reason))
                say(f"{game.game_id} {game.teams}, {game.date}: {reason}")
            if in_a_row == _MAX_FAILURES_IN_A_ROW:
                stopped = f"{nba.name}: no valid response for {in_a_row} games in a row; try again later"
            advance(1)
    plays = plays_table(games)
    if games:
        write_season(out, nba.season, plays, games)
    return FetchResult(nba.season, plays, len(listed) - len(finished), tuple(missing), stopped)


def _game(game: ListedGame, phase: Phase, timeline: ScoreTimeline, payload: object) -> GameInFiles:
    return GameInFiles(
        game.game_id,
        phase.code,
        game.date,
        timeline.home,
        timeline.away,
        timeline.scores,
        read_game_events(payload, timeline),
        neutral_site=game.is_neutral or None,
    )


def fetch_finals(
    stats: Stats,
    seasons: Iterable[int],
    today: date,
    folder: Path,
    client: RetryingClient,
    say: Callable[[str], object],
) -> tuple[list[GameResult], list[str]]:
    """Fetch the finals of seasons, up to the day before a game day: later games may be in progress.

    A list does not name the home team of a game on neutral ground; the game's plays do, so these are fetched too.

    Args:
        stats: the statistics service.
        seasons: years in which the seasons end, ascending.
        today: the game day.
        folder: folder for the received plays; created if it does not exist.
        client: sends the requests, with rate limit and retries.
        say: called with a line of progress after each season.

    Returns:
        The finals by date and id of the game; and the games without a usable result, each with the reason.

    Raises:
        DataError: if another fetch is running in the folder.
        FetchStopped: if a list could not be fetched.
        OSError: if a file cannot be written.
    """
    results, left_out = list[tuple[date, str, GameResult]](), list[str]()
    with exclusive_lock(folder) as kept:
        for season in seasons:
            nba, before = NbaSeason(season, stats, client, kept), len(results)
            for game, phase in nba.games():
                if game.date >= today:
                    continue
                try:
                    results.append((game.date, game.game_id, _result(game, phase, nba)))
                except (RetriesExhausted, IncompleteGame) as why:
                    left_out.append(f"{game.game_id} {game.teams}, {game.date}: {why}")
            say(f"{nba.name}: {len(results) - before:,} finals")
    return [result for *_, result in sorted(results)], left_out


def _result(game: ListedGame, phase: Phase, nba: NbaSeason) -> GameResult:
    if game.fault or not game.over:
        raise IncompleteGame(game.fault or "the list has no result of it")
    try:
        home = game.home or nba.plays(game)[0].home
    except (RetriesExhausted, IncompleteGame) as error:
        raise IncompleteGame(f"its home team is not known: {error}") from error
    (away,) = game.points.keys() - {home}
    return GameResult(
        home=home,
        away=away,
        season=nba.season,
        day=game.date,
        differential=game.points[home] - game.points[away],
        is_playoffs=phase.code in PLAYOFF_PHASES,
        total=sum(game.points.values()),
        neutral_site=game.is_neutral or None,
    )
