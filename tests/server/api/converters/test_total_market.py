"""Markets of total points: read with the names of their fields, weighed by the total's distribution, and answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.builders.bundles import without_totals
from tests.support.builders.calibrations import steady_totals
from tests.support.builders.issued_forecasts import TOTAL, issued

from dejavu.v1 import forecast_pb2, market_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.live_inputs import LiveInputs
from dejavu_models.betting import MarketSide, TotalMarket
from dejavu_models.errors import InvalidInput, UnsupportedTotals
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.totals.forecast import forecast_total
from dejavu_models.types import Forecast, Horizon, MarginSource
from dejavu_server.api.converters import prediction
from dejavu_server.api.converters.total_market import total_market, total_market_message_of
from dejavu_server.ledger.entries import codec

TOTALS = steady_totals()
KNOWN, UNKNOWN = (TOTALS.tables(source, Horizon.FINAL, 3) for source in (MarginSource.KNOWN, MarginSource.UNKNOWN))
QUERY = ForecastQuery(ScorePattern((1.0, 3.0, 2.0)), Horizon.FINAL, live=LiveInputs(total_points=14))


def request(**market: Any) -> PredictRequest:
    odds = {"over": market_pb2.Odds(american=-110), "under": market_pb2.Odds(decimal=1.95)}
    given = market_pb2.TotalMarket(**{"line": 221.5, **odds, **market})
    return PredictRequest(pattern=[1, 3, 2], horizon=forecast_pb2.HORIZON_FINAL, total_points=14, total_market=given)


def test_odds_in_either_form_are_read() -> None:
    read = total_market(request(bankroll=50.0, confidence_threshold=0.6))
    assert read == TotalMarket(221.5, 1 + 100 / 110, 1.95, 50.0, 0.6, home_american=-110)
    assert total_market(request()) == TotalMarket(221.5, 1 + 100 / 110, 1.95, home_american=-110)
    assert prediction.forecast_request(request()).query.total_market == total_market(request())


def test_a_market_of_total_points_needs_total_points_and_a_model_that_forecasts_them() -> None:
    without = request()
    without.ClearField("total_points")
    with pytest.raises(InvalidInput, match="total_points beside it") as refused:
        prediction.forecast_request(without)
    assert refused.value.field == "total_market"
    plain = without_totals()
    query = prediction.forecast_request(request()).query
    with pytest.raises(UnsupportedTotals) as unsupported:
        plain.forecast(query)
    assert unsupported.value.field == "total_market"
    model = Forecaster(plain.manifest, plain.models, plain.calibration, plain.rating_filter, TOTALS)
    total = model.forecast(query).total
    assert total is not None
    assert total.market is not None


def with_market(answer: Any) -> Forecast:
    return replace(issued().forecast, total=replace(TOTAL, market=answer))


def test_the_answer_says_over_or_under_and_is_not_recorded() -> None:
    query = replace(QUERY, total_market=TotalMarket(180.5, 1.9, 1.95))
    answer = forecast_total(KNOWN, query, 14, 231.0).market
    assert answer is not None
    assert answer.implausible
    made = replace(issued(), forecast=with_market(answer), live=LiveInputs(total_points=14))
    message = total_market_message_of(made)
    assert message is not None
    assert message.side == market_pb2.TOTAL_SIDE_UNSPECIFIED
    assert [each.reason for each in message.warnings] == [forecast_pb2.WARNING_REASON_IMPLAUSIBLE_DIFFERENCE]
    assert "it gives over" in message.warnings[0].text
    for side, told in ((MarketSide.HOME, market_pb2.TOTAL_SIDE_OVER), (MarketSide.AWAY, market_pb2.TOTAL_SIDE_UNDER)):
        chosen = total_market_message_of(replace(made, forecast=with_market(replace(answer, side=side))))
        assert chosen is not None
        assert chosen.side == told
        assert chosen.over.win_probability == answer.home.win_probability
    recorded = codec.as_read(made, 1, 0, None)
    assert recorded.forecast.total == TOTAL
    assert codec.prepare(made).payload == codec.prepare(recorded).payload
    assert total_market_message_of(issued()) is None
