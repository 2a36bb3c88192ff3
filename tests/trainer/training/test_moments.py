"""Tables of moments fitted to games: as the games went, and none without enough of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.random_walks import random_walks, with_moments
from tests.support.harness.present import present

from dejavu_models.moments.model import IN_AIR, MOST_CHANGE, MOST_LEAD, NOT_KNOWN, SECONDS
from dejavu_models.types import Horizon
from dejavu_trainer.data.moments import no_moments
from dejavu_trainer.training.moments import MIN_GAMES, fit_moments

GAMES = with_moments(random_walks(300, range(2020, 2024)))


def test_the_tables_have_the_frequencies_of_the_games() -> None:
    model = present(fit_moments(GAMES))
    assert model.games == len(GAMES)
    row = SECONDS[Horizon.FINAL].index(60)
    leads = GAMES.differentials[:, 46]
    change = GAMES.differentials[:, 47] - leads
    tied = model.mass[Horizon.FINAL][NOT_KNOWN, row, MOST_LEAD]
    values = np.arange(-MOST_CHANGE, MOST_CHANGE + 1)
    assert tied @ values == pytest.approx(0, abs=0.3)  # the same from both sides
    assert np.sqrt(tied @ np.square(values)) == pytest.approx(
        np.sqrt(np.square(change[abs(leads) < 8]).mean()), rel=0.2
    )
    # The less time, the less changes.
    still = model.mass[Horizon.FINAL][NOT_KNOWN, :, MOST_LEAD, MOST_CHANGE]
    assert still[0] == 1
    assert (np.diff(still[1:]) < 0.02).all()
    assert model.mass[Horizon.FINAL][IN_AIR].sum(axis=-1) == pytest.approx(1, abs=1e-5)


def test_too_few_games_with_states_have_no_tables() -> None:
    moments = GAMES.moments.copy()
    moments[MIN_GAMES - 1 :] = no_moments(len(GAMES))[MIN_GAMES - 1 :]
    assert fit_moments(replace(GAMES, moments=moments)) is None
    moments[MIN_GAMES - 1] = GAMES.moments[MIN_GAMES - 1]
    assert fit_moments(replace(GAMES, moments=moments)) is not None
