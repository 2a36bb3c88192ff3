"""E-processes and the gate that promotes a model shown to be no worse, or hardly different, and retires a worse one."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from tests.support.harness.present import present

from dejavu_models.comparison import (
    LARGEST,
    STAKES,
    WEIGHTS,
    GateDecision,
    GateFigures,
    GateSettings,
    Judgement,
    PairedForecasts,
    below_zero,
    clipping_bounds,
    judge,
    log_e_process,
)
from dejavu_models.types import Horizon

_BOUND = 0.3


_SEASONS = 200, 600
"""Simulated seasons, and games of each."""


@given(st.integers(2, 7), st.floats(0.0, 1.0), st.integers(0, 127), st.floats(1.0, 4.0))
def test_expectation_is_at_most_one_if_only_the_average_is_not_above_zero(
    games: int, drift: float, stop: int, growth: float
) -> None:
    """The mean of each game is +drift or −drift; the running average is never above 0. Any stopping rule is allowed.

    The possible loss of a game grows after each lost game, so stakes depend on the data.
    """
    expectation = 0.0
    for path in product((-1.0, 1.0), repeat=games):
        bounds = np.array([growth ** path[:index].count(-1.0) for index in range(games)])
        means = np.where(np.arange(games) % 2 == 0, -drift, drift)
        e_values = np.exp(log_e_process(means + np.array(path) * (bounds - drift), bounds + 1e-9))
        # A rule that depends only on the games so far: the bits of `stop` mark the games after which a loss stops it.
        end = next((i for i in range(games) if (stop >> i) & 1 and path[i] < 0), games - 1)
        expectation += e_values[end] / 2.0**games
    assert expectation <= 1.0 + 1e-9


def test_the_first_differences_are_clipped_and_one_that_came_often_counts_in_full() -> None:
    """One game worked out by hand: a difference of −7 counts as −0.3, and each stake λ, a share of 1 / 0.3, wins."""
    expected = sum(weight * (1.0 + stake / 0.3 * 0.3) for weight, stake in zip(WEIGHTS, STAKES, strict=True))
    assert math.exp(below_zero(np.array([-7.0]), _BOUND)[0]) == pytest.approx(expected)
    bounds = clipping_bounds(np.array([4.0] * LARGEST + [-5.0] * LARGEST + [0.0]), _BOUND)
    assert bounds.tolist() == [_BOUND] * LARGEST + [4.0] * LARGEST + [5.0]


@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=60).map(np.array))
def test_clipping_takes_less_than_the_five_largest_differences_in_all(differences: np.ndarray) -> None:
    bounds = clipping_bounds(differences, _BOUND)
    assert np.all(np.diff(bounds) >= 0.0)
    taken = np.maximum(np.abs(differences) - bounds, 0.0).sum()
    assert taken <= np.sort(np.abs(differences))[-LARGEST:].sum()


def test_bets_that_could_lose_more_than_is_staked_are_refused() -> None:
    for gains, bounds in (([-1.1], [1.0]), ([math.nan], [1.0]), ([0.0, 0.0], [2.0, 1.0])):
        with pytest.raises(ValueError, match="bound"):
            log_e_process(np.array(gains), np.array(bounds))


_RANDOM = np.random.default_rng(17)


_TWO_POINTS = _RANDOM.choice([-1.0, 1.0], size=_SEASONS)
"""The hardest distribution of a given spread."""


_FEW_BY_MUCH = _RANDOM.normal(-0.02, 0.02, _SEASONS) + 0.2 * (_RANDOM.random(_SEASONS) < 0.1)
"""Better by 0.02 in nine games of ten and worse by 0.18 in the tenth."""


@pytest.mark.parametrize(
    "differences",
    [0.02 * _TWO_POINTS, 0.6 * _TWO_POINTS, _FEW_BY_MUCH, 10.0 * _TWO_POINTS],
    ids=["as of two seeds", "twice the first bound", "few games by much", "grossly"],
)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["not worse", "worse"])
def test_error_rate_over_all_looks_of_a_season(differences: np.ndarray, sign: float) -> None:
    """Of a statement about an average that is not below 0, shown at any game from the 100th on.

    Since the first differences are clipped, the gate also requires an unclipped mean below the bound.
    """
    seasons = sign * differences
    means = np.cumsum(seasons, axis=1) / np.arange(1, seasons.shape[1] + 1)
    e_values = np.array([below_zero(season, _BOUND) for season in seasons])
    shown = (e_values >= math.log(20.0)) & (means < 0.0)
    assert shown[:, 99:].any(axis=1).mean() <= 0.05


PROMOTE, RETIRE, CONTINUE = GateDecision.PROMOTE, GateDecision.RETIRE, GateDecision.CONTINUE


_SETTINGS = GateSettings()


_FAR, _NEAR = (0.02, 0.002), (0.003, 0.00015)
"""Divergences above and below the margins of `pairs`, 0.004 points of CRPS and 0.0002 of the Brier score."""


def pairs(
    crps: ArrayLike,
    brier: ArrayLike = 0.0,
    *,
    divergence: tuple[float, float] = _FAR,
    covered: float = 0.95,
    against: tuple[ArrayLike, ArrayLike] = (4.0, 0.2),
) -> PairedForecasts:
    """Build one pair a game from the differences of its scores, model − other.

    Args:
        crps, brier: (n,) or one for all.
        divergence: divergences of CRPS and Brier score.
        covered: share of the intervals that held, evenly spread.
        against: the other's scores.
    """
    crps = np.atleast_1d(np.asarray(crps, dtype=np.float64))
    count = len(crps)
    columns = {
        "minute": 18,
        "alpha": 0.05,
        "against_crps": against[0],
        "crps": against[0] + crps,
        "against_brier": against[1],
        "brier": np.asarray(against[1]) + brier,
        "crps_divergence": divergence[0],
        "brier_divergence": divergence[1],
        "width": 24.0,
        "covered": np.diff(np.floor(np.arange(count + 1) * covered)) > 0,
    }
    return PairedForecasts(np.arange(count), **{name: np.broadcast_to(each, count) for name, each in columns.items()})


def _judge(halftime: PairedForecasts | None, final: PairedForecasts | None = None) -> Judgement:
    given_ = {Horizon.HALFTIME: halftime, Horizon.FINAL: final}
    return judge({h: _SETTINGS.compare(each) for h, each in given_.items() if each is not None}, _SETTINGS)


_RANDOM_GATE = np.random.default_rng(3)


_NOISE, _BRIER_NOISE = _RANDOM_GATE.normal(0.0, 0.02, 400), _RANDOM_GATE.normal(0.0, 0.0008, 400)


_EQUAL = pairs(12 * _NOISE, 12 * _BRIER_NOISE, divergence=_NEAR)


_BETTER = pairs(_NOISE - 0.05, _BRIER_NOISE - 0.003)


_DISASTERS = np.where(np.arange(400) % 40 == 39, 9.0, _NOISE - 0.1)


CASES: dict[str, tuple[PairedForecasts | None, PairedForecasts | None, GateDecision, str]] = {
    "hardly differs": (_EQUAL, None, PROMOTE, ""),
    "better, by outcomes": (_BETTER, _BETTER, PROMOTE, ""),
    "equal, with no evidence": (pairs(12 * _NOISE, -0.003 + _BRIER_NOISE), None, CONTINUE, "in CRPS (at the half"),
    "far in one score": (replace(_EQUAL, brier_divergence=pairs(_NOISE).brier_divergence), None, CONTINUE, "in Brier"),
    "worse": (pairs(0.1 + _NOISE, _BRIER_NOISE), None, RETIRE, "worse by more than"),
    "worse at the end": (_EQUAL, pairs(_NOISE, _BRIER_NOISE + 0.0001), CONTINUE, "in CRPS (at the end"),
    "few games": (pairs(0.1 + _NOISE[:99]), None, CONTINUE, "99 of at least 100 games"),
    "no games": (None, None, CONTINUE, "no game"),
    "intervals that do not hold": (replace(_EQUAL, covered=pairs(_NOISE, covered=0.9).covered), None, CONTINUE, "95%"),
    "a horizon hardly asked for": (_EQUAL, pairs(_NOISE[:199], covered=0.5), PROMOTE, ""),
    "clipped games that hide a mean beyond the margin": (pairs(_DISASTERS, _BRIER_NOISE - 0.003), None, CONTINUE, ""),
}
"""Comparisons at the half and at the end; the decision, and part of its reason."""


@pytest.mark.parametrize(("half", "final", "decision", "reason"), CASES.values(), ids=CASES)
def test_a_model_is_promoted_retired_or_watched(
    half: PairedForecasts | None, final: PairedForecasts | None, decision: GateDecision, reason: str
) -> None:
    judgement = _judge(half, final)
    assert (judgement.decision, reason in judgement.reason) == (decision, True), judgement.reason


def test_a_judgement_has_the_figures_of_its_games() -> None:
    judgement = _judge(_EQUAL, pairs(_NOISE[:300], divergence=(0.002, 0.0001)))
    assert (judgement.games, judgement.coverage) == pytest.approx((400, 0.95))
    assert judgement.crps_difference == pytest.approx(12 * float(_NOISE.mean()))
    assert (judgement.crps_divergence, judgement.brier_divergence) == pytest.approx(_NEAR)
    assert _SETTINGS.compare(pairs([])) is None


@given(st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(-0.1, 0.1)), min_size=1, max_size=50), st.booleans())
def test_any_comparison_is_judged_by_finite_figures(differences: list[tuple[float, float]], many: bool) -> None:
    crps, brier = np.repeat(differences, 1000 if many else 1, axis=0).T
    comparison = present(_SETTINGS.compare(pairs(crps, brier)))
    assert len(comparison.crps.not_worse) == comparison.games
    judgement = judge({Horizon.FINAL: comparison}, GateSettings(min_games=1))
    assert judgement.reason
    assert np.isfinite([getattr(judgement, field.name) for field in fields(GateFigures)]).all()
