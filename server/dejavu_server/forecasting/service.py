"""The server's use case: a question becomes an issued forecast, recorded first where it names a game. Knows no gRPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from dejavu_models.errors import DejavuError
from dejavu_models.forecaster import Forecaster
from dejavu_models.registry.registry import Registry
from dejavu_models.types import Forecast, ForecastQuery
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.ledger.errors import OutcomeAlreadyRecorded
from dejavu_server.records import IssuedForecast


@dataclass(frozen=True, slots=True)
class ForecastRequest:
    """What somebody asks of the server.

    Attributes:
        game_id: the NBA's id, ten digits; empty for a what-if.
        model_version: the model asked; empty for the active one.
    """

    game_id: str
    model_version: str
    query: ForecastQuery


class Recorder(Protocol):
    """What issuing needs of the ledger."""

    async def commit(self, issued: Sequence[IssuedForecast]) -> Sequence[IssuedForecast | OutcomeAlreadyRecorded]:
        """Records forecasts together; of each, itself with its place, the one recorded before, or why there is none."""


def utc_now() -> datetime:
    """The present moment, aware."""
    return datetime.now(UTC)


class ForecastService:
    """Answers questions, and records the answers that name a game before anybody hears them.

    Args:
        registry: the models.
        batcher: computes.
        recorder: records.
        lifetime: for how long a forecast counts as current.
        clock: tells the time.
    """

    def __init__(
        self,
        registry: Registry,
        batcher: Batcher,
        recorder: Recorder,
        *,
        lifetime: timedelta,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._batcher = batcher
        self._recorder = recorder
        self._lifetime = lifetime
        self._clock = clock

    async def forecast(self, question: ForecastRequest) -> IssuedForecast:
        """Answers one question.

        Raises:
            UnknownModel, Unsupported: if no model can answer it.
            OutcomeKnown: if it is a new forecast, and what it forecasts is known.
            Overloaded, LedgerUnavailable: if the server can't at present.
        """
        forecaster = self._registry.get(question.model_version)
        issued = self._stamp(question, await self._batcher.forecast(forecaster, question.query))
        if question.game_id:
            [recorded] = await self._commit([issued])
            if isinstance(recorded, OutcomeAlreadyRecorded):
                raise recorded
            return recorded
        return issued

    async def forecast_many(self, questions: Sequence[ForecastRequest]) -> list[IssuedForecast | Exception]:
        """Answers many questions, in order; each fails for itself. Those that name a game are recorded together."""
        results: dict[int, IssuedForecast | Exception] = {}
        groups: dict[Forecaster, list[int]] = {}
        for place, question in enumerate(questions):
            try:
                forecaster = self._registry.get(question.model_version)
                forecaster.check(question.query)
                groups.setdefault(forecaster, []).append(place)
            except DejavuError as error:
                results[place] = error
        for forecaster, places in groups.items():
            answers = await self._compute(forecaster, [questions[place] for place in places])
            results.update(zip(places, answers, strict=True))
        await self._record(results)
        return [results[place] for place in range(len(questions))]

    async def _compute(
        self, forecaster: Forecaster, questions: Sequence[ForecastRequest]
    ) -> list[IssuedForecast | Exception]:
        try:
            answers = await self._batcher.forecast_many(forecaster, [question.query for question in questions])
        except DejavuError as error:
            return [error] * len(questions)
        return [
            answer if isinstance(answer, Exception) else self._stamp(question, answer)
            for question, answer in zip(questions, answers, strict=True)
        ]

    async def _record(self, results: dict[int, IssuedForecast | Exception]) -> None:
        """Puts what the ledger says in the place of each answer that names a game."""
        # In the order of the questions, whatever models were asked: it is the order of the ledger.
        named = {
            place: issued
            for place, issued in sorted(results.items())
            if isinstance(issued, IssuedForecast) and issued.game_id
        }
        if not named:
            return
        try:
            results.update(zip(named, await self._commit(list(named.values())), strict=True))
        except DejavuError as error:
            results.update(dict.fromkeys(named, error))

    async def _commit(self, issued: Sequence[IssuedForecast]) -> list[IssuedForecast | OutcomeAlreadyRecorded]:
        """What the ledger says of forecasts, each with what was computed for this caller and the ledger does not keep.

        It belongs to them all the same: where an earlier forecast stands, it has this one's model, pattern and teams.
        What outcomes have taught since may part the two; the one that stands is the one that counts.
        """
        stored = await self._recorder.commit(issued)
        return [
            its if isinstance(its, OutcomeAlreadyRecorded) else _as_asked(its, mine)
            for mine, its in zip(issued, stored, strict=True)
        ]

    def _stamp(self, question: ForecastRequest, forecast: Forecast) -> IssuedForecast:
        generated = self._clock()
        return IssuedForecast(
            game_id=question.game_id,
            home_team=question.query.home_team,
            away_team=question.query.away_team,
            pattern=question.query.pattern,
            pregame_margin=question.query.pregame_margin,
            forecast=forecast,
            generated_time=generated,
            expires_time=generated + self._lifetime,
            market=question.query.market,
        )


def _as_asked(stored: IssuedForecast, asked: IssuedForecast) -> IssuedForecast:
    """The stored forecast with the quantiles, the market and its answer that were asked for now."""
    its, mine = stored.forecast, asked.forecast
    if (its.quantiles, its.market, stored.market) == (mine.quantiles, mine.market, asked.market):  # mostly none
        return stored
    return replace(stored, market=asked.market, forecast=replace(its, quantiles=mine.quantiles, market=mine.market))
