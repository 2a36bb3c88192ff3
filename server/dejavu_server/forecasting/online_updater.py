"""Has the models learn from the outcomes in the ledger: intervals adapt, and the teams' ratings advance.

What a model has learned is a pure fold over the outcomes up to a place in the ledger, so that every worker, on whatever
machine, answers alike at the same place; a forecast tells the place (calibration_sequence). A corrected outcome is put
in where it was first reported, and what came after is folded anew from a point before it. Forecasts made stand.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import structlog
from sqlalchemy import Connection

from dejavu_feed.names import season_of
from dejavu_models.errors import DejavuError
from dejavu_models.forecaster import Forecaster
from dejavu_models.online_state import GameResult, LiveRatings, OnlineState
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import AdaptationMethod, AdaptiveState
from dejavu_server.ledger.database import store
from dejavu_server.ledger.queries import learning
from dejavu_server.ledger.queries.learning import INTERVALS, SettledGame
from dejavu_server.observability.failure_log import FailureLog

_T = TypeVar("_T")

SNAPSHOT_EVERY: Final = 50
"""Outcomes between two points to go back to."""

SNAPSHOTS_KEPT: Final = 20
"""How many such points are kept in memory: corrections are nearly always of the last days."""

POLL_SECONDS: Final = 30.0
"""How often to look for outcomes without having heard of one; sooner after a failure."""

_RETRY_SECONDS: Final = 2.0

_START_SECONDS: Final = 20.0
"""How long a worker's start waits until all there is was learned."""

_log = structlog.get_logger(__name__)


class Records(Protocol):
    """What learning needs of the ledger."""

    async def read(self, function: Callable[[Connection], _T]) -> _T:
        """What a function reads."""

    async def write(self, function: Callable[[Connection], _T]) -> _T:
        """What a function writes, in a transaction of its own."""


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[_T]):
    """A state of a fold.

    Attributes:
        place: the last outcome's that went into it.
        count: how many did.
    """

    sequence: int
    count: int
    state: _T


class Projection(Generic[_T]):
    """A pure fold over outcomes that can go back a while.

    Args:
        start: the state before the first outcome.
        step: the state after one more.
    """

    def __init__(self, start: _T, step: Callable[[_T, SettledGame], _T]) -> None:
        self._step = step
        self._points = [Snapshot(0, 0, start)]
        self._now = self._points[0]

    @property
    def now(self) -> Snapshot[_T]:
        """The state as it is."""
        return self._now

    def begin_at(self, point: Snapshot[_T]) -> None:
        """Goes on from a point that somebody else folded up to."""
        self._points.append(point)
        self._now = point

    def go_back(self, before: int) -> None:
        """Goes back to the newest point that nothing at or after a place went into."""
        self._points = [point for point in self._points if point.sequence < before]
        self._now = self._points[-1]

    def go_on(self, games: Sequence[SettledGame]) -> list[Snapshot[_T]]:
        """Folds in what follows; returns the points passed."""
        passed = []
        for game in games:
            self._now = Snapshot(game.sequence, self._now.count + 1, self._step(self._now.state, game))
            if self._now.count % SNAPSHOT_EVERY == 0:
                passed.append(self._now)
        self._points.extend(passed)
        del self._points[1:-SNAPSHOTS_KEPT]
        return passed


def update_intervals(state: AdaptiveState, game: SettledGame) -> AdaptiveState:
    """The state of the intervals after an outcome."""
    return state.after(game.observations)


def update_ratings(state: LiveRatings, game: SettledGame) -> LiveRatings:
    """The teams' ratings after an outcome; only finals of known teams and seasons count."""
    season = season_of(game.game_id)
    if game.horizon is not Horizon.FINAL or not game.home_team or season is None:
        return state
    return state.after(GameResult(game.home_team, game.away_team, season, game.day, game.differential))


def new_intervals() -> Projection[AdaptiveState]:
    """The fold of the intervals, before the first outcome."""
    return Projection(AdaptiveState(), update_intervals)


