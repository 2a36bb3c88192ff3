"""References that know every earlier game, with the conformal distributions of crepes, an independent implementation.

crepes does not support leads: it gets residuals mirrored towards the leader as in our code, and bins for cells.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.support.builders.folds import linear_points, rated_walks

from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.evaluation.figures import LEAD_EDGES, LEVELS, lead_groups
from dejavu_trainer.evaluation.references import (
    MIN_CELL,
    ResidualDistribution,
    lead_scales,
    persistence,
    references,
)
from dejavu_trainer.training.linear import PARTS_OF_A_SEASON, fit_linear
from dejavu_trainer.training.ratings import RatedGames

FINAL, HALFTIME = HORIZONS.index(Horizon.FINAL), HORIZONS.index(Horizon.HALFTIME)
MINUTE = 20
CASE = CASES.index((FINAL, MINUTE))


def points_by(past: RatedGames, rated: RatedGames) -> Floats:
    """Return the point forecasts of the end after MINUTE, (n,), by a linear model of earlier games."""
    return linear_points(Ensemble(fit_linear(*past)), rated, MarginSource.KNOWN, MINUTE)[:, FINAL]


@pytest.mark.parametrize("seasons", [[2030, 2031, 2032], [2032]])
def test_references_know_every_earlier_game_and_score_by_residuals_of_models_that_did_not_see_it(
    seasons: list[int],
) -> None:
    """Each season's are by models of the other seasons; within a single season, each part's by the other parts."""
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons(seasons), rated.of_seasons([2033])
    found = references(past, test)
    points = points_by(past, test)
    assert found["linear"]["point"][:, CASE] == pytest.approx(points, abs=1e-4)
    assert found["normal"]["point"][:, CASE] == pytest.approx(points, abs=1e-4)
    games = np.arange(len(past.games))
    parts = past.games.season if len(seasons) > 1 else games * PARTS_OF_A_SEASON // len(games)
    unseen = np.concatenate([
        past.games.final[parts == part] - points_by(past.select(parts != part), past.select(parts == part))
        for part in np.unique(parts)
    ])  # fmt: skip
    scales = lead_scales(past.games, past.games.outcomes[:, None, :] - in_sample(past))[FINAL, MINUTE]
    scaled = np.sort(unseen / scales[lead_groups(past.games.levels[:, MINUTE - 1])])
    rank = (len(scaled) + 1) // 10
    half = scales[lead_groups(test.games.levels[:, MINUTE - 1])]
    assert found["linear"]["lower_80"][:, CASE] == pytest.approx(points + half * scaled[rank - 1], abs=1e-3)
    newest = past.games.season >= 2031
    spread = lead_scales(past.games.select(newest), np.tile(unseen[newest, None, None], (1, MAX_SLOTS, 2)))[
        FINAL, MINUTE
    ]
    half = spread[lead_groups(test.games.levels[:, MINUTE - 1])]
    ends = points - 1.2816 * half, points + 1.2816 * half
    for end, name in zip(ends, ("lower_80", "upper_80"), strict=True):
        assert np.abs(found["normal"][name][:, CASE] - end).max() < 1.5  # whole numbers, and no tie


def in_sample(past: RatedGames) -> Floats:
    models = Ensemble(fit_linear(*past))
    return np.stack([linear_points(models, past, MarginSource.KNOWN, minute) for minute in range(1, MAX_SLOTS + 1)], 1)


def test_persistence_keeps_the_lead_with_the_changes_of_every_earlier_game() -> None:
    rated = rated_walks(100, range(2030, 2034), 0)
    past, test = rated.of_seasons([2030, 2031, 2032]).games, rated.of_seasons([2033]).games
    found, leads = persistence(past, test), test.levels[:, MINUTE - 1]
    assert found["point"][:, CASE] == pytest.approx(leads)
    changes = np.sort(past.final - past.levels[:, MINUTE - 1])
    rank = 301 // 10
    assert found["lower_80"][:, CASE] == pytest.approx(leads + min(changes[rank - 1], 0))
    assert found["upper_80"][:, CASE] == pytest.approx(leads + max(changes[-rank], 0))


RANGES = ((0.0, 3.4), (3.6, 8.4), (8.6, 15.4), (15.6, 40.0))


Games = tuple[Floats, Floats, Floats]
"""Leads, point forecasts and outcomes of games, (n,) each, in points."""


def games_of(sizes: tuple[int, ...], seed: int, decimals: int) -> Games:
    """Draw games by the sizes of cells; the leader loses ground that the forecast misses, more so at large leads.

    With 0 decimals, residuals tie.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.uniform(*bounds, count) for bounds, count in zip(RANGES, sizes, strict=True)]
    side = rng.choice([-1.0, 1.0], sum(sizes), p=[0.4, 0.6])
    leads = np.round(np.concatenate(drawn) * side, decimals)
    size = np.abs(leads)
    points = leads + rng.normal(0.3, 1.0, len(leads))
    outcomes = points - side * size / 10 + (3 + size / 4) * rng.standard_gamma(4.0, len(leads)) / 2 - 6
    return leads, np.round(points, decimals), np.round(outcomes, decimals)


