"""Shadows are made beside every recorded forecast, by the models that did not make it, and cost its caller nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.builders.model_changes import champion
from tests.support.builders.outcomes import outcome
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_feed.box_score import lineups
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.records import IssuedForecast
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.shadow import MAX_WAITING, ShadowForecaster
from dejavu_server.limits import SERVER
from dejavu_server.observability.metrics import Metrics

PATTERN = (0.0,) * 17 + (6.0,)
"""A pattern that the models of these tests forecast."""


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


class Setting:
    """Shadows of the models v1 and v2 on a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.metrics = Metrics()
        self.batcher = Batcher(Metrics())
        self.one, self.two = (PersistenceForecaster(version) for version in ("v1", "v2"))
        self.models = [self.one, self.two]
        self.shadows = ShadowForecaster(lambda: ledger, self.batcher, lambda: self.models, self.metrics, rest=at_once)

    async def make(self, forecasts: Sequence[IssuedForecast]) -> list[tuple[int, str]]:
        """Make the shadows of forecasts; return the sequence of the forecast and the model of each recorded one."""
        for each in forecasts:
            self.shadows.put(each)
        await self.shadows.close()

        def read(connection: Connection) -> list[tuple[int, str]]:
            text = "SELECT forecast_sequence, model_version FROM shadows ORDER BY forecast_sequence"
            return [(of, version) for of, version in sql.rows(connection, text)]

        return await self.ledger.read(read)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


@pytest.fixture
async def setting(ledger: Ledger) -> AsyncIterator[Setting]:
    made = Setting(ledger)
    yield made
    await made.shadows.close()
    await made.batcher.close()


def forecast(number: int = 1, **fields: Any) -> IssuedForecast:
    return issued(game(number), **{"pattern": PATTERN, **fields})


@pytest.mark.parametrize(
    ("forecasts", "rows", "counted"),
    [
        ([forecast(number) for number in (1, 2, 3)], [(1, "v2"), (2, "v2"), (3, "v2")], {"recorded": 3}),
        ([forecast(1, model_version="v2"), forecast(2)], [(1, "v1"), (2, "v2")], {"recorded": 2}),
        ([forecast(1, pattern=(1.0, 2.0)), forecast(2)], [(2, "v2")], {"recorded": 1, "unsupported": 1}),
    ],
    ids=["the challenger of the champion", "the champion of a challenger", "what it cannot forecast"],
)
async def test_every_recorded_forecast_has_a_shadow_of_each_other_model(
    setting: Setting, forecasts: list[IssuedForecast], rows: list[tuple[int, str]], counted: dict[str, int]
) -> None:
    assert await setting.make(await recorded(setting.ledger, *forecasts)) == rows
    for each in ("recorded", "refused", "failed", "unsupported"):
        assert setting.count("dejavu_shadows_total", outcome=each) == counted.get(each, 0)


async def test_a_challenger_answers_the_very_query_that_the_champion_answered(setting: Setting) -> None:
    """Formerly, only the champion knew who plays, and a challenger with the same forecasts looked worse."""
    asked: dict[str, list[ForecastQuery]] = {"v1": [], "v2": []}
    for each in setting.models:
        each.before = asked[each.version].extend
    query = ForecastQuery(
        ScorePattern(PATTERN),
        alpha=0.2,
        home_team="BOS",
        away_team="LAL",
        explain=True,
        record=True,
        game_date=date(2024, 5, 20),
        live=LiveInputs(80, neutral_site=True),
        lineups=lineups(range(1, 6), range(21, 26), range(1, 9), range(21, 29), minute=18),
    )
    models = ServingModels([setting.one])
    models.switch(await champion(setting.ledger, "v1", "v2"))
    service = ForecastService(
        models,
        setting.batcher,
        lambda: setting.ledger,
        Metrics(),
        lifetime=timedelta(minutes=5),
        on_new=setting.shadows.put,
    )
    await service.forecast(ForecastRequest(game(1), "", query), SERVER)
    await setting.shadows.close()
    assert asked == {"v1": [query], "v2": [replace(query, explain=False)]}


async def test_forecasts_beyond_those_that_may_wait_are_shed_oldest_first_with_one_log_line(setting: Setting) -> None:
    first, unsupported = await recorded(setting.ledger, forecast(1), forecast(2, pattern=(1.0, 2.0)))
    with capture_logs() as logs:
        assert await setting.make([first, first, *[unsupported] * MAX_WAITING]) == []
    assert [entry["event"] for entry in logs] == ["shadows_shed"]
    assert setting.count("dejavu_shadows_shed_total") == 2


async def test_a_shadow_is_not_made_with_hindsight(setting: Setting) -> None:
    stored = await recorded(setting.ledger, forecast())
    await setting.ledger.record_outcome(outcome(4, game(1)))
    assert await setting.make(stored) == []
    assert setting.count("dejavu_shadows_total", outcome="refused") == 1


async def test_a_failing_challenger_costs_only_its_own_shadows(setting: Setting) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("broken")

    setting.models.append(PersistenceForecaster("v3"))
    setting.models[-1].before = fail
    with capture_logs() as logs:
        assert await setting.make(await recorded(setting.ledger, forecast())) == [(1, "v2")]
    assert setting.count("dejavu_shadows_total", outcome="failed") == 1
    assert "shadows_failed" in [entry["event"] for entry in logs]


async def test_calls_go_on_while_shadows_are_computed(setting: Setting) -> None:
    """A challenger that takes long holds up no call: it computes on the thread, and calls are answered on the loop."""
    computing, release = threading.Event(), threading.Event()

    def block(_: object) -> None:
        computing.set()
        assert release.wait(10)

    setting.two.before = block
    setting.shadows.start()
    [stored] = await recorded(setting.ledger, forecast())
    setting.shadows.put(stored)
    assert await asyncio.to_thread(computing.wait, 10)
    answer = await asyncio.wait_for(setting.batcher.forecast(setting.one, ForecastQuery(stored.pattern)), 10)
    assert answer.model_version == "v1"
    release.set()
