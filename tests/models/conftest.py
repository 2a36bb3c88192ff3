"""The bundle that ships, for the model tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.builders.bundles import without_line

from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import INITIAL


@pytest.fixture(scope="session")
def learner() -> Forecaster:
    """The shipped bundle without tables for lines."""
    return without_line()


@pytest.fixture
def shipped(learner: Forecaster) -> Iterator[Forecaster]:
    """The same; a test may change its online state, which is reset."""
    yield learner
    learner.update(INITIAL)
