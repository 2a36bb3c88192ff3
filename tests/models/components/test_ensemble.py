"""The pool of the components' distributions, and their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import symmetric_model
from tests.support.builders.similar_games import rows_of, steady_lstm, walked, walks_database

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.components.ensemble import CELLS, POOLED, Ensemble, GameOpinions, Weights, cell_of
from dejavu_models.components.linear import LinearModels
from dejavu_models.types import CASES, HORIZONS, LINEAR_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.distribution import VALUES
from dejavu_models.uncertainty.lattice.inputs import LiveColumns, LiveKind
from dejavu_models.uncertainty.lattice.opinions import BIN_CENTERS, BINS, Opinions, shares_below
from dejavu_trainer.training.served_tables import live_rows

LINEAR = LinearModels(np.zeros((2, 48, 3, 4)))
HALVES = Weights.fixed(0.5, 0.3, 0.2)


def ensemble(weights: Weights = HALVES) -> Ensemble:
    return Ensemble(LINEAR, walks_database(), steady_lstm(0.4, -0.2), weights)


def opinions_on(models: Ensemble, games: int = 30, rows: slice = slice(None)) -> GameOpinions:
    rated = walked(games, seed=4)
    margins = np.where(np.arange(games) % 3 == 0, np.nan, rated.margins)
    return GameOpinions(
        models, MarginSource.KNOWN, rated.games.levels[rows], margins[rows], live_rows(rated.games)[rows]
    )


WEIGHTS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(
    lambda each: np.array([1 - each[0], each[0] * each[1], each[0] * (1 - each[1])])
)
CASE = st.sampled_from(CASES)


@st.composite
def any_opinions(draw: st.DrawFn) -> Opinions:
    """Return opinions on three games that hold whatever components may say."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    # Within three scales: farther away, a differential counts as the largest one.
    shares = rng.dirichlet(np.full(BINS, draw(st.sampled_from([0.01, 1.0]))), 3) + 1e-9
    histograms = np.where(np.abs(BIN_CENTERS) < 3, shares, 0.0)
    histograms /= histograms.sum(axis=1, keepdims=True)
    outputs = draw(st.lists(st.floats(-3, 3), min_size=3, max_size=3)), draw(st.floats(-1, 1))
    return Opinions(draw(WEIGHTS), histograms, np.array(outputs[0]), np.full(3, outputs[1]))


@given(CASE, any_opinions(), st.floats(-30, 30), st.integers(-30, 30))
def test_a_pool_is_a_distribution_whose_mean_is_its_point(
    case: tuple[int, int], opinions: Opinions, center: float, lead: int
) -> None:
    """The point is the sum of the weighted component predictions; so is the mean, for a symmetric base."""
    index, minute = case
    model, ones = symmetric_model(), np.ones(3)
    made = model.distribution(HORIZONS[index], minute, center * ones, lead * ones, 0 * ones, opinions=opinions)
    assert (np.diff(made.below, axis=1) >= -1e-12).all()
    assert made.below[:, 0] == pytest.approx(0, abs=0.05)
    assert made.below[:, -1] == pytest.approx(1)
    assert (made.mass >= -1e-12).all()

    scales = model.units(HORIZONS[index], minute, lead * ones, 0 * ones, None)
    assert opinions.histograms is not None
    linear, dejavu, lstm = opinions.weights
    predictions = center, center + scales * (opinions.histograms @ BIN_CENTERS), center + scales * opinions.means
    point = linear * predictions[0] + dejavu * predictions[1] + lstm * predictions[2]
    assert center + scales * opinions.shifts == pytest.approx(point)
    if index == HORIZONS.index(Horizon.HALFTIME) and minute > 12:  # an end has the joint win probability too
        assert made.mass @ VALUES == pytest.approx(point, abs=0.5)


@given(CASE, any_opinions())
def test_with_all_weight_on_the_linear_models_the_distribution_is_theirs(
    case: tuple[int, int], opinions: Opinions
) -> None:
    index, minute = case
    only, points = opinions._replace(weights=np.array([1.0, 0.0, 0.0])), np.array([-4.0, 0.5, 9.0])
    model, none = symmetric_model(), np.zeros(3)
    pooled, plain = (
        model.distribution(HORIZONS[index], minute, points, points.round(), none, opinions=each)
        for each in (only, None)
    )
    assert np.array_equal(pooled.mass, plain.mass)
    assert opinions_on(ensemble(Weights.fixed(1.0, 0.0, 0.0))).at(index, minute) is None


@given(CASE, st.integers(0, 29))
def test_a_game_of_many_gets_what_it_gets_alone(case: tuple[int, int], game: int) -> None:
    index, minute = case
    rows = slice(game, game + 1)
    together, alone = opinions_on(ensemble()).at(index, minute), opinions_on(ensemble(), rows=rows).at(index, minute)
    assert together is not None
    assert alone is not None
    leads = walked(30, seed=4).games.levels[rows, minute - 1]
    selected, single = (
        symmetric_model().distribution(HORIZONS[index], minute, leads, leads, 0 * leads, opinions=each)
        for each in (together.select(np.array([game])), alone)
    )
    assert selected.mass == pytest.approx(single.mass, abs=1e-9)


