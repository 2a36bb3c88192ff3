"""The gate promotes a model that is shown to be no worse, or hardly differs; it retires a worse one."""

from __future__ import annotations

from dataclasses import fields, replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from dejavu_models.arrays import Floats
from dejavu_models.comparison.gate import GateDecision, GateFigures, GateSettings, Judgement, judge
from dejavu_models.comparison.scores import PairedForecasts
from dejavu_models.metrics import cramer_distance, crps_of_quantiles
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon

PROMOTE, RETIRE, CONTINUE = GateDecision.PROMOTE, GateDecision.RETIRE, GateDecision.CONTINUE
_SETTINGS = GateSettings()
_NORMAL = NormalDist()
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


_RANDOM = np.random.default_rng(3)
_NOISE, _BRIER_NOISE = _RANDOM.normal(0.0, 0.02, 400), _RANDOM.normal(0.0, 0.0008, 400)
_EQUAL = pairs(12 * _NOISE, 12 * _BRIER_NOISE, divergence=_NEAR)
_BETTER = pairs(_NOISE - 0.05, _BRIER_NOISE - 0.003)
_DISASTERS = np.where(np.arange(400) % 40 == 39, 9.0, _NOISE - 0.1)
CASES: dict[str, tuple[PairedForecasts | None, PairedForecasts | None, GateDecision, str]] = {
    "hardly differs": (_EQUAL, None, PROMOTE, "not worse by 0.1 %, 400 games at the half"),
    "better, by outcomes": (_BETTER, _BETTER, PROMOTE, "400 games at the half, 400 games at the end"),
    "equal, with no evidence": (
        pairs(12 * _NOISE, -0.003 + _BRIER_NOISE),
        None,
        CONTINUE,
        "not shown to be no worse by 0.1 % in CRPS (at the half, 400 games): e-value",
    ),
    "far in one score": (replace(_EQUAL, brier_divergence=pairs(_NOISE).brier_divergence), None, CONTINUE, "in Brier"),
    "worse": (pairs(0.1 + _NOISE, _BRIER_NOISE), None, RETIRE, "worse by more than 0.1 %: mean e-value"),
    "worse at the end": (_EQUAL, pairs(_NOISE, _BRIER_NOISE + 0.0001), CONTINUE, "in CRPS (at the end, 400 games)"),
    "few games": (pairs(0.1 + _NOISE[:99]), None, CONTINUE, "99 of at least 100 games were compared"),
    "no games": (None, None, CONTINUE, "no game was forecast by both models and settled"),
    "intervals that do not hold": (
        replace(_EQUAL, covered=pairs(_NOISE, covered=0.9).covered),
        None,
        CONTINUE,
        "90.0% of its 95% intervals held (at the half, 400 games); expected at least 93.0%",
    ),
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


@pytest.mark.parametrize(
    ("error", "decision"),
    [pytest.param(0.3, PROMOTE, id="equal"), pytest.param(0.88, CONTINUE, id="linear regression")],
)
def test_a_model_that_lacks_the_champions_skill_does_not_pass_and_its_equal_does(
    error: float, decision: GateDecision
) -> None:
    """The champion knows of each game what makes its points differ by `error` from those of the other model.

    With 0.88 points the other is worse by 0.32 % of CRPS, as linear regression is: less than a season can show.
    """
    random = np.random.default_rng(11)
    known = random.normal(2.5, 6.0, 1200)
    outcome = known + random.normal(0.0, 11.0, 1200)
    champion, model = _forecast(known, 11.0), _forecast(known + random.normal(0.0, error, 1200), np.hypot(11.0, error))
    scores = [
        (crps_of_quantiles(quantiles, outcome), np.square(chance - (outcome > 0)))
        for quantiles, chance in (champion, model)
    ]
    against, own = scores
    compared = replace(
        pairs(own[0] - against[0], own[1] - against[1], against=against),
        crps_divergence=cramer_distance(model[0].T, champion[0].T),
        brier_divergence=np.square(model[1] - champion[1]),
    )
    judgement = _judge(None, compared)
    assert judgement.decision is decision, judgement.reason
    assert (judgement.crps_e_value, judgement.brier_e_value) < (20.0, 20.0), "outcomes alone show nothing yet"
    assert decision is PROMOTE or judgement.crps_divergence / against[0].mean() == pytest.approx(0.0032, abs=0.0004)


def _forecast(points: Floats, spread: float) -> tuple[Floats, Floats]:
    """Return the quantiles (levels, n) and the probabilities of a lead of normal forecasts."""
    levels = np.array([_NORMAL.inv_cdf(level) for level in DISTRIBUTION_LEVELS])
    return points + spread * levels[:, None], np.array([_NORMAL.cdf(each) for each in points / spread])


def test_a_judgement_has_the_figures_of_its_games() -> None:
    judgement = _judge(_EQUAL, pairs(_NOISE[:300], divergence=(0.002, 0.0001)))
    assert (judgement.games, judgement.coverage) == pytest.approx((400, 0.95))
    assert judgement.crps_difference == pytest.approx(12 * float(_NOISE.mean()))
    assert (judgement.crps_divergence, judgement.brier_divergence) == pytest.approx(_NEAR)
    assert _SETTINGS.compare(pairs([])) is None


@given(st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(-0.1, 0.1)), min_size=1, max_size=50), st.booleans())
def test_any_comparison_is_judged_by_finite_figures(differences: list[tuple[float, float]], many: bool) -> None:
    crps, brier = np.repeat(differences, 1000 if many else 1, axis=0).T
    comparison = _SETTINGS.compare(pairs(crps, brier))
    assert comparison is not None
    assert len(comparison.crps.not_worse) == comparison.games
    judgement = judge({Horizon.FINAL: comparison}, GateSettings(min_games=1))
    assert judgement.reason
    assert np.isfinite([getattr(judgement, field.name) for field in fields(GateFigures)]).all()
