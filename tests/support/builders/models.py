"""Small and quick parts of a model, and queries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tests.support.builders.shipped import shipped_bundle
from tests.support.builders.third_component import fitted

from dejavu_feed.moment import Moment
from dejavu_feed.pattern import period_of, period_seconds
from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.components import features
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.ensemble import CELLS, POOLED, Ensemble, Weights
from dejavu_models.components.features import LIVE_COLUMNS, Rows
from dejavu_models.components.lstm import Lstm, LstmOutputs
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import CASES, HORIZONS, LINEAR, LINEAR_SOURCES, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.margin_model import (
    BEST_FIRST,
    CENTERS,
    LATE_MINUTES,
    PACE_TERMS,
    SCALE_TERMS,
    SHIFT_TERMS,
    WIN_TERMS,
    LiveKind,
    MarginModel,
)
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, UNRANKED


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


def moment_at(elapsed: float, lead: int) -> Moment:
    """Return the moment so many seconds of play after tip-off."""
    period = period_of(elapsed)
    start = 720 * min(period - 1, 4) + 300 * max(period - 5, 0)
    return Moment(period, period_seconds(period) - (elapsed - start), lead)


def queries(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[ForecastQuery]:
    """Draw queries of random walks, with drawn values of the given fields."""
    return st.sampled_from(HORIZONS).flatmap(
        lambda horizon: st.builds(
            lambda changes, **drawn: ForecastQuery(
                ScorePattern(tuple(np.cumsum(changes).astype(float).tolist())), horizon, **drawn
            ),
            st.lists(st.integers(-7, 7), min_size=1, max_size=horizon.last_slot),
            **fields,
        )
    )


def symmetric_model(kind: LiveKind = LiveKind.NONE) -> MarginModel:
    """A model that treats home and away alike: a random walk whose shape depends on the size of the lead."""
    normal = np.array([NormalDist().inv_cdf(level) for level in SHAPE_LEVELS])
    shift, scale = np.zeros((len(CASES), SHIFT_TERMS)), np.zeros((len(CASES), SCALE_TERMS))
    for row, (index, minute) in enumerate(CASES):
        scale[row, 0] = np.log(2 * np.sqrt((24, 48)[index] - minute))
        scale[row, 2] = 0.05
    # With live inputs, the tables are a little too narrow.
    ranks = (2 * UNRANKED) ** 1.1 / 2 if kind else UNRANKED
    if kind:
        shift[:, 0], scale[:, 1] = 0.3, 0.5
    late = np.stack(
        [np.stack([normal * (1 + 0.02 * center) + 0.01 * center for center in CENTERS])] * len(LATE_MINUTES)
    )
    late[:, 0] = normal
    win = np.zeros(WIN_TERMS)
    win[2], win[6] = 2.0, 1.0
    pace = np.tile([220.0, -1.0, np.log(100.0)], (len(CASES), 1)) if kind else np.zeros((len(CASES), PACE_TERMS))
    return MarginModel(kind, shift, pace, scale, np.tile(normal, (len(CASES), 1)), late, win, ranks, games=1000)


def symmetric_calibration() -> LatticeCalibration:
    """Tables for all kinds of requests; only those with a known margin can have live inputs."""
    plain = {(source, LiveKind.NONE): symmetric_model() for source in MarginSource}
    return LatticeCalibration({**plain, **{(MarginSource.KNOWN, kind): symmetric_model(kind) for kind in BEST_FIRST}})


class ReferenceLstm(Lstm):
    """Predicts like `Lstm`. The batch changes a row's values by less than 1e-4, by the rounding of sums."""

    def outputs(self, patterns: Floats, margins: Floats, live: Singles) -> LstmOutputs:
        """See `Lstm.outputs`."""
        return LstmOutputs.of(mean_outputs(self.weights, features.minute_steps(patterns, margins), live))


def mean_outputs(weights: Mapping[str, Singles], steps: Singles, live: Singles) -> Singles:
    """Compute the mean output of networks after each minute, without bounds.

    Args:
        weights: see `Lstm`.
        steps: (n, minutes, channels), `features.minute_steps`; at most 47 minutes.
        live: (n, minutes, 5), `features.live_features`.

    Returns:
        (n, minutes, 4): means and logarithms of scales, each by horizon.
    """
    result: Singles = np.mean(
        [_outputs(dict(zip(weights, each, strict=True)), steps, live) for each in zip(*weights.values(), strict=True)],
        axis=0,
        dtype=np.float32,
    )
    return result


def _outputs(network: Mapping[str, Singles], steps: Singles, live: Singles) -> Singles:
    games, minutes = steps.shape[:2]
    units = network["recurrent"].shape[1]
    of_inputs = (steps / network["scale"]) @ network["input"].T + network["bias"]
    state = cell = np.zeros((games, units), dtype=np.float32)
    states = np.empty((games, minutes, units), dtype=np.float32)
    for minute in range(minutes):
        gates = of_inputs[:, minute] + state @ network["recurrent"].T
        let_in, let_out, keep, new = np.split(gates, 4, axis=1)
        cell = _sigmoid(keep) * cell + _sigmoid(let_in) * np.tanh(new)
        state = states[:, minute] = _sigmoid(let_out) * np.tanh(cell)
    result: Singles = np.concatenate([states, live], axis=-1) @ network["head"] + network["head_bias"]
    result[..., : len(HORIZONS)] *= network["spreads"][:minutes]
    return result


def _sigmoid(values: Singles) -> Singles:
    result: Singles = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * values))  # which does not overflow
    return result


def members_of(dejavu: Dejavu, minute: int, groups: Integers) -> Integers:
    """Return the images in groups, (k,), group by group."""
    parts = [dejavu.members[minute - 1, dejavu.starts[each] : dejavu.starts[each + 1]] for each in groups.tolist()]
    return np.concatenate(parts).astype(np.int64)


def past_rows(dejavu: Dejavu, minute: int, games: Integers) -> Rows:
    """Return past games as rows after a minute."""
    live = np.full((len(games), len(LIVE_COLUMNS)), np.nan)
    totals = dejavu.games.totals[games, minute - 1].astype(np.float64)
    live[:, 0] = np.where(totals < 0, np.nan, totals)
    patterns = dejavu.games.differentials[games, :minute].astype(np.float64)
    return Rows(patterns, dejavu.games.margins[games].astype(np.float64), live)
