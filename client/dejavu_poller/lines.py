"""Lines of an evening's games: from a file and from the feed until tip-off, then frozen."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from dejavu.v1.forecast_pb2 import (
    MARGIN_SOURCE_FEED,
    MARGIN_SOURCE_FILE,
    MARGIN_SOURCE_RATINGS,
    MARGIN_SOURCE_UNSPECIFIED,
    Forecast,
)
from dejavu_client.logs import get_logger
from dejavu_common.files import read_regular, write_atomic
from dejavu_feed.errors import DataError, FeedError, FeedUnavailable
from dejavu_feed.files.lines import Lines, read_lines
from dejavu_feed.lines import MAX_MARGIN, NO_LINE, TOTALS, SidedLine
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller.reads import read_in_thread
from dejavu_poller.watched_file import WatchedFile

FEED_SECONDS: Final = 60.0
"""Time between two reads of the odds, in seconds."""

_ODDS_BEFORE: Final = timedelta(hours=6)
"""Odds are used from this time before a game's scheduled start until the start."""

_KEPT: Final = timedelta(days=2)
"""Time for which a frozen line is kept."""

_KEPT_GAMES: Final = 1_000
"""Maximum number of games, the newest ones, whose lines are kept: a hostile feed could begin games without end."""

_FILE_BYTES: Final = 5_000_000
"""Maximum size of the file of lines; the lines of a season take less than 200 KB as CSV."""

_KEPT_BYTES: Final = 1_000_000
"""Maximum size of the file of kept lines; each game takes up to 200 bytes."""

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


class _Frozen(NamedTuple):
    """Line of a game that has started.

    Attributes:
        line: the line; None if the game has none.
        at: when it was frozen.
        known: whether this poller knew it before tip-off, and led then; otherwise a recorded line replaces it.
    """

    line: GameLine | None
    at: datetime
    known: bool = True


