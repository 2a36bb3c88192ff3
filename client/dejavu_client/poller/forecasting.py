"""From a game's plays to its forecasts and what became of them: what is due, what was missed, how it came out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu_client.errors import PASSING, DejavuClientError, FailedPreconditionError, InternalError
from dejavu_client.formatting import moment
from dejavu_client.poller.capabilities import Abilities, ModelWatch
from dejavu_client.poller.events import Closed, Event, Fault, FaultKind, Missed, ModelLimits, Outcome, Prediction
from dejavu_client.poller.history import recorded
from dejavu_client.poller.horizons import COURSES, WatchedHorizon, at_horizon
from dejavu_client.poller.predictor import OUTCOME_KNOWN, Predictor, forecasts
from dejavu_client.poller.watched_game import WatchedGame
from dejavu_feed.errors import StaleFeed
from dejavu_feed.nba.live import Play
from dejavu_feed.nba.progress import completed_at, completed_minutes, scores
from dejavu_feed.pattern import slots

_OLD: Final = 120.0
"""Seconds after the earliest end of a horizon from which on plays that tell of no end are said to be old: a time-out or
a review may have stopped the game's clock for so long."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be forecast of a game now.

    Attributes:
        pattern: that of the newest minute.
        completed: when the play happened that completed it.
        late: seconds for which the horizon may already be over.
    """

    watched: WatchedHorizon
    pattern: tuple[int, ...]
    completed: datetime | None
    late: float

    @property
    def horizon(self) -> Horizon.ValueType:
        """What is forecast."""
        return self.watched.horizon


class Foreteller:
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
        client: Predictor,
        wanted: Mapping[Horizon.ValueType, range],
        tell: Callable[[Event], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self.wanted = wanted
        self.limits = ""
        self.latencies: list[float] = []
        self._client = client
        self._model = ModelWatch(client, now)
        self._tell = tell
        self._now = now
        self._told: set[tuple[int, int]] = set()

    async def follow(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Does what a game's plays call for.

        Raises:
            StaleFeed: if they are so old that nothing is to be forecast from them.
        """
        for watched in game.horizons.values():
            # Unlearned, too: a period, or its end, may have been shown too early.
            watched.over = watched.told_over(game.state) or watched.played_out(plays)
        game.owed = ()
        answered = not game.recall or await self._recall(game, completed_minutes(plays))
        for watched in game.horizons.values():
            if watched.over:
                await self._pass_by(game, watched, watched.course.minutes)
        if answered and not game.played_out:
            await self._foresee(game, plays)
        for watched in game.horizons.values():
            if watched.over:
                await self._settle(game, watched, plays)

    async def close(self, game: WatchedGame, watched: WatchedHorizon) -> None:
        """Gives a horizon up: it is over, and its plays are not known."""
        watched.over = True
        await self._pass_by(game, watched, watched.course.minutes)

    async def _recall(self, game: WatchedGame, completed: int) -> bool:
        """Takes over what was forecast of a game before this poller began, so that only what is missing is missed.

        Returns:
            Whether it makes sense to ask the server for more.
        """
        if all(completed <= watched.wanted.start for watched in game.horizons.values()):
            game.recall = 0
            return True
        able = await self._abilities(game)
        if able is None:
            game.owed = (completed,)
            return False
        game.recall -= 1
        try:
            stored = await recorded(self._client, game.state.game_id, able.version)
        except (*PASSING, InternalError):  # what passes by meanwhile is told as missed, and counted no more later on
            return True
        except DejavuClientError:  # a server without a record
            stored = {}
        game.recall = 0
        for horizon, watched in game.horizons.items():
            newest = None if watched.over else watched.minute(completed, able.of(horizon))
            watched.recall(stored.get(horizon, {}), newest)
        return True

    async def _foresee(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Has what is due forecast, and tells which minutes went by without."""
        completed = completed_minutes(plays)
        still_open = [watched for watched in game.horizons.values() if not watched.over]
        if all(completed < watched.wanted.start for watched in still_open):
            return
        able = await self._abilities(game)
        if able is None:
            game.owed = (completed,)
            return
        course, now = scores(plays), self._now()
        due: list[Due] = []
        for watched in still_open:
            minute = watched.minute(completed, able.of(watched.horizon))
            if minute is None:
                continue
            pattern = slots(course, minute)
            if watched.due(pattern):
                due.append(Due(watched, pattern, completed_at(plays, minute), late=watched.late(plays, now)))
        for watched in still_open:
            await self._pass_by(game, watched, watched.minute(completed, able.of(watched.horizon)) or 0)
        in_time = [each for each in due if not each.late]
        if in_time:
            await self._forecast(game, in_time)
        for each in due:
            if each.late > _OLD:
                over = f"the {moment(each.horizon)} may be over, for {each.late:.0f} s"
                raise StaleFeed(f"by this machine's clock {over}: its plays are old")

    async def _abilities(self, game: WatchedGame) -> Abilities | None:
        """What the server's model can do; None, and told, if it does not say."""
        try:
            able = await self._model.abilities()
        except DejavuClientError as error:
            await self._unanswered(game, error)
            return None
        limits = able.shortcomings(self.wanted)
        if limits != self.limits:
            self.limits = limits
            if limits:
                await self._tell(ModelLimits(able.version, limits))
        return able

    async def _forecast(self, game: WatchedGame, due: Sequence[Due]) -> None:
        answers = await forecasts(self._client, game.state, [(each.horizon, each.pattern) for each in due])
        missing: DejavuClientError | None = None
        for each, answer in zip(due, answers, strict=True):
            if isinstance(answer, Forecast):
                await self._took(game, each, answer)
            elif isinstance(answer, (*PASSING, InternalError)):  # a fault of the server's may be gone the next time
                missing = answer
                game.owed = (*game.owed, len(each.pattern))
            else:
                await self._refused(game, each, answer)
        if missing is None:
            game.unanswered = 0
        else:
            await self._unanswered(game, missing)

    async def _unanswered(self, game: WatchedGame, error: DejavuClientError) -> None:
        game.trouble = f"server: {error}"
        game.unanswered += 1
        reason = f"no forecast, trying again: {error}"
        await self._tell(Fault(game.state.game_id, reason, game.unanswered, kind=FaultKind.SERVER))

    async def _refused(self, game: WatchedGame, due: Due, error: DejavuClientError) -> None:
        if error.reason == OUTCOME_KNOWN:
            await self._closed(game, due)
            return
        if isinstance(error, FailedPreconditionError):
            self._model.forget()
        due.watched.refused, due.watched.note = due.pattern, f"refused: {error}"
        reason = f"the server refuses to forecast the {moment(due.horizon)}: {error}"
        await self._tell(Fault(game.state.game_id, reason, kind=FaultKind.REFUSED))

    async def _closed(self, game: WatchedGame, due: Due) -> None:
        """Somebody has reported an outcome that closes the minute: no fault, and nothing to try again."""
        watched = due.watched
        watched.closed = next(each.minutes for each in COURSES.values() if each.minutes > len(due.pattern))
        watched.note = "its outcome is in the server's record"
        await self._tell(Closed(game.state, due.horizon, watched.closed))
        await self._pass_by(game, watched, watched.closed)

    async def _took(self, game: WatchedGame, due: Due, forecast: Forecast) -> None:
        """Notes a forecast, and tells it if it is new."""
        minute, completed = len(due.pattern), due.completed
        if minute in due.watched.made or game.first_minute is None or minute <= game.first_minute:
            completed = None  # a revision, or complete when it was first read: when that was says nothing
        due.watched.took(due.pattern, forecast)
        latency = None
        if completed is not None:
            latency = (self._now() - completed).total_seconds()
            self.latencies.append(latency)
        # With its time: a ledger that was restored meanwhile, or is another one, gives places anew.
        place = (forecast.sequence, forecast.generated_time.ToNanoseconds())
        if place not in self._told:
            if forecast.sequence:
                self._told.add(place)
            await self._tell(Prediction(game.state, due.pattern, forecast, latency, completed))

    async def _settle(self, game: WatchedGame, watched: WatchedHorizon, plays: Sequence[Play]) -> None:
        """Holds the forecasts of a horizon against what came; anew when its plays are corrected later."""
        score = watched.course.score(plays)
        if score is None or not watched.made:
            return
        state = at_horizon(game.state, watched.horizon, score, plays)
        made = tuple(watched.made[minute] for minute in sorted(watched.made))
        outcome = Outcome(state, watched.horizon, score.home - score.away, made)
        before, watched.outcome = watched.outcome, outcome
        if before is None or (before.differential, before.forecasts) != (outcome.differential, outcome.forecasts):
            await self._tell(outcome)

    async def _pass_by(self, game: WatchedGame, watched: WatchedHorizon, until: int) -> None:
        """Tells which minutes before `until` have gone by without a forecast."""
        able = self._model.known
        minutes = watched.pass_by(until, None if able is None else able.of(watched.horizon))
        if not minutes:
            return
        if game.unanswered:
            reason = "the server gave no forecast"
        elif game.first_minute is None or minutes[0] < game.first_minute:
            reason = "polled too late"
        else:
            reason = watched.note or "over when the plays told of it"
        if watched.over and not watched.made:
            watched.note = watched.note or reason
        await self._tell(Missed(game.state, watched.horizon, minutes, reason))
