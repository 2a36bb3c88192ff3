from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from tests.support.builders.calls import GAME
from tests.support.builders.issued_forecasts import game
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger, LedgerUnavailable, OutcomeAlreadyRecorded
from dejavu_ledger.ledger import UNLIMITED, Recorder
from dejavu_ledger.records import IssuedForecast
from dejavu_models.errors import UnknownModel, Unsupported
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.results import Failed, Result
from dejavu_models.types import Forecast, Horizon
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import SERVER
from dejavu_server.observability.metrics import Metrics

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


TOTAL_POINTS = 80


class Notebook(Ledger):
    """An in-memory ledger."""

    def __init__(self) -> None:
        self.commits: list[list[IssuedForecast]] = []
        self.broken = False
        self.stored: Forecast | None = None
        """The forecast already recorded, if any."""
        self.known = frozenset[str]()
        """Games with a recorded outcome."""
        self.recorded_before = frozenset[str]()
        """Games whose forecast was recorded a day earlier, with TOTAL_POINTS."""

    async def commit(
        self, issued: Sequence[IssuedForecast], recorder: Recorder = UNLIMITED
    ) -> list[Result[IssuedForecast]]:
        if self.broken:
            raise LedgerUnavailable("the ledger is full")
        self.commits.append(list(issued))
        return [
            Failed(OutcomeAlreadyRecorded("it is known"))
            if each.game_id in self.known
            else replace(
                each,
                sequence=100 + place,
                forecast=self.stored or each.forecast,
                generated_time=each.generated_time - timedelta(each.game_id in self.recorded_before),
                created=each.game_id not in self.recorded_before,
                live=LiveInputs(TOTAL_POINTS) if each.game_id in self.recorded_before else each.live,
            )
            for place, each in enumerate(issued)
        ]


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
async def issuer(notebook: Notebook) -> AsyncIterator[ForecastService]:
    batcher = Batcher(Metrics(), max_waiting=10)
    registry = ServingModels([PersistenceForecaster("one"), PersistenceForecaster("two")])
    yield ForecastService(
        registry, batcher, lambda: notebook, Metrics(), lifetime=timedelta(minutes=5), clock=lambda: NOW
    )
    await batcher.close()


@pytest.fixture
async def every_minute(notebook: Notebook) -> AsyncIterator[ForecastService]:
    """A forecast service whose model supports quantiles."""
    batcher = Batcher(Metrics())
    registry = ServingModels([EveryMinuteForecaster()])
    yield ForecastService(
        registry, batcher, lambda: notebook, Metrics(), lifetime=timedelta(minutes=5), clock=lambda: NOW
    )
    await batcher.close()


def question(last: float = 4.0, *, game_id: str = "", model: str = "", slots: int = 18) -> ForecastRequest:
    pattern = ScorePattern((*[0.0] * (slots - 1), last))
    return ForecastRequest(
        game_id, model, ForecastQuery(pattern, home_team="BKN", away_team="GSW", pregame_margin=None)
    )


def kind(result: Result[IssuedForecast]) -> type[object]:
    return type(result.error if isinstance(result, Failed) else result)


@pytest.mark.parametrize("many", [False, True])
async def test_a_named_game_has_the_quantiles_of_this_call_whatever_the_ledger_keeps(
    every_minute: ForecastService, notebook: Notebook, many: bool
) -> None:
    async def ask(*levels: float) -> IssuedForecast:
        asked = question(game_id=GAME)
        asked = replace(asked, query=replace(asked.query, quantile_levels=levels))
        [issued] = (
            await every_minute.forecast_many([asked], SERVER) if many else [await every_minute.forecast(asked, SERVER)]
        )
        assert isinstance(issued, IssuedForecast)
        return issued

    notebook.stored = (await ask()).forecast
    assert [each.level for each in (await ask(0.9, 0.1)).forecast.quantiles] == [0.9, 0.1]
    notebook.stored = (await ask(0.5)).forecast  # another worker's forecast was committed first in the transaction
    assert [each.level for each in (await ask(0.25)).forecast.quantiles] == [0.25]
    assert (await ask()).forecast.quantiles == ()


