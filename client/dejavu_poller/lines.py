"""Lines of an evening's games: from a file and from the feed until tip-off, then that line for the rest of the game."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, NamedTuple

from dejavu.v1.forecast_pb2 import Forecast, MarginSource
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.game_service_pb2 import GameStatus as PublishedStatus
from dejavu_client.errors import DejavuClientError
from dejavu_client.logs import get_logger
from dejavu_feed.errors import DataError, FeedError, FeedUnavailable
from dejavu_feed.files.lines import Lines, read_lines
from dejavu_feed.lines import MAX_MARGIN, NO_LINE, TOTALS, Line, SidedLine
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller.enricher import Enricher
from dejavu_poller.events import Event, LineTaken
from dejavu_poller.inputs import ForecastInputs, GameLine
from dejavu_poller.reads import WatchedFile, read_in_thread
from dejavu_poller.watched_game import MAY_PASS, WatchedGame

LINES: Final = "lines"
"""Source of the faults of lines."""

FEED_SECONDS: Final = 60.0
"""Time between two reads of the odds, in seconds."""

_ODDS_BEFORE: Final = timedelta(hours=6)
"""Odds are used from this time before a game's scheduled start until the start."""

_MOST_GAMES: Final = 1_000
"""Maximum number of games, the newest ones, whose lines are kept: a hostile feed could begin games without end."""

_FILE_BYTES: Final = 5_000_000
"""Maximum size of the file of lines; the lines of a season take less than 200 KB as CSV."""

_SOURCES: Final[Mapping[Literal["feed", "file"], MarginSource.ValueType]] = {
    "feed": MarginSource.MARGIN_SOURCE_FEED,
    "file": MarginSource.MARGIN_SOURCE_FILE,
}

log = get_logger()


class _Known(NamedTuple):
    """Lines of a scheduled game: the newest of each source, kept even if its row or odds disappear."""

    of_file: GameLine | None = None
    of_feed: GameLine | None = None

    @property
    def line(self) -> GameLine | None:
        of_file, of_feed = self
        if of_file is None or of_feed is None:
            return of_file or of_feed
        return of_file if of_file.margin is not None else replace(of_feed, total=of_file.total)


