"""Small bundle for the model tests, fitted once per session by the real pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.made_once import made_once
from tests.support.builders.random_walks import random_walks

from dejavu_models.forecaster import Forecaster
from dejavu_models.registry.bundle import load_bundle


@pytest.fixture(scope="session")
def small_bundle() -> Path:
    """Fits on 300 random walks (60 prototypes) and calibrates on 199 others. Copy it before changing it."""

    def make(folder: Path) -> None:
        # Imported late: most model tests do not need the trainer, which imports torch.
        from tests.support.builders.bundles import fit_quickly

        games = random_walks(300, range(2020, 2022))
        games = games.select((games.season == 2020) | (games.game_id < "walk000499"))
        fit_quickly(games, [2020], [2021], folder, prototypes=60)

    return made_once("bundle-of-walks", make)


@pytest.fixture(scope="session")
def small(small_bundle: Path) -> Forecaster:
    """Forecaster of the small bundle."""
    return load_bundle(small_bundle)
