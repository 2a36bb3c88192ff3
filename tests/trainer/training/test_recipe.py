"""Recipes, and kept stages of a study: shared by recipes, the same as computed ones, and never executed."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import quick_recipe, simulated_games, walked_forward
from tests.support.builders.folds import random_walks, with_column

from dejavu_feed.errors import DataError
from dejavu_feed.live_inputs import POSSESSION_FROM
from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.components.component import DejavuConfig, LstmConfig
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.types import CASES, ROWS, WITHOUT_LINE, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.margin_model import LiveKind
from dejavu_models.uncertainty.lattice.shapes import UNRANKED
from dejavu_trainer.evaluation.backtest import Fold
from dejavu_trainer.training.calibrate import (
    StageCache,
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
    row = ROWS[Horizon.FINAL, 47]
    for source in WITHOUT_LINE:
        assert tables.model(source, LiveKind.POSSESSION).shift[row] == pytest.approx([1.0, -0.5], abs=0.4)
    made = conformalized(tables, Ensemble(fit_linear(*past, curved=True)), new, new.margins)
    model = made.model(MarginSource.KNOWN, LiveKind.POSSESSION)
    assert model.games == len(new.games)
    used = np.array([minute >= POSSESSION_FROM for _, minute in CASES])
    ranked = (model.ranks != made.model(MarginSource.KNOWN, LiveKind.NONE).ranks).any(axis=1)
    assert (model.ranks[~used] == UNRANKED.astype(np.float32)[~used]).all()
    assert ranked[used].all()


@pytest.mark.nightly
def test_a_fold_is_the_same_with_stages_kept_and_a_recipe_computes_only_its_own(tmp_path: Path) -> None:
    [path] = walked_forward().glob("fold-2033-*.npz")  # without a cache
    games, recipe, stages = simulated_games(), quick_recipe(), StageCache(tmp_path)
    Fold(replace(recipe, lstm=LstmConfig(hidden=4, epochs=3)), 2033, 1).run(games, stages)
    kept = {path.name for path in tmp_path.iterdir()}
    assert {name.partition("-")[2] for name in kept} == {"ratings.json", "tables.npz", "lstm.npz"}
    assert Fold(recipe, 2033, 1).run(games, stages).to_bytes() == path.read_bytes()
    [new] = {path.name for path in tmp_path.iterdir()} - kept
    assert new.endswith("-lstm.npz")


class Marked:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def objects_with(value: object) -> bytes:
    np.savez(buffer := io.BytesIO(), content=np.array([value], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _, mark: pickle.dumps(Marked(mark)),
        lambda _, mark: objects_with(Marked(mark)),
        lambda content, _: content[:50],
    ],
    ids=["pickle", "arrays with a pickle", "cut off"],
)
def test_a_file_that_is_no_result_is_refused_by_name_and_not_run(
    tmp_path: Path, spoil: Callable[[bytes, Path], bytes]
) -> None:
    stages, computed = StageCache(tmp_path / "stages"), list[int]()

    def compute() -> Floats:
        computed.append(1)
        return np.full(100, 0.1)

    def stage() -> Floats:
        inputs = (1, "text", quick_recipe())
        return stages.get(
            "lstm.npz",
            inputs,
            compute,
            lambda values: to_npz(content=values),
            lambda content: from_npz(content)["content"],
        )

    assert np.array_equal(stage(), stage())
    assert computed == [1]
    [path] = (tmp_path / "stages").iterdir()
    path.write_bytes(spoil(path.read_bytes(), tmp_path / "mark"))
    with pytest.raises(DataError, match=re.escape(f"{path}: is not a result of a stage: ")):
        stage()
    assert not (tmp_path / "mark").exists()
