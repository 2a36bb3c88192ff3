"""Totals in published bundles: fitted with the rest, and refreshed as a server would update them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tests.support.builders.bundles import bundle_of_two_seasons, fit_quickly, simulated_games, small_bundle
from tests.support.builders.calibrations import steady_totals

from dejavu_models.manifest import TOTALS, version_of
from dejavu_models.registry.bundle import load_bundle, publish
from dejavu_models.totals.totals import Totals
from dejavu_models.types import MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.refresh import refresh_ratings
from dejavu_trainer.training import totals as training
from dejavu_trainer.training.totals import carry_totals


@pytest.fixture(scope="module")
def games() -> Games:
    return simulated_games()


def test_a_fit_publishes_totals_for_the_season_in_play(
    games: Games, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seasons = np.unique(games.season).tolist()
    without = load_bundle(bundle_of_two_seasons())
    assert without.manifest.train.games < training.MIN_GAMES
    assert without.totals is None
    monkeypatch.setattr(training, "MIN_GAMES", 100)
    fit_quickly(games, seasons[:1], seasons[1:2], tmp_path / "with", prototypes=50)
    totals = load_bundle(tmp_path / "with", allow_unfit=True).totals
    assert totals is not None
    used = games.of_seasons(seasons[:2])
    assert totals.models[MarginSource.KNOWN].games == len(used)
    assert (totals.ratings.season, totals.ratings.awaits_season) == (seasons[1], False)
    assert totals.ratings.date == used.date[-1]


def test_a_refresh_carries_the_ratings_of_totals_and_keeps_their_tables(games: Games, tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    base = load_bundle(tmp_path / "bundle", allow_unfit=True)
    newest = games.of_seasons([2034])
    _, before = carry_totals(steady_totals().ratings.predict(2033), games.of_seasons([2033]))
    totals = Totals(steady_totals().models, before.predict(2034))
    contents = {name: (tmp_path / "bundle" / name).read_bytes() for name in base.manifest.all_files}
    contents[TOTALS] = totals.to_bytes()
    hashes = {name: hashlib.sha256(contents[name]).hexdigest() for name in (*base.manifest.files, TOTALS)}
    version = version_of(base.manifest.dejavu, base.manifest.ratings, hashes)
    publish(tmp_path / "bundle", base.manifest.model_copy(update={"files": hashes, "version": version}), contents)
    new = refresh_ratings(tmp_path / "bundle", newest, tmp_path / "refreshed").forecaster
    assert new.totals is not None
    _, after = carry_totals(totals.ratings, newest)
    assert new.totals.ratings.date == newest.date[-1]
    # A day's games are updated one after the other in both, and each day once.
    assert new.totals.ratings.mean == pytest.approx(after.mean, abs=1e-9)
    for source, model in totals.models.items():
        assert np.array_equal(new.totals.models[source].point, model.point)