class GameLines:
    """Lines of games: the newest line of each until the game starts, then that line for the rest of the game.

    The file has priority over the feed. Odds of the feed count until the scheduled start: later odds can reflect the
    game itself. If a game had started when it was first seen, or another poller led at its tip-off, a line from `kept`
    or from recorded forecasts (`restore`) has priority.

    Args:
        now: wall clock, timezone-aware.
        file: a table of lines of up to 5 MB, see `read_lines`, read again whenever it changes; None: none.
        odds: reads the odds of the feed by game id, and raises `FeedError`; None: they are not read.
        kept: file in which frozen lines are kept across restarts; None: they are not.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        file: Path | None = None,
        odds: Callable[[], Mapping[str, SidedLine]] | None = None,
        kept: Path | None = None,
    ) -> None:
        self._now = now
        self._file = None if file is None else WatchedFile(file, _lines_of)
        self._odds, self._kept = odds, kept
        self._of_file, self._file_time = Lines(), now()
        self._of_feed: Mapping[str, SidedLine] = {}
        self._feed_time: datetime | None = None
        self._next_odds: datetime | None = None
        self._waiting = True
        self._file_read = asyncio.Event()
        self._faults: dict[str, str] = {}
        self._of_others: set[str] = set()
        self._before: dict[str, _Known] = {}
        self._frozen: dict[str, _Frozen] = {} if kept is None else _read_kept(kept, now())

    async def read(self) -> frozenset[str]:
        """Read the sources that are due; return the problems, as texts.

        Problems are sources that could not be read (their last lines stay in force), skipped rows of the file, and rows
        and odds that are not used because the game with their id has other teams. Calls must not overlap.
        """
        for name, read in (("file", self._read_file), ("odds", self._read_odds)):
            try:
                if await read():
                    self._faults.pop(name, None)
            except FeedError as error:
                self._faults[name] = f"{error}; lines read before stay in force"
            finally:
                self._file_read.set()
        return frozenset((*self._faults.values(), *self._of_others))

    async def _read_file(self) -> bool:
        """Read the file if it has changed since it was last read or refused; return whether it was read."""
        if self._file is None:
            return False
        changed = await self._file.changed()
        if changed is None:
            return False
        found = changed.value
        self._of_file, self._file_time = found, self._now()
        self._faults.pop("rows", None)
        if found.skipped:
            self._faults["rows"] = found.skipped
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

    async def follow(self, games: Iterable[GameState], *, leads: bool = True) -> None:
        """Update the lines of the scheduled games on the scoreboard, and freeze those of games that have started.

        Waits until the file was read once.

        Args:
            games: the games of the scoreboard.
            leads: whether this poller forecasts them; otherwise the line of the poller that does is recorded.
        """
        await self._file_read.wait()
        now, changed = self._now(), False
        self._waiting = False
        self._of_others.clear()
        for game in games:
            frozen = self._frozen.get(game.game_id)
            if frozen is not None and not _is_put_off(game, frozen.at):
                continue
            self._frozen.pop(game.game_id, None)
            if game.status is GameStatus.SCHEDULED:
                self._waiting |= _odds_count(game, now)
                newest = self._newest(game, self._before.pop(game.game_id, _Known()))
                self._before[game.game_id] = newest  # now last in the order of the games
                continue
            # For a game first seen after its tip-off, the feed's odds may be from after it.
            seen = game.game_id in self._before
            line = self._before.pop(game.game_id).line if seen else self._line_of_file(game, None)
            self._frozen[game.game_id] = _Frozen(line, now, seen and leads)
            changed = True
        self._before = dict(list(self._before.items())[-_KEPT_GAMES:])
        if changed:
            await self._keep()

    def of(self, game_id: str) -> GameLine | None:
        """Return the line of a game that has started; None if it has none."""
        frozen = self._frozen.get(game_id)
        return None if frozen is None else frozen.line

    def newest(self, game_id: str) -> GameLine | None:
        """Return the line of a game, before its tip-off the newest one; None if it has none."""
        if game_id in self._frozen:
            return self.of(game_id)
        known = self._before.get(game_id)
        return None if known is None else known.line

    async def restore(self, game: GameState, forecasts: Iterable[Forecast]) -> None:
        """Take over the line, or the lack of one, that most of the recorded forecasts of a game have.

        Any caller that is allowed to record can record any line; a majority limits this, because `forecasts` has only
        the newest forecast of each minute. A line that this poller knew before tip-off, and led with, stays.
        """
        if game.game_id in self._frozen and self._frozen[game.game_id].known:
            return
        now = self._now()
        lines = Counter(_recorded_lines(forecasts, game, now))
        if lines:
            [(line, _)] = lines.most_common(1)
            self._frozen[game.game_id] = _Frozen(line, now)
            await self._keep()

    def forget(self, game_id: str) -> None:
        """Forget a game that is not followed any more."""
        self._frozen.pop(game_id, None)
        self._before.pop(game_id, None)

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

    async def _keep(self) -> None:
        """Forget old lines, and write the others to the file, beside those of other pollers that use it."""
        now = self._now()
        self._frozen = _newest_frozen(self._frozen, now)
        if self._kept is None:
            return
        kept, own = self._kept, dict(self._frozen)
        try:
            await read_in_thread(lambda: _write_kept(kept, own, now))
        except (OSError, FeedUnavailable) as error:
            log.warning("poll.lines_not_kept", reason=str(error))


def _odds_count(game: GameState, time: datetime) -> bool:
    """Return whether odds of this time count: they are from shortly before the game."""
    return game.tip_off is None or game.tip_off - _ODDS_BEFORE <= time <= game.tip_off


def _is_put_off(game: GameState, frozen: datetime) -> bool:
    """Return whether a game with a frozen line was postponed; a glitch of the feed does not change its start."""
    return game.status is GameStatus.SCHEDULED and game.tip_off is not None and game.tip_off > frozen


def _lines_of(path: Path) -> Lines:
    """Read a file of lines.

    Raises:
        DataError: see `read_lines`; also if the file has no lines, for example while it is being written.
    """
    lines = read_lines(path, _FILE_BYTES)
    if not lines.rows:
        raise DataError(lines.skipped or f"{path} has no lines")
    return lines


def _recorded_lines(forecasts: Iterable[Forecast], game: GameState, now: datetime) -> Iterator[GameLine | None]:
    """Yield the line of each recorded forecast, None for one without; leave out those that no poller would request."""
    for forecast in forecasts:
        source = _SOURCES.get(forecast.margin_source)
        total = forecast.pregame_total if forecast.HasField("pregame_total") else None
        if source is not None and forecast.HasField("margin_time"):
            line = GameLine(forecast.expected_margin, total, source, forecast.margin_time.ToDatetime(tzinfo=UTC))
        elif forecast.margin_source not in (MARGIN_SOURCE_UNSPECIFIED, MARGIN_SOURCE_RATINGS):
            continue
        elif total is None:
            yield None
            continue
        else:
            line = GameLine(None, total, "file", now)  # only a file has totals without margins
        if _is_sound(line) and (source != "feed" or _odds_count(game, line.time)):
            yield line


def _is_sound(line: GameLine) -> bool:
    """Return whether the numbers of a line are within the bounds of `read_lines`."""
    margin, total = line.margin, line.total
    return (margin is None or abs(margin) <= MAX_MARGIN) and (total is None or TOTALS[0] <= total <= TOTALS[1])


def _write_kept(path: Path, own: Mapping[str, _Frozen], now: datetime) -> None:
    kept = _read_kept(path, now)
    # A standby poller that uses the same file does not replace the leader's line.
    unknown = {game_id for game_id, each in own.items() if not each.known and game_id in kept and kept[game_id].known}
    lines = _newest_frozen({**kept, **{game_id: each for game_id, each in own.items() if game_id not in unknown}}, now)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({game_id: _as_json(each) for game_id, each in lines.items()}).encode())


def _newest_frozen(lines: Mapping[str, _Frozen], now: datetime) -> dict[str, _Frozen]:
    """Return the lines to keep: recent ones, and only the newest if there are too many."""
    recent = [(game_id, each) for game_id, each in lines.items() if abs(now - each.at) < _KEPT]
    return dict(sorted(recent, key=lambda item: item[1].at)[-_KEPT_GAMES:])


def _as_json(frozen: _Frozen) -> dict[str, Any]:
    line, fields = frozen.line, None
    if line is not None:
        fields = {"margin": line.margin, "total": line.total, "source": line.source, "time": line.time.isoformat()}
    return {"at": frozen.at.isoformat(), "line": fields, "known": frozen.known}


def _read_kept(path: Path, now: datetime) -> dict[str, _Frozen]:
    """Return the lines that are kept in a file, without old ones; none if there is no such file, or it is damaged."""
    try:
        kept: dict[str, dict[str, Any]] = json.loads(read_regular(path, _KEPT_BYTES))
        lines = {
            game_id: _Frozen(_kept_line(of["line"]), _kept_time(of["at"]), bool(of.get("known", True)))
            for game_id, of in kept.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        log.warning("poll.kept_lines_unreadable", reason=str(error))
        return {}
    return _newest_frozen(lines, now)


def _kept_line(value: dict[str, Any] | None) -> GameLine | None:
    """Return a line of the file.

    Raises:
        ValueError, TypeError, LookupError, AttributeError, ArithmeticError: if it is not one.
    """
    if value is None:
        return None
    margin, total = (None if value[name] is None else float(value[name]) for name in ("margin", "total"))
    line = GameLine(margin, total, value["source"], _kept_time(value["time"]))
    if line.source not in _SOURCES.values() or not _is_sound(line) or (margin is None and total is None):
        raise ValueError(f"{value} is no line")
    return line


def _kept_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return time
