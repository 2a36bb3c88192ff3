"""What a server counted: totals of workers, their sums over a server, and what was counted in its last minutes.

A name is one flat text, `METRIC|LABEL|…`, so that a supervisor can add what workers of another release count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict

WINDOW_SECONDS: Final = (60, 300, 900)
"""Lengths of the windows, in seconds."""

MARK_SECONDS: Final = 5.0
"""Interval at which totals are kept: a window is up to this much longer than its length."""

FEED_SECONDS: Final = 900.0
"""How long a report about a feed is kept."""

MAX_FEEDS: Final = 8
"""Most feeds whose reports are kept."""

Counts = Mapping[str, float]


class FeedReport(BaseModel):
    """How old a poller's data of a feed was.

    Attributes:
        reported: when it said so, in seconds of the machine's monotonic clock.
        read_age: seconds since the feed was last read with success.
        data_age: age of the oldest data of a game in play, in seconds; None without such a game.
        live_games: games in play.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    reported: float
    read_age: float
    data_age: float | None = None
    live_games: int = 0


class WorkerTotals(BaseModel):
    """What one worker counted since it started, and how it is; passed to the supervisor as JSON.

    Attributes:
        name: name of the worker.
        started: when it started, in seconds since 1970.
        versions: of the packages dejavu-forecast and grpcio and of Python, by name.
        counts: what only grows. Kept after the worker has ended.
        levels: states that add up over the workers that run.
        peaks: states of which the largest of the workers that run counts.
        latest: states that one worker determines; those of the youngest worker that has any count.
        feeds: the newest report about each feed, by its name.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    name: str
    started: float
    versions: dict[str, str]
    counts: dict[str, float]
    levels: dict[str, float] = {}
    peaks: dict[str, float] = {}
    latest: dict[str, float] = {}
    feeds: dict[str, FeedReport] = {}


class CountedWindow(BaseModel):
    """What was counted in a time.

    Attributes:
        length: length of the window, in seconds; 0: since the start.
        seconds: time that the counts are of.
        counts: what was counted; what did not grow is left out.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    length: int
    seconds: float
    counts: dict[str, float]


class RunningWorker(BaseModel):
    """A worker whose counts are in the totals of its server; the attributes are those of `WorkerTotals`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    started: float
    versions: dict[str, str]
    levels: dict[str, float]


class ServerTotals(BaseModel):
    """What all workers of a server counted.

    Attributes:
        server: identifies the run of the server.
        started: when the server started, in seconds since 1970.
        sampled: when this was summed, in seconds since 1970.
        monotonic: the same in seconds of the machine's monotonic clock.
        windows: by length as in WINDOW_SECONDS, then since the start.
        levels, peaks, latest: as in `WorkerTotals`, over the workers that run.
        feeds: the newest report about each feed, by its name.
        workers: those that run, oldest first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    server: str
    started: float
    sampled: float
    monotonic: float
    windows: list[CountedWindow]
    levels: dict[str, float]
    peaks: dict[str, float]
    latest: dict[str, float]
    feeds: dict[str, FeedReport] = {}
    workers: list[RunningWorker]


@dataclass(slots=True)
class TotalsHistory:
    """Sums the totals of a server's workers, and remembers enough of the sums to tell what happened lately.

    Attributes:
        server: identifies the run of the server.
        started: when it started, in seconds since 1970.
        clock: returns the time, in seconds of a clock that does not go back.
        wall_clock: returns the time, in seconds since 1970.
    """

    server: str
    started: float
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    _began: float = field(init=False)
    _ended: dict[str, float] = field(default_factory=dict, init=False)
    _feeds: dict[str, FeedReport] = field(default_factory=dict, init=False)
    _marks: deque[tuple[float, Counts]] = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._marks.append((self._began, {}))

    def keep_ended(self, worker: WorkerTotals) -> None:
        """Keeps what a worker counted that has ended. Call it once for each, and do not pass it to `sum` any more."""
        _add(self._ended, worker.counts)
        self._keep_feeds(worker)

    def sum(self, workers: Iterable[WorkerTotals]) -> ServerTotals:
        """Sums what the running workers and those that have ended counted."""
        now, running = self.clock(), sorted(workers, key=lambda worker: (worker.started, worker.name))
        counts = dict(self._ended)
        levels: dict[str, float] = {}
        peaks: dict[str, float] = {}
        latest: dict[str, float] = {}
        for worker in running:
            _add(counts, worker.counts)
            _add(levels, worker.levels)
            self._keep_feeds(worker)
            latest = worker.latest or latest
            for name, value in worker.peaks.items():
                peaks[name] = max(value, peaks.get(name, value))
        self._drop_old_feeds(now)
        windows = [self._window(length, now, counts) for length in WINDOW_SECONDS]
        windows.append(CountedWindow(length=0, seconds=now - self._began, counts=counts))
        self._mark(now, counts)
        return ServerTotals(
            server=self.server,
            started=self.started,
            sampled=self.wall_clock(),
            monotonic=now,
            windows=windows,
            levels=levels,
            peaks=peaks,
            latest=latest,
            feeds={name: self._feeds[name] for name in sorted(self._feeds)},
            workers=[RunningWorker(**worker.model_dump(include=set(RunningWorker.model_fields))) for worker in running],
        )

    def _keep_feeds(self, worker: WorkerTotals) -> None:
        """Keeps the newest report about each feed, also of a worker that has ended since."""
        for name, report in worker.feeds.items():
            known = self._feeds.get(name)
            if known is None or report.reported > known.reported:
                self._feeds[name] = report

    def _drop_old_feeds(self, now: float) -> None:
        """Keeps the newest MAX_FEEDS reports that are not too old: callers choose the names."""
        newest = sorted(self._feeds.items(), key=lambda named: named[1].reported)[-MAX_FEEDS:]
        self._feeds = {name: report for name, report in newest if now - report.reported < FEED_SECONDS}

    def _window(self, length: int, now: float, counts: Counts) -> CountedWindow:
        """Returns what was counted since the newest mark that is at least so old, or else since the oldest one."""
        since, before = self._marks[0]
        for at, marked in reversed(self._marks):
            if now - at >= length:
                since, before = at, marked
                break
        grown = {name: value - before.get(name, 0.0) for name, value in counts.items() if value != before.get(name)}
        return CountedWindow(length=length, seconds=now - since, counts=grown)

    def _mark(self, now: float, counts: Counts) -> None:
        if now - self._marks[-1][0] < MARK_SECONDS:
            return
        newest = self._marks[-1][1]
        self._marks.append((now, newest if newest == counts else counts))
        while len(self._marks) > 1 and now - self._marks[1][0] >= WINDOW_SECONDS[-1]:
            self._marks.popleft()


def _add(sums: dict[str, float], values: Counts) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value
