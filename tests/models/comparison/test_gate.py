"""The gate promotes what is shown to be no worse, retires what is worse, and goes on otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.comparison.pairs import joined, pairs

from dejavu_models.comparison import GateDecision, GateSettings, Judgement, PairedForecasts, judge
from dejavu_models.types import Horizon
from dejavu_server.settings import Settings

_SETTINGS = GateSettings()
_RANDOM = np.random.default_rng(3)
_NOISE = _RANDOM.normal(0.0, 0.02, 400)
_BRIER_NOISE = _RANDOM.normal(0.0, 0.0008, 400)
_WORSE = 0.1 + _NOISE
_EQUAL = pairs(_NOISE, _BRIER_NOISE)


def _judge(halftime: PairedForecasts | None, final: PairedForecasts | None = None) -> Judgement:
    given_ = {Horizon.HALFTIME: halftime, Horizon.FINAL: final}
    return judge({h: _SETTINGS.compare(each) for h, each in given_.items() if each is not None}, _SETTINGS)


def test_an_equal_model_is_promoted() -> None:
    judgement = _judge(_EQUAL)
    assert judgement.decision is GateDecision.PROMOTE
    assert (judgement.games, judgement.reason) == (
        400,
        "not worse by 0.02 points of CRPS or 0.001 of the Brier score, 400 games at the half",
    )
    assert judgement.crps_e_value >= 20.0
    assert judgement.brier_e_value >= 20.0
    assert judgement.crps_difference == pytest.approx(float(_NOISE.mean()))
    assert judgement.coverage == pytest.approx(0.95)


def test_a_worse_model_is_retired() -> None:
    judgement = _judge(pairs(_WORSE, _BRIER_NOISE))
    assert judgement.decision is GateDecision.RETIRE
    assert judgement.crps_e_value >= 20.0
    assert judgement.brier_e_value < 20.0
    assert judgement.reason.startswith(
        "worse by more than 0.02 points of CRPS or 0.001 of the Brier score: mean e-value"
    )


def test_a_tie_at_the_margin_goes_on() -> None:
    judgement = _judge(pairs(0.02 + _NOISE - _NOISE.mean(), _BRIER_NOISE))
    assert judgement.decision is GateDecision.CONTINUE
    assert "not shown to be no worse by 0.02 in CRPS" in judgement.reason


def test_nothing_is_decided_from_few_games() -> None:
    judgement = _judge(pairs(_WORSE[:99]))
    assert (judgement.decision, judgement.reason) == (GateDecision.CONTINUE, "99 of at least 100 games were compared")


def test_nothing_is_decided_without_games() -> None:
    assert _judge(None).decision is GateDecision.CONTINUE
    assert _SETTINGS.compare(_EQUAL.where(np.zeros(len(_EQUAL), dtype=np.bool_))) is None


def test_intervals_that_do_not_hold_keep_a_model_from_promotion() -> None:
    judgement = _judge(pairs(_NOISE, _BRIER_NOISE, covered=0.9))
    assert judgement.decision is GateDecision.CONTINUE
    assert judgement.reason == "90.0% of its 95% intervals held (at the half, 400 games); expected at least 92.0%"


def test_a_model_that_is_worse_at_the_end_is_not_promoted() -> None:
    assert _judge(_EQUAL, pairs(0.02 + _NOISE, _BRIER_NOISE)).decision is GateDecision.CONTINUE
    assert _judge(_EQUAL, _EQUAL).decision is GateDecision.PROMOTE


def test_a_horizon_that_is_hardly_asked_for_does_not_hold_up_a_promotion() -> None:
    few = pairs(_NOISE[:199], _BRIER_NOISE[:199], covered=0.5)
    assert _judge(_EQUAL, few).decision is GateDecision.PROMOTE


def test_one_score_alone_that_is_worse_is_enough_to_retire() -> None:
    assert _judge(_EQUAL, pairs(_NOISE, 0.005 + _BRIER_NOISE)).decision is GateDecision.RETIRE


def test_a_clipped_game_does_not_hide_a_mean_beyond_the_margin() -> None:
    """Nine games worse by 9 points are clipped; the plain mean speaks against it."""
    disasters = _NOISE.copy() - 0.1
    disasters[40::40] = 9.0
    evidence = _SETTINGS.compare(pairs(disasters, _BRIER_NOISE))
    assert evidence is not None
    assert evidence.crps.not_worse_e_value >= 20.0
    assert _judge(pairs(disasters, _BRIER_NOISE)).decision is GateDecision.CONTINUE


def test_each_minute_of_a_game_has_the_same_weight() -> None:
    """A minute that somebody asked for with ten alphas counts once."""
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
