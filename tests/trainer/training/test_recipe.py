from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.builders.random_walks import random_walks, with_column

from dejavu_feed.live_inputs import POSSESSION_FROM
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.components.settings import DejavuConfig, LstmConfig
from dejavu_models.types import CASES, HORIZONS, WITHOUT_LINE, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.inputs import LiveKind
from dejavu_models.uncertainty.lattice.margin_model import ROWS
from dejavu_models.uncertainty.lattice.ranks import UNRANKED
from dejavu_trainer.training.calibrate import (
    conformalized,
    fit_tables,
)
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.recipe import TrainingConfig


def test_a_recipe_is_known_by_all_that_makes_other_models() -> None:
    lstm, dejavu, weights = LstmConfig(hidden=16), DejavuConfig(nearest=100), {"dejavu": 0.4, "lstm": 0.6}
    changed: tuple[dict[str, Any], ...] = {"rating_steps": 7}, {"lstm": lstm}, {"dejavu": dejavu}, {"weights": weights}
    others = {replace(TrainingConfig(), **each).digest for each in changed}
    assert len(others - {TrainingConfig().digest}) == len(changed)


@pytest.mark.nightly
def test_possession_has_tables_of_its_own_for_the_last_minutes() -> None:
    """In these walks the team with the ball after minute 47 gains one point more; a shot in the air halves that."""
    games = random_walks(420, range(2031, 2035), 5)
    chance = np.random.default_rng(6)
    sides, in_air = chance.choice([-1, 1], (len(games), 48)), chance.random((len(games), 48)) < 0.2
    gains = np.where(in_air[:, 46] & (chance.random(len(games)) < 0.5), 0, sides[:, 46])
    final = games.final + gains
    games = replace(games, final=np.where(final == 0, 2 * sides[:, 46], final).astype(np.int16))
    for name, values in (("possession_side", sides), ("possession_shot_in_air", in_air)):
        told = np.where(np.arange(1, 49) >= POSSESSION_FROM, values, np.nan)
        games = replace(games, live=with_column(games, name, told))
    rated = RatedGames(games, np.zeros(len(games)))
    past, new = rated.select(games.season < 2034), rated.select(games.season == 2034)
    tables = fit_tables(past, past.margins)
    assert set(tables.models) == {(source, kind) for source in WITHOUT_LINE for kind in LiveKind}
    row = ROWS[HORIZONS.index(Horizon.FINAL), 47]
    for source in WITHOUT_LINE:
        assert tables.model(source, LiveKind.POSSESSION).shift[row] == pytest.approx([1.0, -0.5], abs=0.4)
    made = conformalized(tables, Ensemble(fit_linear(*past, curved=True)), new, new.margins)
    model = made.model(MarginSource.KNOWN, LiveKind.POSSESSION)
    assert model.games == len(new.games)
    used = np.array([minute >= POSSESSION_FROM for _, minute in CASES])
    ranked = (model.ranks != made.model(MarginSource.KNOWN, LiveKind.NONE).ranks).any(axis=1)
    assert (model.ranks[~used] == UNRANKED.astype(np.float32)[~used]).all()
    assert ranked[used].all()
