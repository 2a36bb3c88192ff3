"""The margins that a server expects are those that the trainer would have evaluated, from one season into the next."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.support.processes.servers import async_worker

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_models.ratings import carried_margins
from dejavu_models.registry.registry import Registry

GAMES = (
    (date(2023, 10, 24), "BOS", "NYK", 31),
    (date(2023, 10, 24), "LAL", "DEN", -12),
    (date(2023, 10, 26), "BOS", "LAL", 3),
    (date(2024, 6, 12), "DEN", "NYK", -9),
    (date(2024, 6, 17), "BOS", "DEN", 22),
    (date(2024, 10, 22), "NYK", "LAL", 5),
    (date(2024, 10, 22), "BOS", "DEN", 11),
    (date(2024, 10, 24), "LAL", "BOS", -4),
)
"""Days, home and away teams and finals of a season that the shipped bundle does not know, and of the next."""


async def test_a_server_expects_what_the_trainer_evaluates_into_the_next_season(tmp_path: Path) -> None:
    days, home, away, finals = (np.array(column) for column in zip(*GAMES, strict=True))
    seasons = np.array([2024 if day < date(2024, 8, 1) else 2025 for day in days])
    bundled = Registry.load([]).get().rating_filter
    due, _, _ = carried_margins(bundled, seasons, days.astype("datetime64[D]"), home, away, finals)

    async def learned(sequence: int) -> None:
        async with asyncio.timeout(20):
            while (await client.predict([0.0])).calibration_sequence < sequence:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.02)

    async with (
        async_worker(tmp_path, shipped=True, max_ratings_days=365) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        sequence = 0
        for day in sorted(set(days)):
            await learned(sequence)
            tonight = np.flatnonzero(days == day)
            for game in tonight:
                forecast = await client.predict(
                    [1.0, 4.0], horizon=FINAL, home_team=home[game], away_team=away[game], game_date=day
                )
                assert forecast.expected_margin == pytest.approx(due[game], abs=1e-9), GAMES[game]
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            for place, game in enumerate(reversed(tonight)):  # finals come in any order
                report = await client.report_outcome(
                    f"002{(seasons[game] - 1) % 100:02d}{game:05d}",
                    int(finals[game]),
                    horizon=FINAL,
                    home_team=home[game],
                    away_team=away[game],
                    observed_time=midnight + timedelta(hours=27 + place),
                )
                sequence = report.outcome.sequence
