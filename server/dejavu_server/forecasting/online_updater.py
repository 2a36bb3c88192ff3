"""Updates the models from the outcomes in the ledger: adapts intervals and advances team ratings.

The online state of a model is a pure fold over the outcomes up to a sequence number of the ledger. All workers, on any
machine, therefore give the same answer at the same sequence, which each forecast reports (calibration_sequence). A
corrected outcome replaces the original one at its first sequence, and a withdrawn one leaves the fold; later outcomes
are folded again from a snapshot before it. Issued forecasts do not change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from dejavu_common.clock import wait_until_set
from dejavu_common.failure_log import FailureLog
from dejavu_common.tasks import BackgroundTask
from dejavu_feed.game_ids import is_playoffs, season_of
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import rows
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.queries import learning
from dejavu_ledger.queries.learning import Newest, SettledGame
from dejavu_models.errors import DejavuError
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, OnlineState, RatedSchedule
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.forecasting.projection import Projection, Snapshot

POLL_SECONDS: Final = 1.0
"""Interval of the checks for outcomes without a notification of a commit."""

BURST_SECONDS: Final = 0.1
"""Minimum pause after each read: commits of other processes come in bursts, often without any outcome."""

MAX_PAUSE_SECONDS: Final = 10.0
"""Maximum pause after a read; learning a whole season again takes two or three seconds."""

_RETRY_SECONDS: Final = 2.0

_START_SECONDS: Final = 20.0
"""Maximum time that a worker's start waits for the first update."""

_log = structlog.get_logger(__name__)


def pause_after(seconds: float) -> float:
    """Return the pause after a read that took some seconds: four times as long, BURST_SECONDS to MAX_PAUSE_SECONDS.

    After a correction of an old outcome, all later outcomes are learned again. Corrections that come during the pause
    are learned together; until then forecasts report the earlier sequence.
    """
    return min(max(BURST_SECONDS, 4.0 * seconds), MAX_PAUSE_SECONDS)


def update_ratings(state: RatedSchedule, game: SettledGame) -> RatedSchedule:
    """Return the team ratings and the games played after an outcome; ignore all but finals of known teams."""
    season = season_of(game.game_id)
    if game.horizon is not Horizon.FINAL or not game.home_team or season is None:
        return state
    teams, is_of_playoffs = (game.home_team, game.away_team), is_playoffs(game.game_id)
    total, neutral = game.total_points, game.neutral_site
    players = rows.players_of(game.players)
    return state.after(GameResult(*teams, season, game.day, game.differential, is_of_playoffs, total, neutral, players))


def update_schedule(history: ScheduleHistory, game: SettledGame) -> ScheduleHistory:
    """Return the games played after an outcome; ignore all but finals of known teams."""
    if game.horizon is not Horizon.FINAL or not game.home_team:
        return history
    return history.after(game.day, game.home_team, game.away_team)


