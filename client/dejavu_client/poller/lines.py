"""Lines of an evening's games: from a file and from the feed until tip-off, then frozen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_FEED, MARGIN_SOURCE_FILE, Forecast
from dejavu_client.logs import get_logger
from dejavu_client.poller.reads import read_in_thread
from dejavu_common.files import write_atomic
from dejavu_feed.errors import FeedError, FeedUnavailable
from dejavu_feed.files.lines import Lines, read_lines
from dejavu_feed.lines import NO_LINE, Line
from dejavu_feed.nba.live_payloads import GameState, GameStatus

FEED_SECONDS: Final = 60.0
"""Time between two reads of the odds, in seconds; they are not read while no game waits for its tip-off."""

_KEPT: Final = timedelta(days=2)
"""Time for which a frozen line is kept in the file."""

_SOURCES: Final[Mapping[int, Literal["feed", "file"]]] = {MARGIN_SOURCE_FEED: "feed", MARGIN_SOURCE_FILE: "file"}

log = get_logger()


@dataclass(frozen=True, slots=True)
class GameLine:
    """The line of a game.

    Attributes:
        margin: expected final differential, home − away, in points; None if only the total is known.
        total: expected final points of both teams together; None if it is not known.
        source: where it is from.
        time: when it was last read there, aware.
    """

    margin: float | None
    total: float | None
    source: Literal["feed", "file"]
    time: datetime

    def options(self) -> dict[str, Any]:
        """Return the options of a request for a forecast; see `PredictOptions`."""
        total = {} if self.total is None else {"pregame_total": self.total}
        if self.margin is None:
            return total
        return {**total, "pregame_margin": self.margin, "margin_source": self.source, "margin_time": self.time}


class GameLines:
    """Knows the line of each game: the newest one until the game is on, and that one from then on.

    A file comes first, then the feed. A game that was already on when it was first seen gets a line from the file, from
    a forecast recorded before (`restore`), or from `kept`, but not from the feed, whose odds follow the game.

    Args:
        now: wall clock, timezone-aware.
        file: a table of lines, see `read_lines`, read again whenever it changes; None: none.
        odds: reads the lines of the feed by game id, and raises `FeedError`; None: they are not read.
        kept: file in which frozen lines are kept across restarts; None: they are not.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        file: Path | None = None,
        odds: Callable[[], Mapping[str, Line]] | None = None,
        kept: Path | None = None,
    ) -> None:
        self._now = now
        self._file, self._odds, self._kept = file, odds, kept
        self._stamp: tuple[int, int] | None = None
        self._of_file, self._file_time = Lines(), now()
        self._of_feed: Mapping[str, Line] = {}
        self._feed_time: datetime | None = None
        self._next_odds: datetime | None = None
        self._waiting = True
        self._file_read = asyncio.Event()
        self._faults: dict[str, str] = {}
        self._before: dict[str, GameLine | None] = {}
        self._begun: set[str] = set()
        self._frozen: dict[str, GameLine | None] = {} if kept is None else _read_kept(kept, now())

    async def read(self) -> frozenset[str]:
        """Read the sources that are due; return why sources could not be read, whose last lines stay in force.

        Call it once at a time.
        """
        for name, read in (("file", self._read_file), ("odds", self._read_odds)):
            try:
                if await read():
                    self._faults.pop(name, None)
            except FeedError as error:
                self._faults[name] = f"{error}; the last lines, or else the ratings, are used"
            finally:
                self._file_read.set()
        return frozenset(self._faults.values())

    async def _read_file(self) -> bool:
        """Read the file if it has changed; return whether it has."""
        if self._file is None:
            return False
        path = self._file
        try:
            found = path.stat()
        except OSError:
            self._stamp = None
        else:
            if self._stamp == (found.st_mtime_ns, found.st_size):
                return False
            self._stamp = (found.st_mtime_ns, found.st_size)
        self._of_file = await read_in_thread(lambda: read_lines(path))
        self._file_time = self._now()
        return True

    async def _read_odds(self) -> bool:
        """Read the odds of the feed if they are due; return whether they are."""
        now = self._now()
        if self._odds is None or not self._waiting or (self._next_odds is not None and now < self._next_odds):
            return False
        self._next_odds = now + timedelta(seconds=FEED_SECONDS)
        try:
            self._of_feed = await read_in_thread(self._odds)
        except FeedUnavailable as error:  # often there are none; each game then says which line it has
            log.info("poll.no_odds", reason=str(error))
        else:
            self._feed_time = now
        return True

    async def follow(self, games: Iterable[GameState]) -> list[tuple[GameState, GameLine | None]]:
        """Note which games of the scoreboard are on; return those that just began, with their lines.

        Waits until the file was read once.
        """
        await self._file_read.wait()
        began, waiting = [], False
        for game in games:
            if game.status is GameStatus.SCHEDULED:
                # Odds that are read after this may be those of a game that is on.
                self._before[game.game_id] = self._line_of_file(game) or self._line_of_feed(game)
                waiting = True
            elif game.game_id not in self._begun:
                self._begun.add(game.game_id)
                if game.game_id not in self._frozen:
                    seen = game.game_id in self._before
                    self._freeze(game.game_id, self._before[game.game_id] if seen else self._line_of_file(game))
                began.append((game, self._frozen[game.game_id]))
        self._waiting = waiting
        return began

    def of(self, game_id: str) -> GameLine | None:
        """Return the line of a game that is on; None if it has none."""
        return self._frozen.get(game_id)

    def restore(self, game_id: str, forecasts: Iterable[Forecast]) -> None:
        """Take over the line of forecasts of a game that were recorded before this poller started, if they have one."""
        for forecast in forecasts:
            source = _SOURCES.get(forecast.margin_source)
            if source is not None and forecast.HasField("margin_time"):
                total = forecast.pregame_total if forecast.HasField("pregame_total") else None
                time = forecast.margin_time.ToDatetime(tzinfo=UTC)
                self._freeze(game_id, GameLine(forecast.expected_margin, total, source, time))
                return

    def forget(self, game_id: str) -> None:
        """Forget a game that is not followed any more."""
        self._frozen.pop(game_id, None)
        self._begun.discard(game_id)
        self._before.pop(game_id, None)

    def _line_of_file(self, game: GameState) -> GameLine | None:
        line = self._of_file.of(game.game_id, game.date, game.home, game.away)
        return None if line == NO_LINE else GameLine(line.margin, line.total, "file", self._file_time)

    def _line_of_feed(self, game: GameState) -> GameLine | None:
        line = self._of_feed.get(game.game_id, NO_LINE)
        if line == NO_LINE or self._feed_time is None:
            return None
        return GameLine(line.margin, line.total, "feed", self._feed_time)

    def _freeze(self, game_id: str, line: GameLine | None) -> None:
        if game_id in self._frozen and self._frozen[game_id] == line:
            return
        self._frozen[game_id] = line
        if self._kept is None:
            return
        lines = {
            each: {**asdict(of), "time": of.time.isoformat()} for each, of in self._frozen.items() if of is not None
        }
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._kept, json.dumps(lines).encode())
        except OSError as error:
            log.warning("poll.lines_not_kept", reason=str(error))


def _read_kept(path: Path, now: datetime) -> dict[str, GameLine | None]:
    """Return the lines that are kept in a file, without old ones; none if there is no such file, or it is damaged."""
    try:
        kept: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        lines = {
            game_id: GameLine(of["margin"], of["total"], of["source"], datetime.fromisoformat(of["time"]))
            for game_id, of in kept.items()
        }
        return {game_id: line for game_id, line in lines.items() if now - line.time < _KEPT}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("poll.kept_lines_unreadable", reason=str(error))
        return {}