class OnlineProjection:
    """What the outcomes of one ledger have taught, as far as they were read. Used by one thread at a time.

    Args:
        ratings: the ratings of each model version before the first outcome.
        intervals: whether intervals are learned.
    """

    def __init__(self, ratings: Mapping[str, LiveRatings], *, intervals: bool) -> None:
        self.sequence = 0
        self._intervals = new_intervals() if intervals else None
        self._ratings = {version: Projection(start, update_ratings) for version, start in ratings.items()}

    @property
    def intervals(self) -> AdaptiveState:
        """The state of the intervals."""
        return AdaptiveState() if self._intervals is None else self._intervals.now.state

    def ratings(self, version: str) -> LiveRatings | None:
        """The ratings of a model version; None if they do not advance."""
        fold = self._ratings.get(version)
        return None if fold is None else fold.now.state

    def read(self, connection: Connection) -> list[Snapshot[AdaptiveState]]:
        """Learns what is new; returns points of the intervals worth a snapshot."""
        with store.snapshot_read(connection):
            newest = learning.newest(connection)
            if newest == self.sequence:
                return []
            folds: list[Projection[AdaptiveState] | Projection[LiveRatings]] = [*self._ratings.values()]
            if self._intervals is not None:
                folds.append(self._intervals)
            corrected = learning.corrected_since(connection, self.sequence)
            if corrected is not None:
                for fold in folds:
                    fold.go_back(corrected)
            if self._intervals is not None and not self._intervals.now.sequence:
                self._begin(connection, self._intervals, corrected or newest + 1)
            # Of ratings there is no snapshot: all outcomes are read for them, and so without what takes long.
            after = min((fold.now.sequence for fold in self._ratings.values()), default=newest)
            results = list(learning.settled_games_after(connection, after, lessons=False))
            after = newest if self._intervals is None else self._intervals.now.sequence
            lessons = list(learning.settled_games_after(connection, after))
        for fold in self._ratings.values():
            fold.go_on([game for game in results if game.sequence > fold.now.sequence])
        passed = [] if self._intervals is None else self._intervals.go_on(lessons)
        self.sequence = newest
        return passed

    @staticmethod
    def _begin(connection: Connection, intervals: Projection[AdaptiveState], before: int) -> None:
        found = learning.read_snapshot(connection, INTERVALS, before)
        if found is None:
            return
        place, kept = found
        try:
            state = AdaptiveState.from_bytes(kept)
        except ValueError as error:  # damaged, or of another release: it is a cache, which is made again
            _log.warning("snapshot_unreadable", place=place, error=str(error), effect="all outcomes are read anew")
            return
        intervals.begin_at(Snapshot(place, learning.count(connection, place), state))


class OnlineUpdater:
    """Keeps the models of a worker at what the ledger's outcomes have taught.

    Args:
        records: the ledger.
        forecasters: the models.
        mode: whether intervals follow; None: they do not adapt.
        method: how they adapt.
        carry_ratings: whether ratings advance.
    """

    def __init__(
        self,
        records: Records,
        forecasters: Sequence[Forecaster],
        *,
        mode: AdaptationMode | None,
        method: AdaptationMethod,
        carry_ratings: bool,
    ) -> None:
        self._records = records
        self._forecasters = forecasters
        self._mode = mode
        self._method = method
        self._carry_ratings = carry_ratings
        self._ledger: tuple[str, str] | None = None
        self._projection = self._nothing()
        self._news = asyncio.Event()
        self._tried = asyncio.Event()
        self._trouble = FailureLog(_log, failed="learning_failed", recovered="learning_recovered")
        self._task: asyncio.Task[None] | None = None

    @property
    def sequence(self) -> int:
        """The newest outcome that was learned from; 0: none."""
        return self._projection.sequence

    async def start(self) -> None:
        """Learns what there is, then goes on as outcomes come. A ledger that can't be read is tried again."""
        if self._mode is None and not self._carry_ratings:
            return
        self._task = asyncio.create_task(self._run(), name="learner")
        # Waited for, and not cancelled: the thread that reads would go on, beside the next one.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._tried.wait()

    def notice(self) -> None:
        """There is an outcome: to be called in the loop."""
        self._news.set()

    async def close(self) -> None:
        """Stops learning. May be called again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def update(self) -> None:
        """Learns what is new and hands it to the models.

        Raises:
            DejavuError: if the ledger can't be read at present.
        """
        before = self._projection.sequence
        passed = await self._records.read(self._read)
        self._apply()
        if self._projection.sequence != before:
            _log.debug("learned", sequence=self._projection.sequence)
        for point in passed:
            snapshot = partial(
                learning.write_snapshot,
                part=INTERVALS,
                place=point.sequence,
                state=point.state.to_bytes(),
                read_at=self._projection.sequence,
            )
            await self._records.write(snapshot)

    def _read(self, connection: Connection) -> list[Snapshot[AdaptiveState]]:
        identity = store.identity(connection)
        ledger = (identity.ledger_id, identity.epoch)
        if ledger != self._ledger:  # at first, or after a restore
            self._ledger, self._projection = ledger, self._nothing()
        return self._projection.read(connection)

    def _nothing(self) -> OnlineProjection:
        ratings = {each.version: LiveRatings.start(each.rating_filter) for each in self._forecasters}
        return OnlineProjection(ratings if self._carry_ratings else {}, intervals=self._mode is not None)

    def _apply(self) -> None:
        learned = self._projection
        for forecaster in self._forecasters:
            forecaster.update(
                OnlineState(
                    sequence=learned.sequence,
                    mode=self._mode,
                    method=self._method,
                    trackers=learned.intervals.of(forecaster.version),
                    ratings=learned.ratings(forecaster.version),
                )
            )

    async def _run(self) -> None:
        while True:
            wait = POLL_SECONDS if await self._try() else _RETRY_SECONDS
            self._tried.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _try(self) -> bool:
        self._news.clear()  # before reading: whatever comes from here on is looked for again
        try:
            await self.update()
        except DejavuError as error:
            self._trouble.failed(error, traceback=False, effect="forecasts go by what was learned before")
            return False
        except Exception as error:
            self._trouble.failed(error, effect="forecasts go by what was learned before")
            return False
        self._trouble.succeeded()
        return True
