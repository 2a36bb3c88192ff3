"""The shipped models with some of their components, and with a third one."""

from __future__ import annotations

from functools import cache

import numpy as np
from tests.support.builders.shipped import shipped_bundle
from tests.support.builders.third_component import fitted

from dejavu_models.components.ensemble import CELLS, POOLED, Ensemble, Weights
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import LINEAR, LINEAR_SOURCES


def weights(*components: str) -> Weights:
    """Return random weights of the linear models and of some components, which differ by cell."""
    names = (*POOLED, *(each for each in components if each not in POOLED))
    values = np.random.default_rng(5).dirichlet([3.0, *[2.0] * (len(names) - 1)], (len(LINEAR_SOURCES), len(CELLS)))
    values *= [name == LINEAR or name in components for name in names]
    values[:, [1, 5], len(POOLED) :] = 0.0
    values /= values.sum(axis=-1, keepdims=True)
    return Weights(values, values, values, names)


def forecaster(models: Ensemble) -> Forecaster:
    """Return the forecaster of the shipped bundle with other models."""
    shipped = shipped_bundle()
    packages = {each.name: "made for tests" for each in models.others}
    manifest = shipped.manifest.model_copy(update={"components": models.components, "packages": packages})
    ratings, players, moments = shipped.rating_filter, shipped.player_ratings, shipped.moments
    return Forecaster(manifest, models, shipped.calibration, ratings, players=players, moments=moments)


@cache
def model_of(*components: str) -> Forecaster:
    """Return a forecaster with some components, those that ship or the third one, with random weights."""
    shipped = shipped_bundle().models
    members = tuple(each for each in (*shipped.members, fitted()) if each.name in components)
    return forecaster(Ensemble(shipped.linear, members, weights(*components)))
