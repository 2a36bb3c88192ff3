"""Forecast service, independent of gRPC: computes forecasts and records those of named games before it returns them."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from dejavu_common.clock import utc_now
from dejavu_common.tasks import Turns
from dejavu_common.tracing import span
from dejavu_ledger.errors import ModelsChanged
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.records import IssuedForecast, MarketRecording, SentMarket
from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.errors import DejavuError
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
        result = await self._forecast(request, caller)
        for _ in range(CHANGES_FOLLOWED - 1):
            sequence = _changed(result)
            if sequence is None:
                break
            await self._models.wait_for(sequence)
            result = await self._forecast(request, caller)
        if isinstance(result, Failed):
            raise result.error
        self._count_answered([result])
        return result

    async def _forecast(self, request: ForecastRequest, caller: Caller) -> Result[IssuedForecast]:
        """Answer one request with the model that answers now; fail with ModelsChanged if that changes meanwhile."""
        chosen = self._chosen(request)
        with span("forecast"):
            answer = await self._batcher.forecast(chosen.forecaster, request.query)
        issued = self._stamp(request, caller, chosen, answer, self._clock())
        if not request.game_id:
            return issued
        [recorded] = await self._commit([issued], caller)
        again = _as_recorded(request, issued, recorded)
        return recorded if again is None else (await self._answer_again({0: again}, {0: chosen}, caller))[0]

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

    async def forecast_many(self, requests: Sequence[ForecastRequest], caller: Caller) -> list[Result[IssuedForecast]]:
        """Answer many requests in order; each fails on its own. Forecasts of named games are recorded together."""
        results = await self._forecast_many(requests, caller)
        for _ in range(CHANGES_FOLLOWED - 1):
            changed = {
                index: sequence for index, each in enumerate(results) if (sequence := _changed(each)) is not None
            }
            if not changed:
                break
            try:
                await self._models.wait_for(max(changed.values()))
            except DejavuError as error:
                results = [Failed(error) if index in changed else each for index, each in enumerate(results)]
                break
            again = await self._forecast_many([requests[index] for index in changed], caller)
            for index, each in zip(changed, again, strict=True):
                results[index] = each
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

    async def _forecast_many(self, requests: Sequence[ForecastRequest], caller: Caller) -> list[Result[IssuedForecast]]:
        """Answer many requests with the models that answer now; fail those whose model changes meanwhile."""
        results: dict[int, Result[IssuedForecast]] = {}
        chosen: dict[int, Chosen] = {}
        by_name: dict[tuple[str, bool], Chosen] = {}
        supported: dict[int, ForecastRequest] = {}
        turns = Turns()
        for index, request in enumerate(requests):
            if not index % 16:
                await turns.give_way()
            try:
                name = request.model_version, bool(request.game_id)
                chosen[index] = choice = by_name.get(name) or self._chosen(request)
                by_name[name] = choice
                choice.forecaster.check(request.query)
                supported[index] = request
            except DejavuError as error:
                results[index] = Failed(error)
        results.update(await self._compute_all(supported, chosen, caller))
        named = [index for index, request in enumerate(requests) if request.game_id]
        if named:
            computed = {index: results[index] for index in named}
            await self._record(results, caller)
            again = {
                index: completed
                for index in named
                if (completed := _as_recorded(requests[index], computed[index], results[index])) is not None
            }
            results.update(await self._answer_again(again, chosen, caller))
        return [results[index] for index in range(len(requests))]

    async def _compute_all(
        self, requests: Mapping[int, ForecastRequest], chosen: Mapping[int, Chosen], caller: Caller
    ) -> dict[int, Result[IssuedForecast]]:
        """Compute the forecasts of requests by their index, those of a model together; record nothing."""
        results: dict[int, Result[IssuedForecast]] = {}
        groups: dict[Forecaster, list[int]] = {}
        for index in requests:
            groups.setdefault(chosen[index].forecaster, []).append(index)
        for forecaster, indices in groups.items():
            answers = await self._compute(forecaster, [(requests[index], chosen[index]) for index in indices], caller)
            results.update(zip(indices, answers, strict=True))
        return results

    async def _compute(
        self, forecaster: Forecaster, requests: Sequence[tuple[ForecastRequest, Chosen]], caller: Caller
    ) -> list[Result[IssuedForecast]]:
        try:
            with span("forecast", queries=len(requests)):
                queries = [request.query for request, _ in requests]
                answers = await self._batcher.forecast_many(forecaster, queries, caller.turn)
        except DejavuError as error:
            return [Failed(error)] * len(requests)
        generated = self._clock()

        def stamped(request: tuple[ForecastRequest, Chosen], answer: Result[Forecast]) -> Result[IssuedForecast]:
            (asked, chosen) = request
            return answer if isinstance(answer, Failed) else self._stamp(asked, caller, chosen, answer, generated)

        return await Turns().map(stamped, requests, answers)

    async def _record(
        self, results: dict[int, Result[IssuedForecast]], caller: Caller, *, counted: bool = False
    ) -> None:
        """Replace each forecast of a named game by its recorded forecast or error; `counted`: see `_commit`."""
        # Record in the order of the requests, for any models: this sets the order in the ledger.
        named = {
            index: issued
            for index, issued in sorted(results.items())
            if isinstance(issued, IssuedForecast) and issued.game_id
        }
        if not named:
            return
        try:
            recorded = await self._commit(list(named.values()), caller, counted=counted)
            results.update(zip(named, recorded, strict=True))
        except DejavuError as error:
            results.update(dict.fromkeys(named, Failed(error)))

    async def _answer_again(
        self, requests: Mapping[int, ForecastRequest], chosen: Mapping[int, Chosen], caller: Caller
    ) -> dict[int, Result[IssuedForecast]]:
        """Answer requests with the recorded forecasts' inputs, so that these also determine the market evaluations.

        All are recorded together: a hundred writes of one forecast each would not wait for their caller's turn.
        """
        results = await self._compute_all(requests, chosen, caller)
        await self._record(results, caller, counted=True)
        return results

    async def _commit(
        self, issued: Sequence[IssuedForecast], caller: Caller, *, counted: bool = False
    ) -> list[Result[IssuedForecast]]:
        """Record forecasts; return each recorded forecast with the quantiles and evaluated markets of this request.

        The ledger stores neither with the forecast. They are taken from the new forecast even if an earlier forecast
        with the same model, pattern and teams is returned. The two forecasts may differ if the model was updated from
        outcomes in between; the recorded one is authoritative, and the answer has both
        (`IssuedForecast.recomputed`).

        Args:
            issued: the forecasts.
            caller: the caller.
            counted: whether these requests are already counted.
        """
        try:
            with span("ledger.commit", forecasts=len(issued)):
                stored = await self._ledger().commit(issued, caller)
        except Exception:
            for requested in issued:
                self._recorded["failed", requested.forecast.horizon].inc()
            raise
        if not counted:
            for requested, result in zip(issued, stored, strict=True):
                self._count(requested, result)
        return [_recorded(requested, result) for requested, result in zip(issued, stored, strict=True)]

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

    def _stamp(
        self, request: ForecastRequest, caller: Caller, chosen: Chosen, forecast: Forecast, generated: datetime
    ) -> IssuedForecast:
        return IssuedForecast(
            game_id=request.game_id,
            home_team=request.query.home_team,
            away_team=request.query.away_team,
            pattern=request.query.pattern,
            pregame_margin=request.query.pregame_margin,
            forecast=forecast,
            generated_time=generated,
            expires_time=generated + self._lifetime,
            markets=tuple(
                SentMarket(each, None if request.game_id else MarketRecording.WHAT_IF) for each in request.query.markets
            ),
            game_date=request.game_date,
            recorded_by=caller.identity,
            rated_for=request.query.game_date,
            lineups=request.query.lineups,
            roster_sequence=chosen.roster_sequence,
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
    request: ForecastRequest, requested: Result[IssuedForecast], recorded: Result[IssuedForecast]
) -> ForecastRequest | None:
    """Return a request with the optional inputs of the recorded forecast; None if nothing would change by them.

    Unrecorded parts of a forecast (quantiles, markets) depend on these inputs. The request itself keeps its date, or
    none, so it does not count as a correction.
    """
    if isinstance(requested, Failed) or isinstance(recorded, Failed):
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
