"""Answers made from a template are those that the path of any request makes, as of now."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.unused_ledger import UnusedLedger

from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.errors import InvalidInput
from dejavu_models.forecaster import Forecaster
from dejavu_models.online_state import INITIAL
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import Registry, default_bundle
from dejavu_models.types import AdaptationMode
from dejavu_server.api.cache.templates import MAX_TEMPLATES, AnswerTemplates
from dejavu_server.api.handlers import Context
from dejavu_server.api.prediction_service import PredictionService
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.lifecycle.models import Models, ServingModels
from dejavu_server.forecasting.service import ForecastService
from dejavu_server.observability.metrics import Metrics

NO_CONTEXT: Final[Any] = None


class Bench:
    """What-ifs answered from templates, and by the path of any request.

    Attributes:
        clock: the time.
        model: the model that answers.
        made: number of answers that the path of any request made for templates.
    """

    def __init__(self, batcher: Batcher, models: Models | None = None) -> None:
        self.clock = SteppedClock()
        self.model: Forecaster = load_bundle(default_bundle())
        self.made = 0
        models = models or Registry([self.model])
        lifetime = timedelta(minutes=5)
        service = ForecastService(
            models, batcher, UnusedLedger(), Metrics().recorded, lifetime=lifetime, clock=self.clock
        )
        self._any: Any = PredictionService(service, NO_CONTEXT, self.clock)
        self._templates = AnswerTemplates(service.what_ifs, self.clock, self._predict)

    async def _predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        self.made += 1
        response: pb.PredictResponse = await self._any.predict(request, context)
        return response

    @property
    def kept(self) -> int:
        """Number of templates in memory."""
        return len(self._templates._templates)

    async def answer(self, request: pb.PredictRequest) -> pb.PredictResponse:
        """Answers a request from a template if there is one."""
        return await self._templates.answer(request, NO_CONTEXT)

    async def check(self, request: pb.PredictRequest) -> forecast_pb2.Forecast:
        """Answers a request in both ways; returns the forecast."""
        response: pb.PredictResponse = await self.answer(request)
        assert response == await self._any.predict(request, NO_CONTEXT)
        return response.forecast


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    batcher = Batcher()
    yield Bench(batcher)
    await batcher.close()


def request(last: float = 4.0, **fields: Any) -> pb.PredictRequest:
    return pb.PredictRequest(pattern=[*[1.0] * 17, last], **fields)


async def test_requests_that_differ_in_their_numbers_share_a_template(bench: Bench) -> None:
    for last in range(-9, 9):
        await bench.check(request(last))
        await bench.check(request(last, pregame_margin=last / 2))
        await bench.check(request(last, alpha=0.2, quantile_levels=[0.25, 0.75], horizon=forecast_pb2.HORIZON_FINAL))
        await bench.check(request(last, model_version=bench.model.version))
    assert bench.made == 4


async def test_what_takes_more_than_numbers_has_no_template(bench: Bench) -> None:
    for others in (
        {"return_explanation": True},
        {"home_team": "BOS", "away_team": "LAL"},
        {"total_points": 60},
    ):
        made = bench.made
        for last in (2.0, 4.0):
            await bench.check(request(last, **others))
        assert bench.made == made + 2


async def test_numbers_that_no_request_may_have_are_refused_as_ever(bench: Bench) -> None:
    await bench.check(request(pregame_margin=1.0))
    for wrong, field in (
        (request(math.nan, pregame_margin=1.0), "pattern[17]"),
        (request(math.inf, pregame_margin=1.0), "pattern[17]"),
        (request(-201.0, pregame_margin=1.0), "pattern[17]"),
        (request(201.0, pregame_margin=1.0), "pattern[17]"),
        (request(pregame_margin=math.nan), "pregame_margin"),
        (request(pregame_margin=-300.0), "pregame_margin"),
    ):
        with pytest.raises(InvalidInput) as error:
            await bench.answer(wrong)
        assert error.value.field == field
    await bench.check(request(200.0, pregame_margin=-200.0))


async def test_a_new_online_state_makes_a_new_template(bench: Bench) -> None:
    await bench.check(request())
    bench.model.update(replace(INITIAL, sequence=7, mode=AdaptationMode.ON))

    forecast = await bench.check(request())

    assert (forecast.calibration_sequence, forecast.adaptation.mode) == (7, forecast_pb2.ADAPTATION_MODE_ON)
    assert bench.made == 2


async def test_an_answer_has_its_own_time_and_the_day_of_now(bench: Bench) -> None:
    before = await bench.check(request())
    bench.clock.step(600)
    soon = await bench.check(request())
    bench.clock.step(86_400)
    later = await bench.check(request())
    bench.clock.step(-86_400)
    again = await bench.check(request())

    assert soon.generated_time.seconds == before.generated_time.seconds + 600
    assert soon.expires_time.seconds == before.expires_time.seconds + 600
    assert [each.game_date for each in (before, soon, later, again)] == [
        "2026-01-14",
        "2026-01-14",
        "2026-01-15",
        "2026-01-14",
    ]


async def test_no_template_keeps_an_online_state_that_has_ended(bench: Bench) -> None:
    for alpha in (0.05, 0.1, 0.2):
        await bench.answer(request(alpha=alpha))
    assert bench.kept == 3
    bench.model.update(replace(INITIAL, sequence=7))
    assert bench.kept == 0


async def test_no_template_keeps_a_model_that_was_given_up() -> None:
    models, batcher = ServingModels(8), Batcher()
    bench = Bench(batcher, models)
    models.add(bench.model)
    version = bench.model.version
    for alpha in (0.05, 0.1, 0.2):
        await bench.answer(request(alpha=alpha, model_version=version))
    assert bench.kept == 3
    models.remove(version)
    del bench.model
    assert bench.kept == 0
    await batcher.close()


async def test_callers_who_vary_alpha_fill_no_memory(bench: Bench) -> None:
    for number in range(MAX_TEMPLATES + 10):
        await bench.answer(request(alpha=0.1 + number / 1e4))
    made = bench.made
    await bench.check(request(alpha=0.1 + (MAX_TEMPLATES + 9) / 1e4))
    assert bench.made == made, "the newest are kept"
    await bench.check(request(alpha=0.1))
    assert bench.made == made + 1, "the oldest are not"
