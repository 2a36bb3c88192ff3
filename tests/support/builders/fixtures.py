"""Small bundle for the model tests, fitted once a run by the real pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import small_bundle_folder

from dejavu_models.forecaster import Forecaster
from dejavu_store.bundle import load_bundle


@pytest.fixture(scope="session")
def small_bundle() -> Path:
    """A bundle of simulated games, fitted once a run. Copy it before changing it."""
    return small_bundle_folder()


@pytest.fixture(scope="session")
def small(small_bundle: Path) -> Forecaster:
    """Forecaster of the small bundle."""
    return load_bundle(small_bundle)
