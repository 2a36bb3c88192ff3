"""Schedules a game's forecasts from its plays: due forecasts, missed minutes and outcomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu_client.errors import PASSING, DejavuClientError, FailedPreconditionError, InternalError
from dejavu_client.formatting import horizon_label
from dejavu_client.poller.capabilities import CapabilityCache, ModelCapabilities
from dejavu_client.poller.events import (
    Event,
    Fault,
    FaultKind,
    ForecastMissed,
    HorizonClosed,
    HorizonResult,
    ModelLimits,
    Prediction,
)
from dejavu_client.poller.history import load_recorded
from dejavu_client.poller.horizons import HORIZON_RULES, HorizonState, at_horizon
from dejavu_client.poller.predictor import OUTCOME_KNOWN, PredictionClient, request_forecasts
from dejavu_client.poller.watched_game import WatchedGame
from dejavu_feed.errors import StaleFeed
from dejavu_feed.nba.live_payloads import Play
from dejavu_feed.nba.progress import completed_at, completed_minutes, scores
from dejavu_feed.pattern import slots

_STALE_AFTER: Final = 120.0
"""Seconds past the earliest end of a horizon after which plays without that end count as stale. Until then, a timeout
or a review may have stopped the game clock."""


@dataclass(frozen=True, slots=True)
class DueForecast:
    """A forecast to request now.

    Attributes:
        state: the horizon to forecast.
        pattern: pattern of the newest minute.
        completed: time of the play that completed the pattern.
        late: seconds for which the horizon may already be over.
    """

    state: HorizonState
    pattern: tuple[int, ...]
    completed: datetime | None
    late: float

    @property
    def horizon(self) -> Horizon.ValueType:
        """The horizon to forecast."""
        return self.state.horizon


class ForecastScheduler:
    """Requests the forecasts of an evening's games and compares them with the outcomes.

    Args:
        client: requests the forecasts.
        minutes: for each horizon, the minutes after which to forecast it.
        emit: called with each event.
        now: wall clock, timezone-aware.

    Attributes:
        minutes: as given.
        limits: description of what the server's model does not support of these; "" if it supports all, or if unknown.
        latencies: seconds from the feed to the forecast, in order of the forecasts.
    """

    def __init__(
        self,
        client: PredictionClient,
        minutes: Mapping[Horizon.ValueType, range],
        emit: Callable[[Event], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self.minutes = minutes
        self.limits = ""
        self.latencies: list[float] = []
        self._client = client
        self._model = CapabilityCache(client, now)
        self._emit = emit
        self._now = now
        self._emitted: set[tuple[int, int]] = set()

    async def follow(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Requests due forecasts, marks missed minutes and compares forecasts with outcomes, by a game's plays.

        Raises:
            StaleFeed: if the plays are too old to forecast from.
        """
        for watched in game.horizons.values():
            # May become False again: the feed may show a period, or its end, too early.
            watched.result_known = watched.is_over_by_state(game.state) or watched.is_over_by_plays(plays)
        game.unanswered_minutes = ()
        answered = not game.history_attempts or await self._load_history(game, completed_minutes(plays))
        for watched in game.horizons.values():
            if watched.result_known:
                await self._mark_missed(game, watched, watched.rules.minutes)
        if answered and not game.played_out:
            await self._forecast_due(game, plays)
        for watched in game.horizons.values():
            if watched.result_known:
                await self._settle(game, watched, plays)

    async def close(self, game: WatchedGame, watched: HorizonState) -> None:
        """Closes a horizon that is over and whose plays are unknown."""
        watched.result_known = True
        await self._mark_missed(game, watched, watched.rules.minutes)

    async def _load_history(self, game: WatchedGame, completed: int) -> bool:
        """Loads forecasts made before this poller started, so that only minutes without a forecast count as missed.

        Returns:
            Whether to request forecasts from the server in this turn.
        """
        if all(completed <= watched.minutes.start for watched in game.horizons.values()):
            game.history_attempts = 0
            return True
        model = await self._capabilities(game)
        if model is None:
            game.unanswered_minutes = (completed,)
            return False
        game.history_attempts -= 1
        try:
            stored = await load_recorded(self._client, game.state.game_id, model.version)
        except (*PASSING, InternalError):
            # Retry in a later turn. Minutes reported as missed until then no longer count once forecasts are loaded.
            return True
        except DejavuClientError:  # a server without a track record
            stored = {}
        game.history_attempts = 0
        for horizon, watched in game.horizons.items():
            newest = None if watched.result_known else watched.minute(completed, model.of(horizon))
            watched.restore(stored.get(horizon, {}), newest)
        return True

    async def _forecast_due(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Requests due forecasts and reports the minutes that passed without one."""
        completed = completed_minutes(plays)
        still_open = [watched for watched in game.horizons.values() if not watched.result_known]
        if all(completed < watched.minutes.start for watched in still_open):
            return
        model = await self._capabilities(game)
        if model is None:
            game.unanswered_minutes = (completed,)
            return
        timeline, now = scores(plays), self._now()
        due: list[DueForecast] = []
        for watched in still_open:
            minute = watched.minute(completed, model.of(watched.horizon))
            if minute is None:
                continue
            pattern = slots(timeline, minute)
            if watched.due(pattern):
                due.append(DueForecast(watched, pattern, completed_at(plays, minute), late=watched.late(plays, now)))
        for watched in still_open:
            await self._mark_missed(game, watched, watched.minute(completed, model.of(watched.horizon)) or 0)
        in_time = [each for each in due if not each.late]
        if in_time:
            await self._forecast(game, in_time)
        for each in due:
            if each.late > _STALE_AFTER:
                over = f"the {horizon_label(each.horizon)} may be over, for {each.late:.0f} s"
                raise StaleFeed(f"by this machine's clock {over}: its plays are old")

    async def _capabilities(self, game: WatchedGame) -> ModelCapabilities | None:
        """Returns the model's capabilities; emits a fault and returns None if the server does not answer."""
        try:
            model = await self._model.get()
        except DejavuClientError as error:
            await self._unanswered(game, error)
            return None
        limits = model.unsupported(self.minutes)
        if limits != self.limits:
            self.limits = limits
            if limits:
                await self._emit(ModelLimits(model.version, limits))
        return model

    async def _forecast(self, game: WatchedGame, due: Sequence[DueForecast]) -> None:
        answers = await request_forecasts(self._client, game.state, [(each.horizon, each.pattern) for each in due])
        missing: DejavuClientError | None = None
        for each, answer in zip(due, answers, strict=True):
            if isinstance(answer, Forecast):
                await self._accept(game, each, answer)
            elif isinstance(answer, (*PASSING, InternalError)):  # a server error may be gone on the next attempt
                missing = answer
                game.unanswered_minutes = (*game.unanswered_minutes, len(each.pattern))
            else:
                await self._refused(game, each, answer)
        if missing is None:
            game.unanswered = 0
        else:
            await self._unanswered(game, missing)

    async def _unanswered(self, game: WatchedGame, error: DejavuClientError) -> None:
        game.failure = f"server: {error}"
        game.unanswered += 1
        reason = f"no forecast, will retry: {error}"
        await self._emit(Fault(game.state.game_id, reason, game.unanswered, kind=FaultKind.SERVER))

    async def _refused(self, game: WatchedGame, due: DueForecast, error: DejavuClientError) -> None:
        if error.reason == OUTCOME_KNOWN:
            await self._closed(game, due)
            return
        if isinstance(error, FailedPreconditionError):
            self._model.forget()
        due.state.refused, due.state.note = due.pattern, f"refused: {error}"
        reason = f"the server refused to forecast the {horizon_label(due.horizon)}: {error}"
        await self._emit(Fault(game.state.game_id, reason, kind=FaultKind.REFUSED))

    async def _closed(self, game: WatchedGame, due: DueForecast) -> None:
        """Closes a horizon whose outcome another client has reported: not a fault, and not retried."""
        watched = due.state
        watched.closed = next(each.minutes for each in HORIZON_RULES.values() if each.minutes > len(due.pattern))
        watched.note = "its outcome is in the server's record"
        await self._emit(HorizonClosed(game.state, due.horizon, watched.closed))
        await self._mark_missed(game, watched, watched.closed)

    async def _accept(self, game: WatchedGame, due: DueForecast, forecast: Forecast) -> None:
        """Stores a forecast and emits it if it is new."""
        minute, completed = len(due.pattern), due.completed
        if minute in due.state.forecasts or game.first_minute is None or minute <= game.first_minute:
            completed = None  # a revision, or complete at the first read: the time is not meaningful
        due.state.accept(due.pattern, forecast)
        latency = None
        if completed is not None:
            latency = (self._now() - completed).total_seconds()
            self.latencies.append(latency)
        # Include the time: a restored or different ledger reuses sequence numbers.
        key = (forecast.sequence, forecast.generated_time.ToNanoseconds())
        if key not in self._emitted:
            if forecast.sequence:
                self._emitted.add(key)
            await self._emit(Prediction(game.state, due.pattern, forecast, latency, completed))

    async def _settle(self, game: WatchedGame, watched: HorizonState, plays: Sequence[Play]) -> None:
        """Compares the forecasts of a horizon with the outcome; repeats it if the plays are corrected later."""
        score = watched.rules.score_at_end(plays)
        if score is None or not watched.forecasts:
            return
        state = at_horizon(game.state, watched.horizon, score, plays)
        forecasts = tuple(watched.forecasts[minute] for minute in sorted(watched.forecasts))
        outcome = HorizonResult(state, watched.horizon, score.home - score.away, forecasts)
        before, watched.outcome = watched.outcome, outcome
        if before is None or (before.differential, before.forecasts) != (outcome.differential, outcome.forecasts):
            await self._emit(outcome)

    async def _mark_missed(self, game: WatchedGame, watched: HorizonState, until: int) -> None:
        """Reports the minutes before `until` that passed without a forecast."""
        model = self._model.known
        minutes = watched.mark_missed(until, None if model is None else model.of(watched.horizon))
        if not minutes:
            return
        if game.unanswered:
            reason = "the server gave no forecast"
        elif game.first_minute is None or minutes[0] < game.first_minute:
            reason = "polled too late"
        else:
            reason = watched.note or "already over when the plays showed it"
        if watched.result_known and not watched.forecasts:
            watched.note = watched.note or reason
        await self._emit(ForecastMissed(game.state, watched.horizon, minutes, reason))
