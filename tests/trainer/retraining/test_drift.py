"""Drift: alarms for changes and not for chance, with many quantities tested together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trainer.retraining.made_games import changed, made_games

from dejavu_trainer.data.games import Games
from dejavu_trainer.retraining.drift import LEVEL, MIN_GAMES, QUANTITIES, drifts, holm


def alarms(before: Games, after: Games) -> set[str]:
    return {each.quantity for each in drifts(before, after) if each.alarm}


def test_games_of_one_kind_raise_an_alarm_at_most_at_the_level() -> None:
    raised = sum(bool(alarms(made_games(300, seed=seed), made_games(200, seed=1000 + seed))) for seed in range(40))
    assert raised <= 40 * LEVEL + 3


def test_games_that_move_more_raise_alarms_of_scoring_and_spread() -> None:
    assert {"scoring", "spread at the half", "spread at the end"} <= alarms(
        made_games(1000), made_games(600, seed=1, scale=1.4)
    )


def test_a_larger_home_edge_is_an_alarm_of_its_own() -> None:
    games = made_games(600, seed=2)
    ramp = np.linspace(0, 6, 48).round().astype(np.int16)
    later = changed(games, differentials=games.differentials + ramp, final=games.final + 6)
    assert "home edge" in alarms(made_games(600, seed=3), later)


def test_a_difference_that_is_significant_and_negligible_is_no_alarm() -> None:
    before, after = made_games(7000, seed=4), made_games(7000, seed=5, scale=1.015)
    [scoring] = [each for each in drifts(before, after) if each.quantity == "scoring"]
    assert scoring.p_value < LEVEL
    assert not scoring.alarm


def test_too_few_games_are_not_compared() -> None:
    assert drifts(made_games(1000), made_games(MIN_GAMES - 1, scale=3)) == []
    assert [each.quantity for each in drifts(made_games(1000), made_games(MIN_GAMES))] == list(QUANTITIES)


def test_games_without_any_variance_are_compared_too() -> None:
    games = made_games(200)
    flat = changed(games, differentials=np.ones_like(games.differentials), final=np.ones_like(games.final))
    assert not alarms(flat, flat)
    assert "scoring" in alarms(games, flat)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrected_p_values_keep_their_order_and_are_between_the_raw_and_bonferronis(p_values: list[float]) -> None:
    corrected = holm(p_values)
    for raw, value in zip(p_values, corrected, strict=True):
        assert raw <= value <= min(1.0, max(p_values) * len(p_values))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)
    assert min(corrected) == pytest.approx(min(1.0, min(p_values) * len(p_values)))
