"""The gate promotes a model shown to be no worse, retires a worse one, and goes on otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from dejavu_models.comparison import GateDecision, GateSettings, Judgement, PairedForecasts, judge, shadow_rows
from dejavu_models.scorecard import LeaderboardMetric
from dejavu_models.types import Horizon
from dejavu_server.settings import Settings


def pairs(
    crps: ArrayLike, brier: ArrayLike = 0.0, *, covered: ArrayLike = 0.95, alpha: float = 0.05
) -> PairedForecasts:
    """Build one pair a game from the differences of its scores.

    Args:
        crps, brier: (n,) or one for all, differences model − other.
        covered: (n,), whether the intervals held; or the share of them that did, evenly spread.
        alpha: miscoverage rate of the intervals.
    """
    crps = np.atleast_1d(np.asarray(crps, dtype=np.float64))
    brier = np.broadcast_to(np.asarray(brier, dtype=np.float64), crps.shape)
    count = len(crps)
    held = np.asarray(covered)
    if held.ndim == 0:
        held = np.floor(np.arange(1, count + 1) * held) > np.floor(np.arange(count) * held)
    return PairedForecasts(
        game=np.arange(count),
        minute=np.full(count, 18),
        alpha=np.full(count, alpha),
        crps=4.0 + crps,
        against_crps=np.full(count, 4.0),
        brier=0.2 + brier,
        against_brier=np.full(count, 0.2),
        covered=held.astype(np.bool_),
    )


def joined(parts: Sequence[PairedForecasts]) -> PairedForecasts:
    """Join pairs, one after the other, without renumbering their games."""
    names = PairedForecasts.__dataclass_fields__
    return PairedForecasts(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


_SETTINGS = GateSettings()
_RANDOM = np.random.default_rng(3)
_NOISE = _RANDOM.normal(0.0, 0.02, 400)
_BRIER_NOISE = _RANDOM.normal(0.0, 0.0008, 400)
_WORSE = 0.1 + _NOISE
_EQUAL = pairs(_NOISE, _BRIER_NOISE)


def _judge(halftime: PairedForecasts | None, final: PairedForecasts | None = None) -> Judgement:
    given_ = {Horizon.HALFTIME: halftime, Horizon.FINAL: final}
    return judge({h: _SETTINGS.compare(each) for h, each in given_.items() if each is not None}, _SETTINGS)


PROMOTE, RETIRE, CONTINUE = GateDecision.PROMOTE, GateDecision.RETIRE, GateDecision.CONTINUE
_FEW = pairs(_NOISE[:199], _BRIER_NOISE[:199], covered=0.5)
CASES: dict[str, tuple[PairedForecasts | None, PairedForecasts | None, GateDecision, str]] = {
    "equal": (
        _EQUAL,
        None,
        PROMOTE,
        "not worse by 0.02 points of CRPS or 0.001 of the Brier score, 400 games at the half",
    ),
    "equal at both": (_EQUAL, _EQUAL, PROMOTE, ""),
    "worse": (
        pairs(_WORSE, _BRIER_NOISE),
        None,
        RETIRE,
        "worse by more than 0.02 points of CRPS or 0.001 of the Brier score: mean e-value",
    ),
    "worse in one score": (pairs(_NOISE, 0.005 + _BRIER_NOISE), None, RETIRE, ""),
    "a tie at the margin": (
        pairs(0.02 + _NOISE - _NOISE.mean(), _BRIER_NOISE),
        None,
        CONTINUE,
        "not shown to be no worse by 0.02 in CRPS",
    ),
    "few games": (pairs(_WORSE[:99]), None, CONTINUE, "99 of at least 100 games were compared"),
    "no games": (None, None, CONTINUE, ""),
    "intervals that do not hold": (
        pairs(_NOISE, _BRIER_NOISE, covered=0.9),
        None,
        CONTINUE,
        "90.0% of its 95% intervals held (at the half, 400 games); expected at least 93.0%",
    ),
    "worse at the end": (_EQUAL, pairs(0.02 + _NOISE, _BRIER_NOISE), CONTINUE, ""),
    "a horizon hardly asked for": (_EQUAL, _FEW, PROMOTE, ""),
}
"""Comparisons at the half and at the end; the decision, and part of its reason."""


@pytest.mark.parametrize(("half", "final", "decision", "reason"), CASES.values(), ids=CASES)
def test_a_model_is_promoted_retired_or_watched(
    half: PairedForecasts | None, final: PairedForecasts | None, decision: GateDecision, reason: str
) -> None:
    judgement = _judge(half, final)
    assert judgement.decision is decision
    assert reason in judgement.reason
    evidence = (judgement.crps_e_value >= 20.0, judgement.brier_e_value >= 20.0)
    assert decision is not PROMOTE or evidence == (True, True)


def test_a_judgement_has_the_figures_of_its_games() -> None:
    judgement = _judge(_EQUAL)
    assert judgement.games == 400
    assert judgement.coverage == pytest.approx(0.95)
    assert judgement.crps_difference == pytest.approx(float(_NOISE.mean()))
    assert _SETTINGS.compare(_EQUAL.where(np.zeros(len(_EQUAL), dtype=np.bool_))) is None


def test_a_clipped_game_does_not_hide_a_mean_beyond_the_margin() -> None:
    """Nine games worse by 9 points are clipped; the plain mean speaks against it."""
    disasters = _NOISE.copy() - 0.1
    disasters[40::40] = 9.0
    evidence = _SETTINGS.compare(pairs(disasters, _BRIER_NOISE))
    assert evidence is not None
    assert evidence.crps.not_worse_e_value >= 20.0
    assert _judge(pairs(disasters, _BRIER_NOISE)).decision is GateDecision.CONTINUE


def test_each_minute_of_a_game_has_the_same_weight() -> None:
    """A minute with forecasts at ten alphas counts once."""
    minutes = joined([pairs(0.4)] * 10 + [pairs(-0.4)])
    minute = np.array([18] * 10 + [19])
    alphas = np.append(np.linspace(0.05, 0.5, 10), 0.05)
    several = PairedForecasts(
        **{name: getattr(minutes, name) for name in PairedForecasts.__dataclass_fields__}
        | {"minute": minute, "alpha": alphas}
    )
    comparison = _SETTINGS.compare(several)
    assert comparison is not None
    assert comparison.crps.difference.value == pytest.approx(0.0)
    assert (comparison.games, comparison.forecasts) == (1, 11)
    assert (comparison.usual_coverage.alpha, comparison.usual_coverage.forecasts) == (0.05, 2)


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=50), st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=50))
def test_any_comparison_is_judged(crps: list[float], brier: list[float]) -> None:
    count = min(len(crps), len(brier))
    comparison = _SETTINGS.compare(pairs(crps[:count], brier[:count]))
    assert comparison is not None
    assert len(comparison.crps.not_worse) == comparison.games
    few = GateSettings(min_games=1)
    judgement = judge({Horizon.FINAL: comparison}, few)
    assert judgement.reason
    assert np.isfinite([judgement.crps_e_value, judgement.brier_e_value, judgement.coverage]).all()


def test_e_values_stay_finite_after_thousands_of_games() -> None:
    comparison = _SETTINGS.compare(pairs(np.full(50_000, -0.5), np.full(50_000, -0.02)))
    assert comparison is not None
    assert np.isfinite(comparison.crps.not_worse).all()
    assert comparison.crps.worse_e_value >= 0.0


def test_a_server_asks_for_the_same_margin_unless_it_is_told_otherwise() -> None:
    assert Settings.model_fields["gate_crps_margin"].default == GateSettings().crps_margin


_PAIRS = {
    "worse": pairs([0.3, 0.5, 0.1], 0.0),
    "better": pairs([-0.25, -0.5], 0.01),
    "none": pairs([0.0]).where(np.zeros(1, dtype=np.bool_)),
    "like it": pairs([-0.375] * 4, -0.02),
}


def test_the_best_of_the_champions_games_comes_first() -> None:
    rows = shadow_rows(_PAIRS, "champ", LeaderboardMetric.MAE, 2)
    assert [(row.rank, row.model_version, row.games) for row in rows] == [
        (1, "better", 2),
        (1, "like it", 4),
        (3, "worse", 3),
    ]
    last = rows[-1]
    assert (last.against_version, last.forecasts) == ("champ", 3)
    assert (last.crps.score, last.crps.against_score) == pytest.approx((4.3, 4.0))
    assert last.crps.difference.value == pytest.approx(0.3)
    assert last.crps.difference.lower == pytest.approx(0.3 - 4.302653 * 0.2 / np.sqrt(3.0))


def test_a_leaderboard_by_the_brier_score_ranks_them_by_it() -> None:
    rows = shadow_rows(_PAIRS, "champ", LeaderboardMetric.BRIER, 1)
    assert [row.model_version for row in rows] == ["like it", "worse", "better"]


def test_a_model_with_too_few_games_is_left_out() -> None:
    assert [row.model_version for row in shadow_rows(_PAIRS, "champ", LeaderboardMetric.CRPS, 4)] == ["like it"]