def intervals_of_crepes(past: Games, asked: Games, edges: tuple[float, ...], alpha: float) -> Floats:
    """Return the intervals of crepes, fitted to past games, (n, 2), in points."""
    from crepes import ConformalPredictiveSystem  # type: ignore[import-untyped]  # takes a second to load

    cells = [np.digitize(np.abs(leads), edges) for leads, *_ in (past, asked)]
    turns = [np.where((each[0] < 0) & (cell > 0), -1.0, 1.0) for each, cell in zip((past, asked), cells, strict=True)]
    system = ConformalPredictiveSystem()
    system.fit(turns[0] * (past[2] - past[1]), bins=cells[0])
    ends = system.predict_int(turns[1] * asked[1], bins=cells[1], confidence=1 - alpha)
    return np.sort(turns[1][:, None] * ends, axis=1)


def fitted(games: Games, horizon: Horizon = Horizon.FINAL, min_cell: int = MIN_CELL) -> ResidualDistribution:
    leads, points, outcomes = games
    return ResidualDistribution.fit(horizon, points, leads, outcomes, min_cell=min_cell)


@pytest.mark.parametrize("decimals", [0, 9])
@pytest.mark.parametrize(("last", "edges"), [(1017, LEAD_EDGES), (317, LEAD_EDGES[:2])])
def test_intervals_are_those_of_crepes_with_small_cells_joined(
    last: int, edges: tuple[float, ...], decimals: int
) -> None:
    """No tested alpha gives an exact rank, which would depend on rounding."""
    past, asked = games_of((1621, 1332, 1206, last), 1, decimals), games_of((50, 50, 50, 50), 2, decimals)
    made, (leads, points, outcomes) = fitted(past), asked
    assert made.edges == edges
    columns = made.scored(points, leads, outcomes)
    for level in LEVELS:
        ends = np.stack([columns[f"lower_{level}"], columns[f"upper_{level}"]], axis=1)
        assert ends == pytest.approx(intervals_of_crepes(past, asked, edges, 1 - level / 100), abs=1e-4)
        within = (ends[:, 0] <= outcomes) & (outcomes <= ends[:, 1])
        assert (columns[f"held_{level}"] == within).mean() > 0.99  # in single precision


@pytest.mark.parametrize(("threshold", "points"), [(0.5, (0.0, 1.0)), (0.0, (-0.1, 0.1))])
def test_a_tie_is_no_lead_at_the_half_and_none_is_left_at_the_end(threshold: float, points: tuple[float, ...]) -> None:
    made = ResidualDistribution(threshold, (), (np.zeros(99),), np.ones(4))
    assert made.home_lead_probability(np.array(points), np.zeros(2)).tolist() == [0.005, 0.995]


@given(st.data(), st.lists(st.tuples(st.floats(-45, 45), st.floats(0, 2)), min_size=2, max_size=20))
def test_the_probability_never_falls_as_lead_and_point_rise_together(
    data: st.DataObject, rising: list[tuple[float, float]]
) -> None:
    """Fitted to little data, so cells differ by chance."""
    sizes = tuple(data.draw(st.integers(0, 60)) for _ in RANGES)
    assume(sum(sizes) >= 1)
    games = games_of(sizes, data.draw(st.integers(0, 2**32 - 1)), data.draw(st.sampled_from([0, 9])))
    made = fitted(games, data.draw(st.sampled_from(Horizon)), data.draw(st.integers(1, 40)))
    # Include the cell edges, where monotonicity would break first.
    edges = [side * edge for edge in made.edges for side in (-1, 1)]
    leads = np.sort(np.array([lead for lead, _ in rising] + edges + [np.nextafter(edge, 0) for edge in edges] + [0.0]))
    steps = np.resize([step for _, step in rising], len(leads))
    probabilities = made.home_lead_probability(leads + np.cumsum(steps), leads)
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities > 0) & (probabilities < 1)).all()
