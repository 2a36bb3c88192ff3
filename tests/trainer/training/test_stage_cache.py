"""Kept stages of a study: shared by recipes, the same as computed ones, and never executed."""

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

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.components.settings import LstmConfig
from dejavu_trainer.evaluation.backtest import Fold
from dejavu_trainer.training.stage_cache import StageCache


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
