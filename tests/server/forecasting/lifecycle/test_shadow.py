"""Shadows are made beside every recorded forecast, by the models that did not make it, and cost its caller nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest
from structlog.testing import capture_logs
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.outcomes import outcome
from tests.support.fakes.forecasters import PersistenceForecaster
from typing_extensions import override

from dejavu_feed.box_score import lineups
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.records import IssuedForecast
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.forecasting.lifecycle import shadow
from dejavu_server.forecasting.lifecycle.models import Chosen, ServingModels
from dejavu_server.forecasting.lifecycle.shadow import ShadowForecaster
from dejavu_server.limits import SERVER
from dejavu_server.observability.metrics import Metrics

_PATTERN = (0.0,) * 17 + (6.0,)
"""A pattern that the models of these tests forecast."""


class _Models:
    """The loaded models; a test replaces them."""

    def __init__(self, *models: Forecaster) -> None:
        self.loaded: Sequence[Forecaster] = models

    def __call__(self) -> Sequence[Forecaster]:
        return self.loaded


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
async def batcher() -> AsyncIterator[Batcher]:
    made = Batcher(Metrics())
    yield made
    await made.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def models() -> _Models:
    return _Models(PersistenceForecaster("v1"), PersistenceForecaster("v2"))


@pytest.fixture
async def made(ledger: Ledger, batcher: Batcher, models: _Models, metrics: Metrics) -> AsyncIterator[ShadowForecaster]:
    running = ShadowForecaster(lambda: ledger, batcher, models, metrics, rest=_at_once)
    yield running
    await running.close()


def _forecast(number: int = 1, **fields: object) -> IssuedForecast:
    return issued(game(number), **{"pattern": _PATTERN, **fields})  # type: ignore[arg-type]


async def _rows(ledger: Ledger) -> list[tuple[int, str]]:
    def read(connection: Connection) -> list[tuple[int, str]]:
        text = "SELECT forecast_sequence, model_version FROM shadows ORDER BY sequence"
        return [(of, version) for of, version in sql.rows(connection, text)]

    return await ledger.read(read)


def _count(metrics: Metrics, outcome_: str) -> float:
    return metrics.registry.get_sample_value("dejavu_shadows_total", {"outcome": outcome_}) or 0


async def test_every_recorded_forecast_has_the_shadow_of_the_challenger(
    ledger: Ledger, made: ShadowForecaster, metrics: Metrics
) -> None:
    stored = await recorded(ledger, *(_forecast(number) for number in range(1, 4)))
    for each in stored:
        made.put(each)
    await made.close()
    assert await _rows(ledger) == [(1, "v2"), (2, "v2"), (3, "v2")]
    assert _count(metrics, "recorded") == 3


class _Roster(ServingModels):
    """Models that a roster chose."""

    @override
    def choose(self) -> Chosen:
        return super().choose()._replace(roster_sequence=0)


async def test_a_challenger_answers_the_very_query_that_the_champion_answered(
    ledger: Ledger, made: ShadowForecaster, models: _Models, batcher: Batcher
) -> None:
    """Formerly, only the champion knew who plays, and a challenger with the same forecasts looked worse."""
    asked: dict[str, list[ForecastQuery]] = {"v1": [], "v2": []}
    champion, challenger = PersistenceForecaster("v1"), PersistenceForecaster("v2")
    champion.before, challenger.before = asked["v1"].extend, asked["v2"].extend
    models.loaded = [champion, challenger]
    query = ForecastQuery(
        ScorePattern(_PATTERN),
        alpha=0.2,
        home_team="BOS",
        away_team="LAL",
        explain=True,
        record=True,
        game_date=date(2024, 5, 20),
        live=LiveInputs(80, neutral_site=True),
        lineups=lineups(range(1, 6), range(21, 26), range(1, 9), range(21, 29), minute=18),
    )
    service = ForecastService(
        _Roster([champion]), batcher, lambda: ledger, Metrics(), lifetime=timedelta(minutes=5), on_new=made.put
    )
    await service.forecast(ForecastRequest(game(1), "", query), SERVER)
    await made.close()
    assert asked == {"v1": [query], "v2": [replace(query, explain=False)]}


async def test_the_champion_makes_shadows_of_what_a_challenger_answered(ledger: Ledger, made: ShadowForecaster) -> None:
    stored = await recorded(ledger, _forecast(1, model_version="v2"), _forecast(2))
    for each in stored:
        made.put(each)
    await made.close()
    assert sorted(await _rows(ledger)) == [(1, "v1"), (2, "v2")]


async def test_what_cannot_be_kept_up_with_is_shed_oldest_first_and_said_once(
    ledger: Ledger, made: ShadowForecaster, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MAX_WAITING", 3)
    stored = await recorded(ledger, *(_forecast(number) for number in range(1, 7)))
    with capture_logs() as logs:
        for each in stored:
            made.put(each)
    assert [entry["event"] for entry in logs] == ["shadows_shed"]
    await made.close()
    assert await _rows(ledger) == [(4, "v2"), (5, "v2"), (6, "v2")]
    assert metrics.registry.get_sample_value("dejavu_shadows_shed_total") == 3


async def test_a_shadow_is_not_made_with_hindsight(ledger: Ledger, made: ShadowForecaster, metrics: Metrics) -> None:
    [stored] = await recorded(ledger, _forecast())
    await ledger.record_outcome(outcome(4, game(1)))
    made.put(stored)
    await made.close()
    assert await _rows(ledger) == []
    assert _count(metrics, "refused") == 1


async def test_what_a_challenger_cannot_forecast_is_left_to_the_others(
    ledger: Ledger, made: ShadowForecaster, metrics: Metrics, models: _Models
) -> None:
    [stored, supported] = await recorded(ledger, _forecast(1, pattern=(1.0, 2.0)), _forecast(2))
    for each in (stored, supported):
        made.put(each)
    await made.close()
    assert await _rows(ledger) == [(2, "v2")]
    assert _count(metrics, "unsupported") == 1


async def test_a_failing_challenger_costs_only_its_own_shadows(
    ledger: Ledger, made: ShadowForecaster, metrics: Metrics, models: _Models
) -> None:
    broken = PersistenceForecaster("v3")

    def fail(_: object) -> None:
        raise RuntimeError("broken")

    broken.before = fail
    models.loaded = [*models.loaded, broken]
    [stored] = await recorded(ledger, _forecast())
    with capture_logs() as logs:
        made.put(stored)
        await made.close()
    assert await _rows(ledger) == [(1, "v2")]
    assert _count(metrics, "failed") == 1
    assert "shadows_failed" in [entry["event"] for entry in logs]


async def test_calls_go_on_while_shadows_are_computed(
    ledger: Ledger, batcher: Batcher, models: _Models, metrics: Metrics
) -> None:
    """A challenger that takes long holds up no call: it computes on the thread, and calls are answered on the loop."""
    computing, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    challenger = PersistenceForecaster("v2")

    def block(_: object) -> None:
        loop.call_soon_threadsafe(computing.set)
        asyncio.run_coroutine_threadsafe(_wait(release), loop).result()

    challenger.before = block
    models.loaded = [models.loaded[0], challenger]
    made = ShadowForecaster(lambda: ledger, batcher, models, metrics, rest=_at_once)
    made.start()
    [stored] = await recorded(ledger, _forecast())
    made.put(stored)
    await asyncio.wait_for(computing.wait(), 10)
    answer = await asyncio.wait_for(batcher.forecast(models.loaded[0], ForecastQuery(stored.pattern)), 10)
    assert answer.model_version == "v1"
    release.set()
    await made.close()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