class GameLines(Enricher):
    """Lines of games: the newest line of each until the game starts, then that line for the rest of the game.

    The file has priority over the feed. Odds of the feed count until the scheduled start: later odds can reflect the
    game itself. If a game had started when it was first seen, or another poller led at its tip-off, the line of the
    game that is published, or the lack of one, has priority.

    Args:
        now: wall clock, timezone-aware.
        file: a table of lines of up to 5 MB, see `read_lines`, read again whenever it changes; None: none.
        odds: reads the odds of the feed by game id, and raises `FeedError`; None: they are not read.
        published: returns the published games, with the lines of earlier pollers; None: there are none.

    Attributes:
        taken: the line with which each game is forecast, by id, from its first forecast on; None if it has none.
    """

    source = LINES

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        file: Path | None = None,
        odds: Callable[[], Mapping[str, SidedLine]] | None = None,
        published: Callable[[], Awaitable[Iterable[Game]]] | None = None,
    ) -> None:
        self.taken: dict[str, GameLine | None] = {}
        self._now = now
        self._file = None if file is None else WatchedFile(file, _lines_of)
        self._odds, self._published = odds, published
        self._of_file, self._file_time = Lines(), now()
        self._of_feed: Mapping[str, SidedLine] = {}
        self._feed_time: datetime | None = None
        self._next_odds: datetime | None = None
        self._waiting = True
        self._file_read = asyncio.Event()
        self._problems: dict[str, str] = {}
        self._of_others: set[str] = set()
        self._before: dict[str, _Known] = {}  # lines of scheduled games
        self._open: dict[str, GameLine | None] = {}  # of games that have started, unless another one is published
        self._frozen: dict[str, GameLine | None] = {}

    @property
    def faults(self) -> frozenset[str]:
        """Sources that could not be read (their last lines stay in force), skipped rows, and lines of other teams."""
        return frozenset((*self._problems.values(), *self._of_others))

    async def read(self) -> None:
        """Read the sources that are due."""
        for name, read in (("file", self._read_file), ("odds", self._read_odds)):
            try:
                if await read():
                    self._problems.pop(name, None)
            except FeedError as error:
                self._problems[name] = f"{error}; lines read before stay in force"
            finally:
                self._file_read.set()

    async def _read_file(self) -> bool:
        """Read the file if it has changed since it was last read; return True."""
        if self._file is not None and (changed := await self._file.changed()) is not None:
            found = changed.value
            self._of_file, self._file_time = found, self._now()
            self._problems.pop("rows", None)
            if found.skipped:
                self._problems["rows"] = found.skipped
        return True

    async def _read_odds(self) -> bool:
        """Read the odds of the feed if they are due; return whether they were read, or no game waits for them."""
        now = self._now()
        if self._odds is None or not self._waiting:
            return True
        if self._next_odds is not None and now < self._next_odds:
            return False
        self._next_odds = now + timedelta(seconds=FEED_SECONDS)
        try:
            lines = await read_in_thread(self._odds)
        except FeedUnavailable as error:
            if self._feed_time is not None:
                since = self._feed_time.astimezone().strftime("%H:%M")
                raise FeedUnavailable(f"the odds of {since} are the last ones: {error}") from error
            log.info("poll.no_odds", reason=str(error))  # often there are none; `LineTaken` reports each game's line
        else:
            self._of_feed, self._feed_time = lines, self._now()
        return True

    async def follow(self, games: Sequence[GameState], *, leads: bool = True) -> None:
        """Update the lines of scheduled games, and freeze those of games that have started.

        Waits until the file was read once.
        """
        await self._file_read.wait()
        now = self._now()
        self._waiting = False
        self._of_others.clear()
        for game in games:
            game_id = game.game_id
            if game.status is GameStatus.SCHEDULED:
                if game_id in {*self._frozen, *self._open} and not _is_put_off(game, now):  # a glitch of the feed
                    continue
                self._frozen.pop(game_id, None)
                self._open.pop(game_id, None)
                self._waiting |= _odds_count(game, now)
                self._before[game_id] = self._newest(game, self._before.pop(game_id, _Known()))
            elif game_id not in self._frozen:
                known = self._before.pop(game_id, None)
                if known is not None and leads:
                    self._frozen[game_id] = known.line
                elif game_id not in self._open:
                    # For a game first seen after its tip-off, the feed's odds may be from after it.
                    self._open[game_id] = known.line if known else self._line_of_file(game, None)
        if leads and (started := [game for game in games if game.game_id in self._open]):
            await self._recover(started)
        for lines in (self._before, self._open, self._frozen):
            for game_id in list(lines)[:-_MOST_GAMES]:
                del lines[game_id]

    async def _recover(self, games: Sequence[GameState]) -> None:
        """Freeze the lines of started games that another poller may have forecast: as published, or else the own one.

        Does nothing while the server does not answer.
        """
        published: dict[str, Game] = {}
        try:
            if self._published is not None:
                published = {each.game_id: each for each in await self._published()}
        except MAY_PASS as error:
            log.info("poll.lines_not_recovered", reason=str(error))
            return
        except DejavuClientError as error:  # a server without published games
            log.info("poll.no_published_lines", reason=str(error))
        for game in games:
            own, state = self._open.pop(game.game_id), published.get(game.game_id)
            begun = state is not None and state.status in (
                PublishedStatus.GAME_STATUS_LIVE,
                PublishedStatus.GAME_STATUS_FINAL,
            )
            self._frozen[game.game_id] = _published_line(state, game) if state is not None and begun else own

    async def enrich(self, game: WatchedGame, minutes: Sequence[int], inputs: ForecastInputs) -> None:
        """Add the line of a game."""
        inputs.line = self.of(game.state.game_id)

    async def answered(
        self, game: WatchedGame, inputs: ForecastInputs, answers: Sequence[Forecast | DejavuClientError]
    ) -> Iterable[Event]:
        """Report the line of a game before its first forecast of a minute, or the source used without a line."""
        made = [each for each in answers if isinstance(each, Forecast) and not each.HasField("moment")]
        if not made:
            return ()
        is_told = game.state.game_id in self.taken
        self.taken[game.state.game_id] = inputs.line
        return () if is_told else (LineTaken(game.state, inputs.line, made[0].HasField("expected_margin")),)

    def of(self, game_id: str) -> GameLine | None:
        """Return the line of a game that has started; None if it has none."""
        return self._frozen.get(game_id)

    def newest(self, game_id: str) -> GameLine | None:
        """Return the line of a game, before its tip-off the newest one; None if it has none."""
        known = self._before.get(game_id)
        return self.of(game_id) if known is None else known.line

    def is_open(self, game_id: str) -> bool:
        """Return whether the line of a started game is still to be read from its published state, which must stay."""
        return game_id in self._open

    def forget(self, game_id: str) -> None:
        """Forget a game that is not followed any more."""
        for lines in (self._before, self._open, self._frozen, self.taken):
            lines.pop(game_id, None)

    def _newest(self, game: GameState, before: _Known) -> _Known:
        """Return the lines of a game before its tip-off; of the feed, only one from before its scheduled start."""
        return _Known(self._line_of_file(game, before.of_file), self._line_of_feed(game) or before.of_feed)

    def _line_of_file(self, game: GameState, before: GameLine | None) -> GameLine | None:
        """Return the line of a game in the file: None if its row has no numbers, `before` if it has no row."""
        if self._file is not None and (others := self._of_file.of_others(game.game_id, game.home, game.away)):
            self._of_others.add(f"{self._file.path}: {others}")
        line = self._of_file.of(game.game_id, game.date, game.home, game.away)
        if line is None:
            return before
        return None if line == NO_LINE else GameLine(line.margin, line.total, "file", self._file_time)

    def _line_of_feed(self, game: GameState) -> GameLine | None:
        odds, time = self._of_feed.get(game.game_id), self._feed_time
        if odds is None or time is None or not _odds_count(game, time):
            return None
        line = odds.of(game.home, game.away)
        if line is None:
            teams = odds.teams_instead_of(game.home, game.away)
            self._of_others.add(f"the odds of game {game.game_id} are of {teams}; they are not used")
            return None
        return GameLine(line.margin, line.total, "feed", time)


