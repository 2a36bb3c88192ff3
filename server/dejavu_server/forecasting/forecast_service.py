"""Forecast service, independent of gRPC: computes forecasts and records those of named games before it returns them."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Final

from dejavu_common.clock import utc_now
from dejavu_common.tasks import Turns
from dejavu_common.tracing import span
from dejavu_ledger.errors import ModelsChanged
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.records import IssuedForecast, MarketRecording, SentMarket
from dejavu_models.errors import DejavuError
from dejavu_models.forecast_query import ColumnsForecast, ColumnsQuery, ForecastQuery
from dejavu_models.forecaster import Forecaster
from dejavu_models.results import Failed, Result
from dejavu_models.types import Forecast, Horizon, TotalForecast
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NotChampion
from dejavu_server.forecasting.lifecycle.models import Chosen, ServingModels
from dejavu_server.limits import Caller
from dejavu_server.observability.metrics import Metrics

CHANGES_FOLLOWED: Final = 5
"""Maximum number of times that a forecast is computed if the models keep changing before it is recorded."""

_SAME_PROBABILITY: Final = 0.0005
_SAME_POINTS: Final = 0.1
"""Differences of probabilities, and of quantiles in points, below which two forecasts count as the same. The order of
summation, which depends on the batch, causes differences below 1e-4 points."""


class _Asked:
    """A request, the model that answers it, and its result so far."""

    __slots__ = ("chosen", "request", "result")

    def __init__(self, request: ForecastRequest) -> None:
        self.request = request
        self.chosen: Chosen
        self.result: Result[IssuedForecast]


class ForecastService:
    """Computes forecasts, and records those of named games before it returns them.

    Args:
        models: the models.
        batcher: computes forecasts.
        ledger: records forecasts.
        metrics: counts the forecasts by model, horizon and kind, recorded or not; and those to record by horizon and by
            result: new; known (recorded before); refused by the ledger (for example, because the game's outcome is
            known); failed.
        lifetime: time for which a forecast stays current.
        on_new: called with each forecast that was recorded as new and was made by a model that the roster chose.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(
        self,
        models: ServingModels,
        batcher: Batcher,
        ledger: CurrentLedger,
        metrics: Metrics,
        *,
        lifetime: timedelta,
        on_new: Callable[[IssuedForecast], object] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._ledger = ledger
        # Created at once, so that they are exported as 0 before the first forecast.
        self._recorded = {
            (outcome, horizon): metrics.recorded.labels(outcome, horizon.value)
            for outcome in ("new", "known", "refused", "failed")
            for horizon in Horizon
        }
        # Cached: looking up the labels costs more than counting.
        self._answered = cache(metrics.forecasts.labels)
        self._lifetime = lifetime
        self._on_new = on_new
        self._clock = clock

    async def forecast(self, request: ForecastRequest, caller: Caller) -> IssuedForecast:
        """Answer one request of a caller.

        Raises:
            UnknownModel, NotLoaded, NotChampion, Unsupported: if no model can answer it.
            OutcomeAlreadyRecorded: if the forecast is new and the outcome is already recorded.
            Overloaded, LedgerUnavailable, ModelsChanged: if the server can't answer at present.
        """
        [result] = await self.forecast_many([request], caller)
        if isinstance(result, Failed):
            raise result.error
        return result

    async def forecast_many(self, requests: Sequence[ForecastRequest], caller: Caller) -> list[Result[IssuedForecast]]:
        """Answer requests in order; each fails on its own. Forecasts of named games are recorded together."""
        asked = [_Asked(request) for request in requests]
        await self._answer(asked, caller)
        for _ in range(CHANGES_FOLLOWED - 1):
            changes = {each: sequence for each in asked if (sequence := _changed(each.result)) is not None}
            if not changes:
                break
            try:
                await self._models.wait_for(max(changes.values()))
            except DejavuError as error:
                for each in changes:
                    each.result = Failed(error)
                break
            await self._answer([*changes], caller)
        results = [each.result for each in asked]
        self._count_answered(results)
        return results

    async def forecast_columns(self, query: ColumnsQuery, model_version: str, caller: Caller) -> list[ColumnsForecast]:
        """Answer a column request, which records nothing, with one model; in parts, in order.

        Args:
            query: the request.
            model_version: the requested model; empty for the active one.
            caller: the caller.

        Raises:
            UnknownModel, NotLoaded, Unsupported: if no model can answer it.
            Overloaded, CallerLimit: if too many queries wait already.
        """
        forecaster = self._models.get(model_version)
        forecaster.check_columns(query)
        with span("forecast", queries=len(query)):
            answers = await self._batcher.forecast_columns(forecaster, query, caller.turn)
        self._answered(forecaster.version, query.horizon.value, "what_if").inc(len(query))
        return answers

    async def _answer(self, asked: Sequence[_Asked], caller: Caller) -> None:
        """Answer requests with the models that answer now; fail those whose model changes meanwhile."""
        by_name: dict[tuple[str, bool], Chosen] = {}
        turns, computable = Turns(), list[_Asked]()
        for index, each in enumerate(asked):
            if index % 16 == 15:
                await turns.give_way()
            try:
                name = each.request.model_version, bool(each.request.game_id)
                each.chosen = by_name[name] = by_name.get(name) or self._chosen(each.request)
                each.chosen.forecaster.check(each.request.query)
                computable.append(each)
            except DejavuError as error:
                each.result = Failed(error)
        await self._compute(computable, caller)
        # Record in the order of the requests, for any models: this sets the order in the ledger.
        again = await self._record([each for each in computable if each.request.game_id], caller)
        if again:
            # With the inputs of the recorded forecasts, so that these also determine the market evaluations. All are
            # recorded together: a hundred writes of one forecast each would not wait for their caller's turn.
            await self._compute(again, caller)
            await self._record(again, caller, again=True)

    def _chosen(self, request: ForecastRequest) -> Chosen:
        """Return the model that answers a request: of a named game, the champion."""
        if not request.model_version:
            return self._models.choose()
        forecaster = self._models.get(request.model_version)
        if not request.game_id:
            return Chosen(forecaster)
        champion = self._models.choose()
        if forecaster.version != champion.forecaster.version:
            raise NotChampion(request.model_version, champion.forecaster.version)
        return champion

    async def _compute(self, asked: Sequence[_Asked], caller: Caller) -> None:
        """Compute the forecasts of requests, those of a model together; record nothing."""
        groups: dict[Chosen, list[_Asked]] = {}
        for each in asked:
            groups.setdefault(each.chosen, []).append(each)
        for chosen, group in groups.items():
            queries = [each.request.query for each in group]
            try:
                with span("forecast", queries=len(group)):
                    answers = await self._answers(chosen.forecaster, queries, caller)
            except DejavuError as error:
                answers = [Failed(error)] * len(group)
            await Turns().map(partial(self._stamp, caller, self._clock()), group, answers)

    async def _answers(
        self, forecaster: Forecaster, queries: Sequence[ForecastQuery], caller: Caller
    ) -> list[Result[Forecast]]:
        """Answer queries: a single one together with those of other calls, many in a batch of their own."""
        if len(queries) == 1:
            return [await self._batcher.forecast(forecaster, *queries)]
        return await self._batcher.forecast_many(forecaster, queries, caller.turn)

    async def _record(self, asked: Sequence[_Asked], caller: Caller, *, again: bool = False) -> list[_Asked]:
        """Replace forecasts by the recorded ones, or errors; return those to compute with other inputs.

        Each recorded forecast has the quantiles and evaluated markets of this request. The ledger stores neither with
        the forecast. They are taken from the new forecast even if an earlier forecast with the same model, pattern and
        teams is returned. The two forecasts may differ if the model was updated from outcomes in between; the recorded
        one is authoritative, and the answer has both (`IssuedForecast.recomputed`).

        Args:
            asked: the requests of named games, each with its result; those that failed are left as they are.
            caller: the caller.
            again: whether they were recorded before, and are counted.
        """
        pairs = [(each, each.result) for each in asked if isinstance(each.result, IssuedForecast)]
        if not pairs:
            return []
        issued = [result for _, result in pairs]
        try:
            with span("ledger.commit", forecasts=len(issued)):
                stored = await self._ledger().commit(issued, caller)
        except Exception as error:
            for requested in issued:
                self._recorded["failed", requested.forecast.horizon].inc()
            if not isinstance(error, DejavuError):
                raise
            stored = [Failed(error)] * len(issued)
        else:
            for requested, result in () if again else zip(issued, stored, strict=True):
                self._count(requested, result)
        differing = list[_Asked]()
        for (each, requested), result in zip(pairs, stored, strict=True):
            each.result = _recorded(requested, result)
            if not again and (request := _as_recorded(each.request, requested, each.result)) is not None:
                each.request = request
                differing.append(each)
        return differing

    def _count_answered(self, results: Iterable[Result[IssuedForecast]]) -> None:
        """Count the answers of a call, each once, however often its forecast was computed."""
        kinds = Counts(
            (each.forecast.model_version, each.forecast.horizon, bool(each.game_id))
            for each in results
            if not isinstance(each, Failed)
        )
        for (version, horizon, is_named), number in kinds.items():
            self._answered(version, horizon.value, "named" if is_named else "what_if").inc(number)

    def _count(self, requested: IssuedForecast, stored: Result[IssuedForecast]) -> None:
        if isinstance(stored, Failed):
            if isinstance(stored.error, ModelsChanged):  # the forecast is computed again, and counted then
                return
            outcome = "refused"
        elif stored.created:
            outcome = "new"
            if self._on_new is not None and requested.roster_sequence is not None:
                self._on_new(stored)
        else:
            outcome = "known"
        self._recorded[outcome, requested.forecast.horizon].inc()

    def _stamp(self, caller: Caller, generated: datetime, asked: _Asked, answer: Result[Forecast]) -> None:
        """Set the result of a request from the answer of its model."""
        if isinstance(answer, Failed):
            asked.result = answer
            return
        request = asked.request
        asked.result = IssuedForecast(
            game_id=request.game_id,
            home_team=request.query.home_team,
            away_team=request.query.away_team,
            pattern=request.query.pattern,
            pregame_margin=request.query.pregame_margin,
            forecast=answer,
            generated_time=generated,
            expires_time=generated + self._lifetime,
            markets=tuple(
                SentMarket(each, None if request.game_id else MarketRecording.WHAT_IF) for each in request.query.markets
            ),
            game_date=request.game_date,
            recorded_by=caller.identity,
            rated_for=request.query.game_date,
            lineups=request.query.lineups,
            roster_sequence=asked.chosen.roster_sequence,
            live=request.query.live,
            line_origin=request.line_origin,
            clock=None if request.clock is None else request.clock.seconds,
            publisher="" if request.clock is None else request.clock.publisher,
        )


def _changed(result: Result[IssuedForecast]) -> int | None:
    """Return the sequence of the change of models that kept a forecast from being recorded; None if there was none."""
    if isinstance(result, Failed) and isinstance(result.error, ModelsChanged):
        return result.error.sequence
    return None


def _as_recorded(
    request: ForecastRequest, requested: IssuedForecast, recorded: Result[IssuedForecast]
) -> ForecastRequest | None:
    """Return a request with the optional inputs of the recorded forecast; None if nothing would change by them.

    Unrecorded parts of a forecast (quantiles, markets) depend on these inputs. The request itself keeps its date, or
    none, so it does not count as a correction.
    """
    if isinstance(recorded, Failed):
        return None
    computed = requested.markets != () or requested.forecast.quantiles != ()
    if recorded.created or not computed or recorded.optional_inputs == requested.optional_inputs:
        return None
    query = replace(request.query, game_date=recorded.day, live=recorded.live, lineups=recorded.lineup_effects)
    return replace(request, query=query)


def _recorded(requested: IssuedForecast, stored: Result[IssuedForecast]) -> Result[IssuedForecast]:
    """Return a recorded forecast with the quantiles and the evaluations of the markets of this request."""
    if isinstance(stored, Failed):
        return stored
    old, new = stored.forecast, requested.forecast
    total = old.total
    if total is not None and new.total is not None:
        total = replace(total, quantiles=new.total.quantiles, market=new.total.market)
    if (old.quantiles, old.market, old.total) == (new.quantiles, new.market, total):  # usual
        return stored
    return replace(
        stored,
        forecast=replace(old, quantiles=new.quantiles, market=new.market, total=total),
        recomputed=new if _differ(old, new) else None,
        recomputed_total=new if _totals_differ(old.total, new.total) else None,
    )


def _differ(one: Forecast, other: Forecast) -> bool:
    """Return whether the differentials of two forecasts of one request differ by more than rounding."""
    probabilities_differ = abs(one.home_lead_probability - other.home_lead_probability) >= _SAME_PROBABILITY
    return probabilities_differ or _points_differ(one.distribution, other.distribution)


def _totals_differ(one: TotalForecast | None, other: TotalForecast | None) -> bool:
    """Return whether two forecasts of one request both have total points that differ noticeably."""
    return one is not None and other is not None and _points_differ(one.distribution, other.distribution)


def _points_differ(quantiles: Sequence[float], others: Sequence[float]) -> bool:
    pairs = zip(quantiles, others, strict=True)
    return any(abs(value - another) >= _SAME_POINTS for value, another in pairs)
