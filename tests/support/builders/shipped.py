"""The shipped bundle, loaded once a process: that takes a third of a second."""

from __future__ import annotations

from functools import cache

from dejavu_models.forecaster import Forecaster
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import default_bundle


@cache
def shipped_bundle() -> Forecaster:
    """Return the forecaster of the shipped bundle. It is shared: to update it, build another one from its parts."""
    return load_bundle(default_bundle())
