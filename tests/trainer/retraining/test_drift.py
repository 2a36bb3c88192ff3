"""Drift: alarms for changes and not for chance, with many quantities tested together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.trainer.retraining.made_games import made_games

from dejavu_trainer.data.games import Games
from dejavu_trainer.retraining.drift import LEVEL, MIN_GAMES, drifts

RAMP = np.linspace(0, 6, 48).round().astype(np.int16)


def alarms(before: Games, after: Games) -> set[str]:
    return {each.quantity for each in drifts(before, after) if each.alarm}


def with_ramp(games: Games) -> Games:
    return replace(games, differentials=games.differentials + RAMP, final=games.final + 6)


def with_rarer_changes(games: Games) -> Games:
    return replace(games, differentials=np.repeat(games.differentials[:, 1::2], 2, axis=1))


def flat(games: Games) -> Games:
    return replace(games, differentials=np.ones_like(games.differentials), final=np.ones_like(games.final))


def test_games_of_one_kind_raise_an_alarm_at_most_at_the_level() -> None:
    raised = sum(bool(alarms(made_games(300, seed=seed), made_games(200, seed=1000 + seed))) for seed in range(40))
    assert raised <= 40 * LEVEL + 3


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (made_games(1000), made_games(600, seed=1, scale=1.4), {"scoring", "spread at the half", "spread at the end"}),
        (made_games(600, seed=3), with_ramp(made_games(600, seed=2)), {"home edge"}),
        (made_games(600), with_rarer_changes(made_games(600, seed=6)), {"pace"}),
        (made_games(200), flat(made_games(200)), {"scoring"}),  # without any variance
    ],
)
def test_changed_games_raise_an_alarm_of_what_changed(before: Games, after: Games, expected: set[str]) -> None:
    assert expected <= alarms(before, after)
    assert not alarms(after, after)
    assert all((each.effect > 0) == (each.after > each.before) for each in drifts(before, after) if each.alarm)


def test_a_significant_but_negligible_difference_is_no_alarm() -> None:
    before, after = made_games(7000, seed=4), made_games(7000, seed=5, scale=1.015)
    scoring = drifts(before, after)[0]
    assert scoring.quantity == "scoring"
    assert scoring.p_value < LEVEL
    assert not scoring.alarm


def test_too_few_games_are_not_compared() -> None:
    assert drifts(made_games(1000), made_games(MIN_GAMES - 1, scale=3)) == []
    assert len(drifts(made_games(1000), made_games(MIN_GAMES))) == 5
