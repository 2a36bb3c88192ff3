"""A market is weighed for the day of the recorded forecast that it is sent with, whatever day it is now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.support.builders.calls import GAME
from tests.support.builders.outcomes import MARKET
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from typing_extensions import override

from dejavu_common.game_day import game_day
from dejavu_models.betting import Market
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.online_state import OnlineState
from dejavu_models.registry.registry import Registry
from dejavu_models.types import Forecast
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.queries import pages
from dejavu_server.observability.metrics import Metrics
from dejavu_server.records import ForecastRequest, IssuedForecast

GAME_DAY = game_day(datetime.now(UTC))  # a market of a past evening is late, and not recorded
LATER = GAME_DAY + timedelta(days=1)


class DatedForecaster(EveryMinuteForecaster):
    """Gives the home team 74 % on the day of the game, 70 % on others; half as much once it has learned something."""

    @override
    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        return [
            replace(
                made,
                home_lead_probability=(0.74 if query.game_date == GAME_DAY else 0.7) / (1 + (self.state.sequence > 0)),
            )
            for query, made in zip(queries, super().forecast_many(queries), strict=True)
        ]


@pytest.fixture
def model() -> DatedForecaster:
    return DatedForecaster()


@pytest.fixture
async def service(model: DatedForecaster, ledger: Ledger) -> AsyncIterator[ForecastService]:
    batcher = Batcher()
    yield ForecastService(Registry([model]), batcher, ledger, Metrics().recorded, lifetime=timedelta(minutes=5))
    await batcher.close()


def question(
    day: date, *, given: bool, market: Market | None = None, levels: tuple[float, ...] = ()
) -> ForecastRequest:
    query = ForecastQuery(
        ScorePattern((0.0, 4.0)),
        home_team="BKN",
        away_team="GSW",
        record=True,
        explain=True,
        market=market,
        quantile_levels=levels,
        game_date=day,
    )
    return ForecastRequest(GAME, "", query, day if given else None)


async def ask(service: ForecastService, request: ForecastRequest, *, many: bool) -> IssuedForecast:
    [answer] = await service.forecast_many([request]) if many else [await service.forecast(request)]
    assert isinstance(answer, IssuedForecast)
    return answer


@pytest.mark.parametrize("many", [False, True])
async def test_a_market_without_a_date_is_weighed_for_the_recorded_date(
    service: ForecastService, model: DatedForecaster, ledger: Ledger, many: bool
) -> None:
    """Formerly, the market of a forecast of 74 % was weighed with 70 %, the probability for today's date."""
    recorded = await ask(service, question(GAME_DAY, given=True), many=many)
    asked = question(LATER, given=False, market=MARKET, levels=(0.5,))
    weighed: list[date | None] = []
    model.before = lambda queries: weighed.extend(query.game_date for query in queries)
    quote = await ask(service, asked, many=many)
    assert weighed == [LATER, GAME_DAY]
    assert (quote.sequence, quote.revision, quote.day) == (recorded.sequence, 0, GAME_DAY)
    assert quote.forecast.home_lead_probability == 0.74
    assert quote.market == MARKET
    assert quote.market_forecast is None
    [listed] = (await ledger.read(lambda connection: pages.page(connection, pages.ForecastFilter(), "", 9))).forecasts
    assert listed.market_answer == quote.forecast.market


async def test_a_market_weighed_by_what_was_learned_since_has_both_forecasts(
    service: ForecastService, model: DatedForecaster
) -> None:
    await service.forecast(question(GAME_DAY, given=True))
    model.update(OnlineState(sequence=7))
    quote = await service.forecast(question(LATER, given=False, market=MARKET))
    assert quote.forecast.home_lead_probability == 0.74
    assert quote.market_forecast is not None
    assert quote.market_forecast.home_lead_probability == 0.37
    assert (await service.forecast(question(LATER, given=False))).market_forecast is None