class OnlineProjection:
    """Online state computed from the outcomes of one ledger. Must be used by one thread at a time.

    If the ratings of a model cannot take in an outcome, they do not advance at all, on any worker; the ratings of other
    models still advance.

    Args:
        ratings: the ratings of each model version before the first outcome, each with its own schedule. A model that is
            added later needs, for every final, the schedule as of the day of that game.
        intervals: whether intervals adapt.

    Attributes:
        newest: sequences of the newest outcomes when the ledger was last read.
        history: identifies the ledger's outcomes up to these; see `learning.history`.
    """

    def __init__(self, ratings: Mapping[str, RatedSchedule], *, intervals: bool) -> None:
        self.newest = Newest(0, 0)
        self.history = learning.NOTHING_LEARNED
        self._intervals = (
            Projection(AdaptiveState(), lambda state, game: state.after(game.observations)) if intervals else None
        )
        self._ratings = {version: Projection(start, update_ratings) for version, start in ratings.items()}
        self._frozen = set[str]()  # versions whose ratings cannot take in an outcome
        # Apart from the ratings: it is the same for all models, and there may be no model yet.
        self._schedule = Projection(ScheduleHistory(), update_schedule)
        self._is_behind = False

    def add(self, version: str, ratings: RatedSchedule) -> None:
        """Take in a model version with its ratings before the first outcome; `read` folds in the outcomes."""
        self._ratings[version] = Projection(ratings, update_ratings)
        self._frozen.discard(version)
        self._is_behind = True

    def remove(self, version: str) -> None:
        """Drop the ratings of a model version; allowed while another thread reads."""
        self._ratings = {each: ratings for each, ratings in self._ratings.items() if each != version}

    def freeze(self, version: str, error: Exception) -> None:
        """Stop the ratings of a model version, which cannot take in an outcome, until an outcome is corrected."""
        if version in self._ratings:
            self._ratings[version].rewind(1)
        self._frozen.add(version)
        effect = "its forecasts use the ratings of its bundle"
        _log.error("learning_failed", model=version, error=str(error), effect=effect, exc_info=error)

    @property
    def sequence(self) -> int:
        """Sequence of the newest standing outcome included; 0 if none."""
        return self.newest.standing

    @property
    def intervals(self) -> AdaptiveState:
        """The current interval state."""
        return AdaptiveState() if self._intervals is None else self._intervals.current.state

    def rated(self, version: str) -> RatedSchedule | None:
        """Return ratings and schedule of a model version; None if its ratings do not advance."""
        projection = self._advancing.get(version)
        return None if projection is None else projection.current.state

    @property
    def schedule(self) -> ScheduleHistory:
        """The games of the season."""
        return self._schedule.current.state

    def read(self, connection: Connection) -> list[Snapshot[AdaptiveState]]:
        """Fold in new outcomes and corrections; return the interval snapshots to store."""
        with sql.snapshot(connection):
            newest = learning.newest(connection)
            if newest == self.newest and not self._is_behind:
                return []
            history = learning.history(connection, newest.reported)
            corrected = learning.corrected_since(connection, self.newest.reported)
            if corrected is not None:
                self._frozen.clear()  # the outcome may have been corrected
            ratings = self._advancing
            of_results: list[Projection[RatedSchedule] | Projection[ScheduleHistory]]
            of_results = [*ratings.values(), self._schedule]
            if corrected is not None:
                for projection in [*of_results, *([] if self._intervals is None else [self._intervals])]:
                    projection.rewind(corrected)
            if self._intervals is not None and not self._intervals.current.sequence:
                self._begin(connection, self._intervals, corrected or newest.reported + 1)
            # Ratings and schedules have no stored snapshots: read all outcomes for them, without the observations,
            # which are slow to read.
            after = min(projection.current.sequence for projection in of_results)
            games = learning.settled_games_after(connection, after)
            after = newest.reported if self._intervals is None else self._intervals.current.sequence
            observed_games = learning.settled_games_after(connection, after)
        for version, each in ratings.items():
            try:
                each.advance(games)
            except MemoryError:  # concerns only this worker, and only now: the outcomes are read again
                raise
            except Exception as error:  # a model's ratings may contain any numbers
                self.freeze(version, error)
        self._schedule.advance(games)
        snapshots = [] if self._intervals is None else self._intervals.advance(observed_games)
        self.newest, self.history, self._is_behind = newest, history, False
        return snapshots

    @property
    def _advancing(self) -> Mapping[str, Projection[RatedSchedule]]:
        return {version: ratings for version, ratings in self._ratings.items() if version not in self._frozen}

    @staticmethod
    def _begin(connection: Connection, intervals: Projection[AdaptiveState], before: int) -> None:
        """Continue from the newest snapshot before a sequence, if it is readable.

        Args:
            connection: a read connection.
            intervals: the state to continue from.
            before: the sequence.
        """
        stored = learning.read_snapshot(connection, before)
        if stored is None:
            return
        sequence, data = stored
        try:
            state = AdaptiveState.from_bytes(data)
        except ValueError as error:  # damaged or of another release; a mere cache: compute it again
            _log.warning("snapshot_unreadable", place=sequence, error=str(error), effect="more outcomes are read")
            return
        intervals.restore(Snapshot(sequence, learning.count(connection, sequence), state))