def test_opinions_follow_the_margin_of_each_minute() -> None:
    """With margins that change in a game, as line-ups do, each minute is as in a game with that margin throughout."""
    rated, models = walked(10, seed=4), ensemble()
    by_minute = np.repeat(rated.margins[:, None], MAX_SLOTS, axis=1)
    by_minute[:, 24:] += 5.0
    live = live_rows(rated.games)
    changing = GameOpinions(models, MarginSource.KNOWN, rated.games.levels, by_minute, live)
    for minute, margins in ((20, rated.margins), (30, rated.margins + 5.0)):
        made = changing.at(1, minute)
        steady = GameOpinions(models, MarginSource.KNOWN, rated.games.levels, margins, live).at(1, minute)
        assert made is not None
        assert steady is not None
        assert made.histograms is not None
        assert steady.histograms is not None
        assert np.array_equal(made.histograms, steady.histograms)
        assert made.means == pytest.approx(steady.means, abs=1e-6)
        rows = rows_of(rated, minute)._replace(margins=margins)
        assert models.dejavu is not None
        assert np.array_equal(changing.groups(models.dejavu, minute), models.dejavu.nearest(rows))


@given(st.integers(0, 1000), st.lists(st.floats(-12, 12), min_size=1, max_size=20))
def test_shares_of_a_histogram_ascend_from_0_to_1_and_are_linear_in_a_bin(seed: int, values: list[float]) -> None:
    histograms = np.random.default_rng(seed).dirichlet(np.full(BINS, 0.1), 1)
    asked = np.array([[-9.0, -8.0, *sorted(values), 8.0, 9.0]])
    shares = shares_below(histograms, asked)
    assert (np.diff(shares) >= -1e-12).all()
    assert shares[0, [0, 1, -2, -1]] == pytest.approx([0, 0, 1, 1])
    edges = BIN_CENTERS[[100, 100, 100]] + np.array([-1, 0, 1]) / 32
    below, middle, above = shares_below(histograms, edges[None])[0]
    assert middle == pytest.approx((below + above) / 2)
    assert above - below == pytest.approx(histograms[0, 100])


def test_the_live_tables_pool_around_their_own_scale() -> None:
    """Points per minute widen the pool as they widen the linear models' distribution."""
    model, lead = symmetric_model(LiveKind.SCORES), np.zeros(2)
    live = LiveColumns(np.array([80.0, 120.0]), np.zeros(2), np.zeros(2))
    narrow = np.zeros((2, BINS))
    narrow[:, 128 + 16] = 1.0  # one scale above the center
    pooled = Opinions(np.array([0.0, 1.0, 0.0]), narrow, lead, lead)
    made = model.distribution(Horizon.HALFTIME, 20, lead, lead, lead, live, pooled)
    scales = model.units(Horizon.HALFTIME, 20, lead, lead, live)
    assert np.abs(made.mass @ VALUES - scales * (1 + 1 / 32)) == pytest.approx([0, 0], abs=0.5)
    assert scales[0] > scales[1]


def test_weights_are_by_source_horizon_and_quarter() -> None:
    values = np.zeros((3, len(CELLS), 3))
    values[..., 1] = np.linspace(0, 1, 3 * len(CELLS)).reshape(3, -1)
    values[..., 0] = 1 - values[..., 1]
    weights = Weights(values, values, values)
    assert (*((Horizon.HALFTIME, quarter) for quarter in (1, 2)), *((Horizon.FINAL, q) for q in (1, 2, 3, 4))) == CELLS
    assert [cell_of(*case) for case in ((0, 12), (0, 13), (1, 12), (1, 13), (1, 36), (1, 47))] == [0, 1, 2, 3, 4, 5]
    for row, source in enumerate(LINEAR_SOURCES):
        assert weights.of(source, 1, 40).tolist() == values[row, 5].tolist()
    assert np.array_equal(weights.of(MarginSource.RATED, 0, 5), weights.of(MarginSource.KNOWN, 0, 5))
    listed = list(weights.listed())
    assert len(listed) == 3 * len(CELLS) * len(POOLED)
    for each in listed:
        minute = 12 * each.quarter - 5
        of_case = weights.of(each.margin_source, HORIZONS.index(each.horizon), minute)
        assert each.weight == each.lower == each.upper == of_case[POOLED.index(each.component)]
    assert Weights.from_bytes(weights.to_bytes()).to_bytes() == weights.to_bytes()
    assert (weights.use("dejavu"), weights.use("lstm")) == (True, False)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "too few cells": ({"values": HALVES.values[:, 1:]}, "weights: values must be float64 of shape"),
    "single precision": ({"lower": HALVES.lower.astype(np.float32)}, "weights: lower must be float64"),
    "a negative weight": ({"values": HALVES.values * [2.0, -1.0, 1.0]}, "weights: values must be"),
    "no number": ({"upper": HALVES.upper * np.nan}, "weights: upper must be"),
    "a sum that is not 1": ({"values": HALVES.values * 0.9}, "the weights of each cell must sum to 1"),
}


@pytest.mark.parametrize(("changes", "said"), BROKEN.values(), ids=BROKEN)
def test_weights_that_are_none_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Weights.from_bytes(to_npz(**from_npz(HALVES.to_bytes()) | changes))


@pytest.mark.parametrize(("name", "weights"), [("dejavu", (0.9, 0.1, 0.0)), ("lstm", (0.9, 0.0, 0.1))])
def test_a_component_that_is_missing_has_no_weight(name: str, weights: tuple[float, float, float]) -> None:
    of_all = {"dejavu": walks_database(), "lstm": steady_lstm()}
    parts = {other: each for other, each in of_all.items() if other != name}
    with pytest.raises(ValueError, match=f"{name} has a weight, but is not a component"):
        Ensemble(LINEAR, **parts, weights=Weights.fixed(*weights))  # type: ignore[arg-type]
    assert Ensemble(LINEAR, **parts).components == tuple(parts)  # type: ignore[arg-type]
    assert Ensemble(LINEAR).components == ()
