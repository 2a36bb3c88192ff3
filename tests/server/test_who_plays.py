"""Line-ups over a real connection: models learn from box scores, and line-ups change the expected margin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.box_scores import made_box_score
from tests.support.harness.learning import learned
from tests.support.processes.servers import async_worker

from dejavu.v1.forecast_pb2 import WARNING_REASON_IMPLAUSIBLE_MARGIN, Forecast
from dejavu.v1.prediction_service_pb2 import Lineups
from dejavu.v1.record_service_pb2 import PlayerLine
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.requests import lineups
from dejavu_models.forecaster import Forecaster
from dejavu_models.player_ratings import LineupWeights, PlayerRatings
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import served_bundle

TEAMS: Any = {"home_team": "BOS", "away_team": "LAL"}


def model() -> Forecaster:
    """Return the shipped models with ratings that know no player yet."""
    shipped = load_bundle(served_bundle())
    players = PlayerRatings(season=2026, weights=LineupWeights(0.8, 0.3, -0.2))
    return Forecaster(
        shipped.manifest, shipped.models, shipped.calibration, shipped.rating_filter, shipped.totals, players
    )


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncDejavuClient]:
    async with (
        async_worker(tmp_path, model(), max_ratings_days=500) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        yield client


def game_id(number: int) -> str:
    return f"00225{number:05d}"


def players(number: int) -> list[PlayerLine]:
    """Return the box score of a game."""
    fields = ("home", "seconds", "plus_minus", "started")
    return [
        PlayerLine(player_id=line.player, **{field: getattr(line, field) for field in fields})
        for line, _ in made_box_score("BOS", "LAL", 5 + number, number)
    ]


async def report(client: AsyncDejavuClient, number: int, *, box_score: bool = True) -> int:
    """Report that BOS beat LAL, every second day, and wait until the model has learned it."""
    over = datetime(2025, 10, 25, 4, tzinfo=UTC) + timedelta(days=2 * number)
    fields = {**TEAMS, "observed_time": over, "players": players(number) if box_score else []}
    return (await learned(client, game_id(number), 5 + number, **fields)).outcome.sequence


def seen(missing: int = 0) -> Lineups:
    """Return line-ups without the first usual players of BOS."""
    box = made_box_score("BOS", "LAL", 5, 0)
    home, away = (sorted(line.player for line, _ in box if line.home is is_home) for is_home in (True, False))
    return lineups(home[missing : missing + 5], away[:5], home[missing:], away)


async def ask(client: AsyncDejavuClient, line_ups: Lineups | None, **options: Any) -> Forecast:
    options |= {**TEAMS, "game_date": date(2025, 11, 23), "lineups": line_ups}
    return await client.predict([1.0, 4.0], horizon=FINAL, **options)


async def test_missing_players_move_the_margin_and_are_recorded_and_make_no_given_one_plausible(
    client: AsyncDejavuClient,
) -> None:
    """Otherwise a caller could make intervals learn from forecasts with a margin far from that of the ratings."""
    for number in range(3):
        await report(client, number)
    plain, complete, moved = await ask(client, None), await ask(client, seen()), await ask(client, seen(missing=3))
    assert moved.expected_margin < plain.expected_margin - 1
    for off, line_ups in ((-11.5, None), (-12.5, seen(missing=3))):
        given = await ask(client, line_ups, pregame_margin=plain.expected_margin + off)
        reasons = {each.reason for each in given.warnings}
        assert (WARNING_REASON_IMPLAUSIBLE_MARGIN in reasons) is (off < -12)
    forecast = await ask(client, seen(missing=3), game_id=game_id(77))
    terms = forecast.expected_margin_terms
    assert terms.home_missing >= 2
    assert terms.missing_players < complete.expected_margin_terms.missing_players
    stored = await client.get_prediction(game_id(77), horizon=FINAL)
    assert stored.prediction.forecast.expected_margin_terms == terms
    assert await ask(client, seen(), game_id=game_id(77)) == forecast, "a retry gets what is recorded"


async def test_a_box_score_is_added_withdrawn_and_never_replaced_by_a_report_without_it(
    client: AsyncDejavuClient,
) -> None:
    for number in range(2):
        await report(client, number)
    first = await report(client, 2, box_score=False)
    assert not (await ask(client, seen())).expected_margin_terms.missing_players
    added = await report(client, 2)
    assert added > first
    known = (await ask(client, seen())).expected_margin_terms
    assert known.missing_players
    assert await report(client, 2, box_score=False) == added, "it agrees with what stands"
    assert (await ask(client, seen())).expected_margin_terms == known
    await client.withdraw_outcome(game_id(2), horizon=FINAL)
    async with asyncio.timeout(20):
        while (await ask(client, seen())).expected_margin_terms.missing_players:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)
