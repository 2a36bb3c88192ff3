"""A market is weighed for the day and the line-ups of the recorded forecast that it is sent with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.support.builders.calls import GAME
from tests.support.builders.outcomes import MARKET
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from typing_extensions import override

from dejavu_common.clock import game_day
from dejavu_feed.box_score import Lineups, lineups
from dejavu_ledger import Ledger
from dejavu_ledger.queries import pages
from dejavu_ledger.records import IssuedForecast, MarketRecording
from dejavu_models.betting import Market
from dejavu_models.forecast_query import ForecastQuery, LineupEffects, ScorePattern
from dejavu_models.types import ExpectedMarginTerms, Forecast
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import SERVER
from dejavu_server.observability.metrics import Metrics

GAME_DAY = game_day(datetime.now(UTC))  # a market of a past evening is late, and not recorded
LATER = GAME_DAY + timedelta(days=1)


def line_ups(substitutes: int) -> Lineups:
    return lineups(range(1, 6), range(21, 26), range(1, 6 + substitutes), ())


def effects(query: ForecastQuery) -> LineupEffects:
    if isinstance(query.lineups, Lineups):
        return LineupEffects(missing_players=float(len(query.lineups.home_seen)))
    return query.lineups or LineupEffects()


class DatedForecaster(EveryMinuteForecaster):
    """Gives the home team 74 % on the day of the game, 70 % on others; half as much once it has learned something.

    Each player that was seen costs it a percentage point.
    """

    @override
    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        return [
            replace(
                made,
                home_lead_probability=(0.74 if query.game_date == GAME_DAY else 0.7) / (1 + (self.state.sequence > 0))
                - effects(query).missing_players / 100,
                expected_margin_terms=ExpectedMarginTerms(2.0, 2.0, **effects(query)._asdict()),
            )
            for query, made in zip(queries, super().forecast_many(queries), strict=True)
        ]


@pytest.fixture
def model() -> DatedForecaster:
    return DatedForecaster()


@pytest.fixture
async def service(model: DatedForecaster, ledger: Ledger) -> AsyncIterator[ForecastService]:
    batcher = Batcher(Metrics())
    yield ForecastService(ServingModels([model]), batcher, lambda: ledger, Metrics(), lifetime=timedelta(minutes=5))
    await batcher.close()


def question(
    day: date,
    *,
    given: bool,
    market: Market | None = None,
    levels: tuple[float, ...] = (),
    who_plays: Lineups | None = None,
) -> ForecastRequest:
    query = ForecastQuery(
        ScorePattern((0.0, 4.0)),
        home_team="BKN",
        away_team="GSW",
        record=True,
        explain=True,
        markets=() if market is None else (market,),
        quantile_levels=levels,
        game_date=day,
        lineups=who_plays,
    )
    return ForecastRequest(GAME, "", query, day if given else None)


async def ask(service: ForecastService, request: ForecastRequest, *, many: bool) -> IssuedForecast:
    [answer] = await service.forecast_many([request], SERVER) if many else [await service.forecast(request, SERVER)]
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
    assert [each.market for each in quote.markets] == [MARKET]
    assert quote.recomputed is None
    [listed] = (await ledger.read(lambda connection: pages.page(connection, pages.ForecastFilter(), "", 9))).forecasts
    assert [each.answer for each in listed.markets] == [quote.forecast.market]


@pytest.mark.parametrize("later", [None, line_ups(3)], ids=["none", "others"])
@pytest.mark.parametrize("many", [False, True])
async def test_a_market_with_other_line_ups_is_weighed_with_the_recorded_ones(
    service: ForecastService, model: DatedForecaster, ledger: Ledger, many: bool, later: Lineups | None
) -> None:
    """Formerly, a forecast of 68 % had a bet at another probability, chosen by line-ups that nothing recorded."""
    await ask(service, question(GAME_DAY, given=True, who_plays=line_ups(1)), many=many)
    weighed: list[LineupEffects] = []
    model.before = lambda queries: weighed.extend(map(effects, queries))
    quote = await ask(service, question(GAME_DAY, given=True, market=MARKET, who_plays=later), many=many)
    assert weighed[1:] == [LineupEffects(missing_players=6.0)]
    assert quote.forecast.home_lead_probability == pytest.approx(0.68)
    assert (quote.markets[0].recording, quote.recomputed) == (MarketRecording.RECORDED, None)
    [listed] = (await ledger.read(lambda connection: pages.page(connection, pages.ForecastFilter(), "", 9))).forecasts
    assert [each.answer for each in listed.markets] == [quote.forecast.market]