@pytest.mark.parametrize("many", [False, True])
async def test_quantiles_are_of_the_total_points_that_were_recorded(
    every_minute: ForecastService, notebook: Notebook, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    forecast_many, used = EveryMinuteForecaster.forecast_many, list[int | None]()

    def noted(self: EveryMinuteForecaster, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        used.extend(query.live.total_points for query in queries)
        return forecast_many(self, queries)

    monkeypatch.setattr(EveryMinuteForecaster, "forecast_many", noted)
    notebook.recorded_before = frozenset({GAME})
    for levels, total_points, expected in (((), None, [None]), ((0.5,), None, [None, 80]), ((0.5,), 80, [80])):
        asked = replace(question(game_id=GAME), game_date=NOW.date())
        query = replace(asked.query, quantile_levels=levels, live=LiveInputs(total_points), game_date=NOW.date())
        asked = replace(asked, query=query)
        [issued] = (
            await every_minute.forecast_many([asked], SERVER) if many else [await every_minute.forecast(asked, SERVER)]
        )
        assert isinstance(issued, IssuedForecast)
        assert [each.level for each in issued.forecast.quantiles] == list(levels)
        assert issued.live.total_points == TOTAL_POINTS
        assert used == expected
        used.clear()


async def test_what_the_ledger_says_of_forecasts_is_counted(notebook: Notebook) -> None:
    registry = CollectorRegistry()
    batcher = Batcher(Metrics())
    issuer = ForecastService(
        ServingModels([EveryMinuteForecaster()]),
        batcher,
        lambda: notebook,
        Metrics(registry),
        lifetime=timedelta(1),
        clock=lambda: NOW,
    )
    final = replace(question(), game_id=game(5), query=replace(question().query, horizon=Horizon.FINAL))
    notebook.known, notebook.recorded_before = frozenset({game(2), game(3)}), frozenset({game(4)})
    await issuer.forecast_many([*(question(game_id=game(n)) for n in (1, 2, 3, 4)), question(), final], SERVER)
    notebook.broken = True
    with pytest.raises(LedgerUnavailable):
        await issuer.forecast(final, SERVER)
    await batcher.close()
    counts = {
        horizon.value: [
            registry.get_sample_value("dejavu_forecasts_recorded_total", {"outcome": outcome, "horizon": horizon.value})
            for outcome in ("new", "known", "refused", "failed")
        ]
        for horizon in Horizon
    }
    assert counts == {"halftime": [1, 1, 2, 0], "final": [1, 0, 0, 1]}


async def test_of_many_each_has_its_own_fate_in_its_own_place(issuer: ForecastService, notebook: Notebook) -> None:
    results = await issuer.forecast_many(
        [
            question(1.0, game_id=GAME),
            question(2.0, slots=5),
            question(3.0),
            question(4.0, model="three"),
            question(5.0, model="two"),
        ],
        SERVER,
    )
    assert [result.forecast.point if isinstance(result, IssuedForecast) else kind(result) for result in results] == [
        1.0,
        Unsupported,
        3.0,
        UnknownModel,
        5.0,
    ]
    assert [result.sequence for result in results if isinstance(result, IssuedForecast)] == [100, 0, 0]
    assert len(notebook.commits) == 1  # recorded together


async def test_of_many_those_asked_again_with_what_was_recorded_are_recorded_together(
    every_minute: ForecastService, notebook: Notebook
) -> None:
    """Recorded one by one, they would not wait for their caller's turn, and would delay the forecasts of others."""
    notebook.recorded_before = frozenset({GAME})
    asked = [replace(question(last, game_id=GAME), game_date=NOW.date()) for last in (2.0, 4.0, 6.0)]
    asked = [replace(each, query=replace(each.query, quantile_levels=(0.5,))) for each in asked]
    results = await every_minute.forecast_many([*asked, question(4.0)], SERVER)
    assert [isinstance(each, IssuedForecast) and len(each.forecast.quantiles) for each in results] == [1, 1, 1, 0]
    assert [len(each) for each in notebook.commits] == [3, 3]


async def test_of_many_only_named_games_fail_with_the_ledger(issuer: ForecastService, notebook: Notebook) -> None:
    notebook.broken = True
    named, what_if = await issuer.forecast_many([question(game_id=GAME), question()], SERVER)
    assert kind(named) is LedgerUnavailable
    assert isinstance(what_if, IssuedForecast)
