"""Small bundle for the model tests, fitted once a run by the real pipeline."""

from __future__ import annotations

from tests.support.builders.fixtures import small, small_bundle  # noqa: F401 - fixtures
