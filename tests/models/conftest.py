"""A bundle for the tests of models: fitted once, on little, by the real pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.random_walks import random_walks

from dejavu_models.forecaster import Forecaster
from dejavu_models.registry.bundle import load_bundle


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 random walks, condensed into 60 prototypes, calibrated on 199 others. Copy it before changing it."""
    # Late: tests of the models' parts need no trainer, which loads torch.
    from tests.support.builders.bundles import fit_quickly

    folder = tmp_path_factory.mktemp("bundles") / "small"
    games = random_walks(300, range(2020, 2022))
    games = games.select((games.season == 2020) | (games.game_id < "walk000499"))
    fit_quickly(games, [2020], [2021], folder, prototypes=60)
    return folder


@pytest.fixture(scope="session")
def small(small_bundle: Path) -> Forecaster:
    """The forecaster of that bundle."""
    return load_bundle(small_bundle)