def _odds_count(game: GameState, time: datetime) -> bool:
    """Return whether odds of this time count: they are from shortly before the game."""
    return game.tip_off is None or game.tip_off - _ODDS_BEFORE <= time <= game.tip_off


def _is_put_off(game: GameState, now: datetime) -> bool:
    """Return whether a game that had started was postponed."""
    return game.tip_off is not None and game.tip_off > now


def _lines_of(path: Path) -> Lines:
    """Read a file of lines.

    Raises:
        DataError: see `read_lines`; also if the file has no lines, for example while it is being written.
    """
    lines = read_lines(path, _FILE_BYTES)
    if not lines.rows:
        raise DataError(lines.skipped or f"{path} has no lines")
    return lines


def put_line(state: Game, line: GameLine) -> None:
    """Write a line into the state of its game, from which `_published_line` reads it."""
    if line.total is not None:
        state.pregame_total = line.total
    if line.margin is not None:
        state.pregame_margin = line.margin
        if line.source != "published":
            state.margin_source = _SOURCES[line.source]
            state.margin_time.FromDatetime(line.time)


def _published_line(state: Game, game: GameState) -> GameLine | None:
    """Return the line of a published game with the sides of the scoreboard; None if it has none that counts."""
    margin = state.pregame_margin if state.HasField("pregame_margin") else None
    total = state.pregame_total if state.HasField("pregame_total") else None
    line = SidedLine(Line(margin, total), state.home_team, state.away_team).of(game.home, game.away)
    if line is None or line == NO_LINE:
        return None
    is_sound = (margin is None or abs(margin) <= MAX_MARGIN) and (total is None or TOTALS[0] <= total <= TOTALS[1])
    if not is_sound:
        return None
    source = next((name for name, value in _SOURCES.items() if value == state.margin_source), None)
    if source is None or not state.HasField("margin_time"):
        return GameLine(line.margin, line.total, "published", state.observed_time.ToDatetime(tzinfo=UTC))
    return GameLine(line.margin, line.total, source, state.margin_time.ToDatetime(tzinfo=UTC))
