"""The margins that a server expects are those that the trainer would have evaluated, from one season into the next."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.support.processes.servers import async_worker

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_models.forecaster import Forecaster
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import GameTerms
from dejavu_models.team_filter import carried_expectations
from dejavu_store.registry import Registry

NO_GAME = GameTerms()
GAMES = (
    (date(2024, 10, 24), "BOS", "NYK", 31, "002", NO_GAME),
    (date(2024, 10, 24), "LAL", "DEN", -12, "002", NO_GAME),
    (date(2024, 10, 25), "BOS", "LAL", 3, "002", NO_GAME),
    (date(2024, 10, 26), "MIA", "LAL", 8, "002", GameTerms(back_to_back=-1, games_in_6_days=-2)),
    (date(2024, 10, 26), "DEN", "BOS", 6, "002", GameTerms(back_to_back=-1, games_in_6_days=-1, altitude=1)),
    (date(2025, 6, 12), "DEN", "NYK", -9, "004", GameTerms(playoffs=1, altitude=1)),
    (date(2025, 6, 17), "BOS", "DEN", 22, "004", GameTerms(games_in_6_days=-1, playoffs=1)),
    (date(2025, 10, 22), "NYK", "LAL", 5, "002", NO_GAME),
    (date(2025, 10, 22), "BOS", "DEN", 11, "002", NO_GAME),
    (date(2025, 10, 23), "LAL", "BOS", -4, "002", NO_GAME),
    (date(2025, 10, 24), "UTA", "BOS", 7, "002", GameTerms(back_to_back=-1, games_in_6_days=-2, altitude=1)),
)
"""Days, home and away teams, finals, parts of the season and terms: a season that the bundle does not know, and the
next. The schedule is unknown on the first day, and on 12 June after the long break (see KNOWN)."""
WORTH = GameTerms(0.0, -2.0, -0.5, 1.5, 2.5)
"""Points, before the first final; the home advantage is that of the bundle."""
KNOWN = [False] * 2 + [True] * 3 + [False, True] + [True] * 4


def with_terms() -> Forecaster:
    """Return the shipped models with ratings for which a back-to-back costs 2 points."""
    shipped = Registry.load([]).get()
    start = RatingFilter.start(shipped.rating_filter.settings)
    mean, covariance = start.mean.copy(), start.covariance.copy()
    mean[:31], covariance[:31, :31] = shipped.rating_filter.mean[:31], shipped.rating_filter.covariance[:31, :31]
    mean[31:] = WORTH[1:]
    known = shipped.rating_filter
    ratings = RatingFilter(start.settings, mean, covariance, known.season, known.date, known.awaits_season)
    return Forecaster(shipped.manifest, shipped.models, shipped.calibration, ratings)


async def test_nobody_is_at_home_at_a_neutral_site_and_the_record_says_so(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path, with_terms(), max_ratings_days=365) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        ask = partial(client.predict, [1.0, 4.0], horizon=FINAL, home_team="BOS", away_team="NYK")
        ask = partial(ask, game_date=date(2024, 10, 24), game_id="0022400061")
        neutral = await ask(neutral_site=True)
        assert (neutral.neutral_site, neutral.expected_margin_terms.home_advantage) == (True, 0.0)
        for again in (await ask(), await ask(neutral_site=True)):
            assert (again.sequence, again.expected_margin) == (neutral.sequence, neutral.expected_margin)
        at_home = await ask(neutral_site=False)
        assert (at_home.revision, at_home.neutral_site) == (1, False)
        terms = at_home.expected_margin_terms
        assert terms.home_advantage > 1
        assert at_home.expected_margin == pytest.approx(neutral.expected_margin + terms.home_advantage)
        listed = await client.predict([1.0], horizon=FINAL, home_team="BKN", away_team="CLE", game_date="2024-01-11")
        assert not listed.HasField("neutral_site")
        assert listed.expected_margin_terms.home_advantage == 0, "Paris"


async def test_a_server_expects_what_the_trainer_evaluates_into_the_next_season(tmp_path: Path) -> None:
    days, home, away, finals, parts = (np.array(column) for column in list(zip(*GAMES, strict=True))[:5])
    terms = [game[5] for game in GAMES]
    seasons = np.array([2025 if day < date(2025, 8, 1) else 2026 for day in days])
    model = with_terms()
    due, _, _ = carried_expectations(
        model.rating_filter, seasons, days.astype("datetime64[D]"), home, away, finals, terms
    )

    def game_id(game: int) -> str:
        return f"{parts[game]}{(seasons[game] - 1) % 100:02d}{game:05d}"

    async def learned(sequence: int) -> None:
        async with asyncio.timeout(20):
            while (await client.predict([0.0])).calibration_sequence < sequence:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.02)

    async with (
        async_worker(tmp_path, model, max_ratings_days=365) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        sequence = 0
        for day in sorted(set(days)):
            await learned(sequence)
            tonight = np.flatnonzero(days == day).tolist()
            for game in tonight:
                forecast = await client.predict(
                    [1.0, 4.0],
                    horizon=FINAL,
                    home_team=home[game],
                    away_team=away[game],
                    game_date=day,
                    game_id=game_id(game),
                )
                assert forecast.expected_margin == pytest.approx(due[game], abs=1e-9), GAMES[game]
                made_of = forecast.expected_margin_terms
                assert made_of.schedule_known is KNOWN[game], GAMES[game]
                *schedule, playoffs, altitude = (load * each for load, each in zip(terms[game], WORTH, strict=True))
                assert (made_of.schedule, made_of.playoffs, made_of.altitude) == pytest.approx(
                    (sum(schedule), playoffs, altitude), abs=1.0
                ), "finals move them a little"
                assert sum(value for _, value in made_of.ListFields() if value is not True) == pytest.approx(due[game])
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            for place, game in enumerate(reversed(tonight)):  # finals come in any order
                report = await client.report_outcome(
                    game_id(game),
                    int(finals[game]),
                    horizon=FINAL,
                    home_team=home[game],
                    away_team=away[game],
                    observed_time=midnight + timedelta(hours=27 + place),
                )
                sequence = report.outcome.sequence
