"""A whole real season over gRPC: a server's forecasts equal those that the trainer evaluates for the same bundle."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.support.builders.bundles import publish_with_ratings
from tests.support.harness.real_games import SEASONS, live_inputs_of, real_games
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1.forecast_pb2 import WARNING_REASON_TEAM_LITTLE_KNOWN, Forecast
from dejavu_client import FINAL, HALFTIME, DejavuClient, predict_request
from dejavu_feed.game_ids import COMPETITIVE
from dejavu_models.live_ratings import KNOWN_GAMES
from dejavu_models.ratings import RatingFilter
from dejavu_models.types import CASES
from dejavu_store.bundle import load_bundle
from dejavu_store.registry import default_bundle
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.fold_scores import STATIC, FoldScores, score_fold
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.training.ratings import RatedGames, carry

SEASON = SEASONS[-1]
ASKED = [case for case in CASES if case[1] in {6, 18, 30, 46}]
ALPHA = 0.2
STORED = 1e-4
"""Points by which a forecast may differ: evaluations are stored in single precision, and the LSTM's order of summation
depends on how many games are in a batch."""


@pytest.mark.real_data
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_season_is_served_as_it_is_evaluated(data_dir: Path, tmp_path: Path) -> None:
    """Finals are reported by the next day, in any order within a day; each game is forecast before that."""
    bundle, rated, scored = published_before(SEASON, real_games(data_dir), tmp_path / "bundle")
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    options = ("--workers", "1", "--adaptive", "off", "--log-level", "debug")
    with (
        spawned_server("--bundle", str(bundle), "--ledger", ledger, *options) as server,
        DejavuClient(server.address, timeout=60.0) as client,
    ):
        sources = played(server, client, rated, scored)
    assert sources["frozen"] > 100, "games of teams that had hardly played"
    assert sources["served"] > 1000
    assert 0 < sources["wider"] < 0.2 * sources["equal"], "intervals are wider in the first weeks only"


def published_before(season: int, games: Games, bundle: Path) -> tuple[Path, RatedGames, FoldScores]:
    """Publish the shipped models with ratings from before a season, and evaluate them on it.

    The evaluation uses carried margins throughout. Its forecasts "served" have the intervals for carried ratings;
    "frozen" have those for ratings from before a season, which a server uses for teams that have hardly played.
    """
    start = RatingFilter.start(load_bundle(default_bundle()).rating_filter.settings)
    assert start.with_terms
    rated, _ = carry(start, games)
    _, before = carry(start, games.select(games.season < season))
    forecaster = load_bundle(publish_with_ratings(bundle, before.predict(season)))
    test = rated.of_seasons([season])
    scored = score_fold(
        forecaster.models,
        forecaster.calibration,
        earlier=rated.of_seasons([season - 2, season - 1]),
        calibrate=rated.of_seasons([season - 1]),
        test=test,
        frozen_margins=test.margins,
    )
    return bundle, test, scored


def played(server: SpawnedServer, client: DejavuClient, rated: RatedGames, scored: FoldScores) -> Counter[str]:
    """Play the season; return the number of games by kind of interval."""
    games, rng = rated.games, np.random.default_rng(0)
    so_far, sources, sequence = Counter[str](), Counter[str](), 0
    for day in np.unique(games.date):
        tonight = np.flatnonzero(games.date == day)
        if sequence:
            wait_until_learned(server, sequence)
        requests = [
            predict_request(
                games.levels[game, :minute].tolist(),
                horizon=(HALFTIME, FINAL)[index],
                alpha=ALPHA,
                home_team=str(games.home[game]),
                away_team=str(games.away[game]),
                game_date=day.item(),
                game_id=named(games, game) if games.phase[game] != "RS" else "",
                **live_inputs_of(games, game, minute).given(),
            )
            for game in tonight.tolist()
            for index, minute in ASKED
        ]
        results = iter(client.predict_batch(requests))
        for game in tonight.tolist():
            teams = str(games.home[game]), str(games.away[game])
            source = "served" if min(so_far[team] for team in teams) >= KNOWN_GAMES else "frozen"
            sources[source] += 1
            for case in ASKED:
                wider = check(next(results).forecast, scored, source, game, CASES.index(case), rated.margins[game])
                sources["wider" if wider else "equal"] += 1
        for place, game in enumerate(rng.permutation(tonight).tolist()):
            teams = str(games.home[game]), str(games.away[game])
            so_far.update(teams)
            midnight = datetime.combine(day.item(), datetime.min.time(), UTC)
            reported = client.report_outcome(
                named(games, game),
                int(games.final[game]),
                horizon=FINAL,
                home_team=teams[0],
                away_team=teams[1],
                observed_time=midnight + timedelta(hours=27, seconds=place),
            )
            sequence = reported.outcome.sequence
    return sources


def named(games: Games, game: int) -> str:
    """Return an id for the game's part of the season: without an id, a game counts as one of the regular season."""
    part = {phase: prefix for prefix, phase in COMPETITIVE.items() if prefix != "006"}[str(games.phase[game])]
    return f"{part}{(SEASON - 1) % 100:02d}{game:05d}"


def wait_until_learned(server: SpawnedServer, sequence: int) -> None:
    server.wait_for("learned", lambda entry: bool(entry["sequence"] >= sequence))


def check(forecast: Forecast, scored: FoldScores, source: str, game: int, case: int, margin: float) -> bool:
    """Compare a served forecast with the evaluated one; return whether it is wider, since a team is little known.

    An evaluation does not widen intervals.
    """
    assert forecast.expected_margin == pytest.approx(margin, abs=1e-9)
    assert forecast.expected_margin_terms.schedule_known or not forecast.calibration_sequence
    wider = bool(forecast.warnings)
    assert [each.reason for each in forecast.warnings] == [WARNING_REASON_TEAM_LITTLE_KNOWN] * wider
    # Without the factor of the season: a server learns it from its own forecasts, and none is recorded here.
    evaluated, level = scored.forecasts[STATIC[source]], ALPHAS.index(ALPHA)
    assert evaluated.point is not None
    assert evaluated.lower is not None
    assert evaluated.upper is not None
    due = (evaluated.point[game, case], evaluated.lower[game, case, level], evaluated.upper[game, case, level])
    found = (forecast.point_forecast, forecast.interval_lower, forecast.interval_upper)
    if wider:
        assert found[1] <= due[1] + STORED
        assert found[2] >= due[2] - STORED
        return True
    assert found == pytest.approx(due, abs=STORED)
    assert forecast.home_lead_probability == pytest.approx(evaluated.probability[game, case], abs=STORED)
    return False