class OnlineUpdater:
    """Keeps the models of a worker up to date with the outcomes in the ledger.

    Args:
        ledger: the ledger.
        forecasters: the models.
        mode: adaptation mode; None to disable adaptation.
        committed: set by the ledger's owner after every commit that may have added more than forecasts.
    """

    def __init__(
        self,
        ledger: CurrentLedger,
        forecasters: Sequence[Forecaster],
        *,
        mode: AdaptationMode | None,
        committed: asyncio.Event | None = None,
    ) -> None:
        self._ledger = ledger
        self._forecasters = list(forecasters)
        self._changing = asyncio.Lock()  # held while a model is added or the outcomes are read
        self._mode = mode
        self._identity: store.Identity | None = None
        self._projection = self._initial_projection()
        self._applied: tuple[object, ...] | None = None
        self._committed = committed or asyncio.Event()
        self._newest = self._projection.newest  # of the applied outcomes: the projection is read in a thread
        self._attempted = asyncio.Event()
        self._failure_log = FailureLog(_log, failed="learning_failed", recovered="learning_recovered")
        self._task = BackgroundTask()
        self.history = self._projection.history
        """Identifies the applied outcomes: if it is equal on two servers, a model's answers on both are equal."""

    @property
    def sequence(self) -> int:
        """Sequence of the newest standing outcome included in the models; 0 if none."""
        return self._newest.standing

    @property
    def reported(self) -> int | None:
        """Sequence of the newest report included in the models; None if they do not learn."""
        return self._newest.reported if self._task.is_started else None

    async def start(self) -> None:
        """Apply the existing outcomes, then follow new ones in a task. Retries a ledger that can't be read."""
        self._task.start(self._run(), "online-updater")
        # Wait without cancelling: the reading thread would continue alongside the next one.
        await wait_until_set(self._attempted, _START_SECONDS)

    async def close(self) -> None:
        """Stop updating. Safe to call more than once."""
        await self._task.end()

    async def add(self, forecaster: Forecaster) -> None:
        """Take in a newly loaded model; give it the state that it would have if it had been there from the start.

        Raises:
            DejavuError: if the ledger can't be read at present; then the model is not taken in.
        """
        async with self._changing:
            self._forecasters.append(forecaster)
            self._projection.add(forecaster.version, forecaster.bundled_ratings)
            try:
                await self._update()
            except BaseException:
                self.remove(forecaster.version)
                raise

    def remove(self, version: str) -> None:
        """Stop updating a model, and drop its state."""
        self._applied = None  # it refers to the model, whose memory should be freed at once
        self._forecasters = [each for each in self._forecasters if each.version != version]
        self._projection.remove(version)

    async def update(self) -> None:
        """Read new outcomes, update the models and store snapshots.

        Raises:
            DejavuError: if the ledger can't be read or written at present.
        """
        async with self._changing:
            await self._update()

    async def _update(self) -> None:
        before = self._newest
        snapshots = await self._ledger().read(self._read)
        self._apply()
        if self._newest != before:
            _log.debug("learned", sequence=self.sequence)
        for snapshot in snapshots:
            write = partial(
                learning.write_snapshot,
                sequence=snapshot.sequence,
                state=snapshot.state.to_bytes(),
                read_at=self._projection.newest.reported,
            )
            await self._ledger().write(write)

    def _read(self, connection: Connection) -> list[Snapshot[AdaptiveState]]:
        identity = store.identity(connection)
        if identity != self._identity:  # first read, or the ledger was restored
            self._identity, self._projection = identity, self._initial_projection()
        return self._projection.read(connection)

    def _initial_projection(self) -> OnlineProjection:
        ratings = {each.version: each.bundled_ratings for each in self._forecasters}
        return OnlineProjection(ratings, intervals=self._mode is not None)

    def _apply(self) -> None:
        """Update the models, unless they are up to date: every commit leads here, and few commits have an outcome."""
        projection = self._projection
        state = projection, projection.newest, projection.history, tuple(self._forecasters)
        if state == self._applied:
            return
        for forecaster in self._forecasters:
            try:
                forecaster.update(self._state_of(forecaster))
            except MemoryError:
                raise
            except Exception as error:  # a model's ratings may contain any numbers
                projection.freeze(forecaster.version, error)
                forecaster.update(self._state_of(forecaster))
        self.history, self._newest = projection.history, projection.newest
        self._applied = state  # only now: a failed update is retried

    def _state_of(self, forecaster: Forecaster) -> OnlineState:
        projection = self._projection
        rated = projection.rated(forecaster.version)
        return OnlineState(
            sequence=projection.sequence,
            mode=self._mode,
            trackers=projection.intervals.of(forecaster.version),
            rated=rated or replace(forecaster.bundled_ratings, schedule=projection.schedule),
        )

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            wait = POLL_SECONDS if await self._try() else _RETRY_SECONDS
            self._attempted.set()
            await asyncio.sleep(pause_after(time.monotonic() - began))
            await wait_until_set(self._committed, wait)

    async def _try(self) -> bool:
        self._committed.clear()  # before reading, so that a later outcome triggers another read
        try:
            await self.update()
        except Exception as error:
            expected = isinstance(error, DejavuError)
            self._failure_log.failed(error, traceback=not expected, effect="forecasts use the previous online state")
            return False
        self._failure_log.succeeded()
        return True
