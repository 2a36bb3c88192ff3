"""Ratings whose newest final is long before a game are not used, and the answer says so."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.learning import until_learned
from tests.support.processes.servers import async_worker

from dejavu.v1 import forecast_pb2
from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_common.clock import game_day
from dejavu_feed.off_season import days_around
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import Horizon
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import served_bundle

SHIPPED = date(2024, 6, 17)
"""Date of the newest final that the ratings of the shipped bundle know."""
FIRST, LAST = days_around(SHIPPED, 30)
OUTDATED, AHEAD = forecast_pb2.WARNING_REASON_RATINGS_OUTDATED, forecast_pb2.WARNING_REASON_RATINGS_AHEAD
LITTLE_KNOWN = forecast_pb2.WARNING_REASON_TEAM_LITTLE_KNOWN
SAME = ("point_forecast", "interval_lower", "interval_upper", "home_lead_probability", "model_version")


async def pair(client: AsyncDejavuClient, home_team: str, away_team: str, **options: Any) -> Forecast:
    return await client.predict(PATTERN, horizon=FINAL, home_team=home_team, away_team=away_team, **options)


def answer(forecast: Forecast) -> tuple[object, ...]:
    return tuple(getattr(forecast, name) for name in SAME)


async def test_ratings_long_before_a_game_are_not_used_and_ratings_from_after_it_are_named(
    client: AsyncDejavuClient,
) -> None:
    """Within the limit, the forecast is bit-equal to one whose age is not counted; beyond, to one without teams."""
    query = ForecastQuery(ScorePattern(tuple(map(float, PATTERN))), Horizon.FINAL, 0.05, "BOS", "LAL")
    known = load_bundle(served_bundle()).forecast(query)
    ends = (known.interval.lower, known.interval.upper)
    of_teams = (known.point, *ends, known.home_lead_probability, known.model_version)
    of_nobody = answer(await client.predict(PATTERN, horizon=FINAL))
    cases: tuple[tuple[date | None, bool, list[int]], ...] = (
        (None, False, [OUTDATED]),  # today
        (SHIPPED, True, []),
        (LAST, True, []),
        (LAST + timedelta(1), False, [OUTDATED]),
        (SHIPPED - timedelta(1), True, [AHEAD]),
        (FIRST, True, [AHEAD]),
        (FIRST - timedelta(1), False, [AHEAD]),
    )
    for game_date, used, reasons in cases:
        forecast = await pair(client, "BOS", "LAL", game_date=game_date)
        assert answer(forecast) == (of_teams if used else of_nobody)
        assert (forecast.HasField("expected_margin"), forecast.home_team, forecast.away_team) == (used, "BOS", "LAL")
        assert (forecast.ratings_date, forecast.finals_since) == ("2024-06-17", 0)
        assert [warning.reason for warning in forecast.warnings] == reasons


async def test_a_reported_final_renews_the_ratings_of_its_teams_on_every_worker_at_the_same_place(
    tmp_path: Path,
) -> None:
    """Two workers on one ledger. Formerly, any final after years made the ratings of all teams current."""
    async with (
        async_worker(tmp_path, shipped=True) as one,
        async_worker(tmp_path, shipped=True) as other,
        AsyncDejavuClient(one.address, timeout=30.0) as client,
        AsyncDejavuClient(other.address, timeout=30.0) as second,
    ):
        recorded = await pair(client, "BOS", "LAL", game_id=current_game(9))
        report = await client.report_outcome(current_game(1), 12, horizon=FINAL, home_team="LAL", away_team="BOS")
        observed = game_day(report.outcome.observed_time.ToDatetime(tzinfo=UTC)).isoformat()
        for each in (client, second):
            await until_learned(each, report)
            forecast = await pair(each, "BOS", "LAL")
            assert (forecast.ratings_date, forecast.finals_since) == (observed, 1)
            assert forecast.HasField("expected_margin")
            assert [warning.reason for warning in forecast.warnings] == [LITTLE_KNOWN]
            for home_team in ("WAS", "BOS"):
                forecast = await pair(each, home_team, "OKC")
                assert answer(forecast) == answer(await each.predict(PATTERN, horizon=FINAL))
                assert [warning.reason for warning in forecast.warnings] == [OUTDATED]
            [model] = await each.list_models()
            assert (model.ratings_date, model.finals_since, model.ratings_age_days) == (observed, 1, 0)
        assert await pair(client, "BOS", "LAL", game_id=current_game(9)) == recorded
        await client.withdraw_outcome(current_game(1), horizon=FINAL)
        async with asyncio.timeout(20):
            while (forecast := await pair(client, "BOS", "LAL")).finals_since:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.05)
        assert forecast.ratings_date == "2024-06-17"
