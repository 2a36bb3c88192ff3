"""The pool of the components' distributions, and their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import symmetric_model
from tests.support.builders.similar_games import rows_of, steady_lstm, walked, walks_database

from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.components.component import checked
from dejavu_models.components.ensemble import CELLS, POOLED, Ensemble, GameOpinions, Weights, cell_of
from dejavu_models.components.features import LIVE_COLUMNS
from dejavu_models.components.linear import LinearModels
from dejavu_models.types import CASES, HORIZONS, LINEAR_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.inputs import LiveColumns, LiveKind
from dejavu_models.uncertainty.lattice.margin_model import CELLS_FROM, Base, Distributions

LINEAR = LinearModels(np.zeros((2, 48, 3, 4)))
HALVES = Weights.fixed(0.5, 0.3, 0.2)
GAMES = walked(30, seed=4)
CASE = st.sampled_from(CASES)


def ensemble(weights: Weights = HALVES, mean: float = 0.4, log_scale: float = -0.2) -> Ensemble:
    return Ensemble(LINEAR, (walks_database(), steady_lstm(mean, log_scale)), weights)


def opinions_on(models: Ensemble, rows: slice = slice(None)) -> GameOpinions:
    rated = GAMES.select(np.isin(np.arange(30), np.arange(30)[rows]))
    margins = np.where(rated.margins > 9, np.nan, rated.margins)
    live = np.stack([rows_of(rated, minute).live for minute in range(1, MAX_SLOTS + 1)], axis=1)
    return GameOpinions(models, MarginSource.KNOWN, rated.games.levels, margins, live)


def base_of(case: tuple[int, int], centers: Floats, live: LiveColumns | None = None) -> Base:
    model = symmetric_model(LiveKind.NONE if live is None else live.kind)
    return model.base(HORIZONS[case[0]], case[1], centers, centers.round(), 0 * centers, live)


SHARES = st.tuples(st.floats(0.01, 1), st.floats(0, 1)).map(
    lambda each: (1 - each[0], each[0] * each[1], each[0] * (1 - each[1]))
)


@given(CASE, SHARES, st.floats(-1, 1), st.floats(-1, 0.5), st.floats(-20, 20))
def test_a_pool_is_a_distribution_whose_mean_is_its_point(
    case: tuple[int, int], weights: tuple[float, float, float], mean: float, log_scale: float, center: float
) -> None:
    """The point is the sum of the components' weighted predictions; so is the mean, for a symmetric base."""
    models, base = ensemble(Weights.fixed(*weights), mean, log_scale), base_of(case, np.full(30, center))
    opinions = opinions_on(models)
    made = opinions.pool(base)
    assert (np.diff(made.below, axis=1, prepend=0.0, append=1.0) >= -1e-12).all()
    alone = [base.prediction, *(checked(each, opinions.rows(case[1]), base) for each in models.members)]
    for column in range(2):
        expected = sum(weight * each[column] for weight, each in zip(weights, alone, strict=True))
        assert made[column] == pytest.approx(expected)
    if case[1] < CELLS_FROM:  # from then on, shapes lean towards the leader
        assert Distributions.of(made.below).points == pytest.approx(made.points, abs=0.6)


@given(CASE, st.integers(0, 29))
def test_a_game_of_many_gets_what_it_gets_alone(case: tuple[int, int], game: int) -> None:
    centers = GAMES.games.levels[[game], case[1] - 1]
    base = base_of(case, centers)
    together, alone = opinions_on(ensemble()), opinions_on(ensemble(), slice(game, game + 1))
    for one, other in zip(together.pool(base, np.array([game])), alone.pool(base), strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_opinions_follow_the_margin_of_each_minute() -> None:
    """With margins that change in a game, as line-ups do, each minute is as in a game with that margin throughout."""
    by_minute = np.repeat(GAMES.margins[:, None], MAX_SLOTS, axis=1)
    by_minute[:, 24:] += 5.0
    levels, live = GAMES.games.levels, np.full((30, MAX_SLOTS, len(LIVE_COLUMNS)), np.nan)
    changing = GameOpinions(ensemble(), MarginSource.KNOWN, levels, by_minute, live)
    for minute, margins in ((20, GAMES.margins), (30, GAMES.margins + 5.0)):
        steady = GameOpinions(ensemble(), MarginSource.KNOWN, levels, margins, live)
        base = base_of((1, minute), levels[:, minute - 1])
        assert changing.pool(base).below == pytest.approx(steady.pool(base).below, abs=1e-6)


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
        of_case = weights.of(each.margin_source, HORIZONS.index(each.horizon), 12 * each.quarter - 5)
        assert each.weight == each.lower == each.upper == of_case[POOLED.index(each.component)]
    assert Weights.from_bytes(weights.to_bytes()).to_bytes() == weights.to_bytes()
    assert (weights.use("dejavu"), weights.use("lstm")) == (True, False)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a component more": ({"values": np.full((3, 6, 4), 0.25)}, "weights: values is float64 of shape"),
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
    members = tuple(each for each in (walks_database(), steady_lstm()) if each.name != name)
    with pytest.raises(ValueError, match=f"{name} has a weight, but is not a component"):
        Ensemble(LINEAR, members, Weights.fixed(*weights))
