"""Templates of answers to what-ifs: requests that differ in their numbers only get copies with other numbers.

Most what-ifs ask for different games with the same options. What an answer says beside its numbers is made once, by the
path of any request, and kept until the model, its online state or the day changes. The others take the numbers of their
game from the compiled models, many at once under load, and no other object is made for them.

A template keeps its models in memory, so it goes with the online state that it was made by: when the model learns from
an outcome, and when the worker gives it up.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.yielding import Turns
from dejavu_feed.game_day import day_bounds, game_day
from dejavu_models.errors import InvalidInput
from dejavu_models.forecast_query import are_differentials
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.forecaster.alike import AlikeGame, AlikeGames, AlikeNumbers, AlikeRows
from dejavu_server.api.cache.result_bytes import ResultBytes
from dejavu_server.api.cache.what_ifs import Predict
from dejavu_server.api.converters.alike import alike_key, fill
from dejavu_server.api.converters.fields import set_timestamp
from dejavu_server.api.converters.prediction import forecast_request
from dejavu_server.api.handlers import Context
from dejavu_server.forecasting.what_ifs import WhatIfForecasts

RESULTS_AT_ONCE: Final = 128
"""Results to write before other calls may have their turn, some tens of microseconds."""

MAX_TEMPLATES: Final = 256
"""Most templates to keep: callers may vary alpha on every call."""


@dataclass(frozen=True, slots=True)
class _Template:
    """The forecast of a game, for others with the same options.

    Attributes:
        forecast: the forecast; copied where a message has it.
        games: forecasts the others.
        model_version: as requested.
        begin, end: bounds of its day.
        state: has it dropped when the online state ends.
    """

    forecast: forecast_pb2.Forecast
    games: AlikeGames
    model_version: str
    begin: datetime
    end: datetime
    state: weakref.ref[ActiveState]

    def put(
        self,
        forecast: forecast_pb2.Forecast,
        game: AlikeGame,
        numbers: AlikeNumbers,
        generated: datetime,
        expires: datetime,
    ) -> None:
        """Writes the forecast of another game into an empty message."""
        forecast.CopyFrom(self.forecast)
        fill(forecast, numbers, game.margin)
        set_timestamp(forecast.generated_time, generated)
        set_timestamp(forecast.expires_time, expires)


class AnswerTemplates:
    """Answers what-ifs of one event loop from templates if it can.

    Args:
        forecasts: makes the forecasts.
        clock: returns the current time, aware and in UTC.
        predict: answers any what-if.
    """

    def __init__(self, forecasts: WhatIfForecasts, clock: Callable[[], datetime], predict: Predict) -> None:
        self._forecasts = forecasts
        self._clock = clock
        self._predict = predict
        self._templates: OrderedDict[object, _Template] = OrderedDict()

    async def answer(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Answers a what-if, which names no game.

        Raises:
            DejavuError: what `predict` raises.
        """
        key = alike_key(request)
        if key is None:
            return await self._predict(request, context)
        template = self._current(key)
        if template is None:
            return await self._make(key, request, context)
        game = _valid_game(request)
        if game is None:
            return await self._predict(request, context)  # which refuses it
        numbers, generated, expires = await self._forecasts.forecast_alike(template.games, game)
        response = pb.PredictResponse()
        template.put(response.forecast, game, numbers, generated, expires)
        return response

    async def answer_rows(
        self, request: pb.PredictRequest, rows: AlikeRows, context: Context, turns: Turns
    ) -> list[bytes] | None:
        """Answers what-ifs of one batch that are alike, with one model and online state.

        Args:
            request: one of them.
            rows: the numbers of all.
            context: the context of the call.
            turns: lets other calls have theirs.

        Returns:
            Their serialized results, as a PredictBatchResponse has them; None if there is no template for them.

        Raises:
            DejavuError: what `predict` raises for the one of them, or Overloaded.
        """
        key = alike_key(request)
        if key is None:
            return None
        template = self._current(key)
        if template is None:
            await self._make(key, request, context)
            template = self._current(key)
            if template is None:
                return None
        numbers, generated, expires = await self._forecasts.forecast_rows(template.games, rows)
        turns.others_had_theirs()
        margins = request.HasField("pregame_margin")
        one = ResultBytes(template.forecast, generated, expires, margins=margins)
        results = list[bytes]()
        for start in range(0, len(rows), RESULTS_AT_ONCE):
            await turns.give_way()
            end = start + RESULTS_AT_ONCE
            results += one.of(numbers[start:end], rows.part(start, end))
        return results

    def _current(self, key: object) -> _Template | None:
        template = self._templates.get(key)
        return template if template is not None and self._is_current(template) else None

    def _is_current(self, template: _Template) -> bool:
        return template.begin <= self._clock() < template.end and self._forecasts.is_current(
            template.games, template.model_version
        )

    async def _make(self, key: object, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Answers a request by the path of any, and keeps a copy of its answer as template."""
        self._templates.pop(key, None)
        now = self._clock()
        begin, end = day_bounds(now)
        version = request.model_version
        try:
            games = await self._forecasts.alike(forecast_request(request, game_day(now)).query, version)
        except InvalidInput:
            games = None  # refused below
        response = await self._predict(request, context)
        state = None if games is None else games.state()
        if games is not None and state is not None:
            ended = weakref.ref(state, partial(_forget, self._templates, key))
            template = _Template(response.forecast, games, version, begin, end, ended)
            # The same before and after: then it was made by this model and state, on this day.
            if self._is_current(template):
                if len(self._templates) >= MAX_TEMPLATES and key not in self._templates:
                    self._templates.popitem(last=False)
                self._templates[key] = template
        return response


def _forget(templates: OrderedDict[object, _Template], key: object, ended: weakref.ref[ActiveState]) -> None:
    """Drops the template of an online state that has ended."""
    template = templates.get(key)
    if template is not None and template.state is ended:
        templates.pop(key, None)


def _valid_game(request: pb.PredictRequest) -> AlikeGame | None:
    """Returns the numbers of a request with as many slots as an earlier one; None if no query may have them."""
    slots, margin = list(request.pattern), None
    if request.HasField("pregame_margin"):
        margin = request.pregame_margin
        if not are_differentials((margin,)):
            return None
    return AlikeGame(slots, margin) if are_differentials(slots) else None
