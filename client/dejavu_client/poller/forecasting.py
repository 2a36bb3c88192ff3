"""From a game's plays to its forecasts and what became of them: what is due, what was missed, how it came out."""

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
from dejavu_feed.nba.live import Play
from dejavu_feed.nba.progress import completed_at, completed_minutes, scores
from dejavu_feed.pattern import slots

_OLD: Final = 120.0
"""Seconds after the earliest end of a horizon from which on plays that tell of no end are said to be old: a time-out or
a review may have stopped the game's clock for so long."""


@dataclass(frozen=True, slots=True)
class DueForecast:
    """What is to be forecast of a game now.

    Attributes:
        pattern: that of the newest minute.
        completed: when the play happened that completed it.
        late: seconds for which the horizon may already be over.
    """

    watched: HorizonState
    pattern: tuple[int, ...]
    completed: datetime | None
    late: float

    @property
    def horizon(self) -> Horizon.ValueType:
        """What is forecast."""
        return self.watched.horizon


class ForecastScheduler:
    """Has the games of an evening forecast, and holds the forecasts against what came.

    Args:
        client: who forecasts.
        wanted: for each horizon, the minutes after which it is to be forecast.
        tell: what to do with an event.
        now: the wall clock, aware.

    Attributes:
        wanted: as given.
        limits: what of the wanted the server's model can't do; "" if it can do all, or nobody has asked.
        latencies: seconds from the feed to the forecast, as they came.
    """

    def __init__(
        self,
        client: PredictionClient,
        minutes: Mapping[Horizon.ValueType, range],
        tell: Callable[[Event], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self.wanted = minutes
        self.limits = ""
        self.latencies: list[float] = []
        self._client = client
        self._model = CapabilityCache(client, now)
        self._emit = tell
        self._now = now
        self._told: set[tuple[int, int]] = set()

    async def follow(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Does what a game's plays call for.

        Raises:
            StaleFeed: if they are so old that nothing is to be forecast from them.
        """
        for watched in game.horizons.values():
            # Unlearned, too: a period, or its end, may have been shown too early.
            watched.result_known = watched.report_closed(game.state) or watched.played_out(plays)
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
        """Gives a horizon up: it is over, and its plays are not known."""
        watched.result_known = True
        await self._mark_missed(game, watched, watched.rules.minutes)

    async def _load_history(self, game: WatchedGame, completed: int) -> bool:
        """Takes over what was forecast of a game before this poller began, so that only what is missing is missed.

        Returns:
            Whether it makes sense to ask the server for more.
        """
        if all(completed <= watched.minutes.start for watched in game.horizons.values()):
            game.history_attempts = 0
            return True
        able = await self._capabilities(game)
        if able is None:
            game.unanswered_minutes = (completed,)
            return False
        game.history_attempts -= 1
        try:
            stored = await load_recorded(self._client, game.state.game_id, able.version)
        except (*PASSING, InternalError):  # what passes by meanwhile is told as missed, and counted no more later on
            return True
        except DejavuClientError:  # a server without a record
            stored = {}
        game.history_attempts = 0
        for horizon, watched in game.horizons.items():
            newest = None if watched.result_known else watched.minute(completed, able.of(horizon))
            watched.restore(stored.get(horizon, {}), newest)
        return True

    async def _forecast_due(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Has what is due forecast, and tells which minutes went by without."""
        completed = completed_minutes(plays)
        still_open = [watched for watched in game.horizons.values() if not watched.result_known]
        if all(completed < watched.minutes.start for watched in still_open):
            return
        able = await self._capabilities(game)
        if able is None:
            game.unanswered_minutes = (completed,)
            return
        course, now = scores(plays), self._now()
        due: list[DueForecast] = []
        for watched in still_open:
            minute = watched.minute(completed, able.of(watched.horizon))
            if minute is None:
                continue
            pattern = slots(course, minute)
            if watched.due(pattern):
                due.append(DueForecast(watched, pattern, completed_at(plays, minute), late=watched.late(plays, now)))
        for watched in still_open:
            await self._mark_missed(game, watched, watched.minute(completed, able.of(watched.horizon)) or 0)
        in_time = [each for each in due if not each.late]
        if in_time:
            await self._forecast(game, in_time)
        for each in due:
            if each.late > _OLD:
                over = f"the {horizon_label(each.horizon)} may be over, for {each.late:.0f} s"
                raise StaleFeed(f"by this machine's clock {over}: its plays are old")

    async def _capabilities(self, game: WatchedGame) -> ModelCapabilities | None:
        """What the server's model can do; None, and told, if it does not say."""
        try:
            able = await self._model.get()
        except DejavuClientError as error:
            await self._unanswered(game, error)
            return None
        limits = able.unsupported(self.wanted)
        if limits != self.limits:
            self.limits = limits
            if limits:
                await self._emit(ModelLimits(able.version, limits))
        return able

    async def _forecast(self, game: WatchedGame, due: Sequence[DueForecast]) -> None:
        answers = await request_forecasts(self._client, game.state, [(each.horizon, each.pattern) for each in due])
        missing: DejavuClientError | None = None
        for each, answer in zip(due, answers, strict=True):
            if isinstance(answer, Forecast):
                await self._accept(game, each, answer)
            elif isinstance(answer, (*PASSING, InternalError)):  # a fault of the server's may be gone the next time
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
        reason = f"no forecast, trying again: {error}"
        await self._emit(Fault(game.state.game_id, reason, game.unanswered, kind=FaultKind.SERVER))

    async def _refused(self, game: WatchedGame, due: DueForecast, error: DejavuClientError) -> None:
        if error.reason == OUTCOME_KNOWN:
            await self._closed(game, due)
            return
        if isinstance(error, FailedPreconditionError):
            self._model.forget()
        due.watched.refused, due.watched.note = due.pattern, f"refused: {error}"
        reason = f"the server refuses to forecast the {horizon_label(due.horizon)}: {error}"
        await self._emit(Fault(game.state.game_id, reason, kind=FaultKind.REFUSED))

    async def _closed(self, game: WatchedGame, due: DueForecast) -> None:
        """Somebody has reported an outcome that closes the minute: no fault, and nothing to try again."""
        watched = due.watched
        watched.closed = next(each.minutes for each in HORIZON_RULES.values() if each.minutes > len(due.pattern))
        watched.note = "its outcome is in the server's record"
        await self._emit(HorizonClosed(game.state, due.horizon, watched.closed))
        await self._mark_missed(game, watched, watched.closed)

    async def _accept(self, game: WatchedGame, due: DueForecast, forecast: Forecast) -> None:
        """Notes a forecast, and tells it if it is new."""
        minute, completed = len(due.pattern), due.completed
        if minute in due.watched.forecasts or game.first_minute is None or minute <= game.first_minute:
            completed = None  # a revision, or complete when it was first read: when that was says nothing
        due.watched.accept(due.pattern, forecast)
        latency = None
        if completed is not None:
            latency = (self._now() - completed).total_seconds()
            self.latencies.append(latency)
        # With its time: a ledger that was restored meanwhile, or is another one, gives places anew.
        place = (forecast.sequence, forecast.generated_time.ToNanoseconds())
        if place not in self._told:
            if forecast.sequence:
                self._told.add(place)
            await self._emit(Prediction(game.state, due.pattern, forecast, latency, completed))

    async def _settle(self, game: WatchedGame, watched: HorizonState, plays: Sequence[Play]) -> None:
        """Holds the forecasts of a horizon against what came; anew when its plays are corrected later."""
        score = watched.rules.score(plays)
        if score is None or not watched.forecasts:
            return
        state = at_horizon(game.state, watched.horizon, score, plays)
        made = tuple(watched.forecasts[minute] for minute in sorted(watched.forecasts))
        outcome = HorizonResult(state, watched.horizon, score.home - score.away, made)
        before, watched.outcome = watched.outcome, outcome
        if before is None or (before.differential, before.forecasts) != (outcome.differential, outcome.forecasts):
            await self._emit(outcome)

    async def _mark_missed(self, game: WatchedGame, watched: HorizonState, until: int) -> None:
        """Tells which minutes before `until` have gone by without a forecast."""
        able = self._model.known
        minutes = watched.mark_missed(until, None if able is None else able.of(watched.horizon))
        if not minutes:
            return
        if game.unanswered:
            reason = "the server gave no forecast"
        elif game.first_minute is None or minutes[0] < game.first_minute:
            reason = "polled too late"
        else:
            reason = watched.note or "over when the plays told of it"
        if watched.result_known and not watched.forecasts:
            watched.note = watched.note or reason
        await self._emit(ForecastMissed(game.state, watched.horizon, minutes, reason))
