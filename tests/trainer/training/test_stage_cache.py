from __future__ import annotations

import io
import json
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
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert json.loads(content) if file.suffix == ".json" else from_npz(content)


class Marked:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._mark,)


def objects_with(value: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, content=np.array([value], dtype=object), parity=np.array(0.5), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _, mark: pickle.dumps(Marked(mark)),
        lambda _, mark: objects_with(Marked(mark)),
        lambda content, _: content[:50],
        lambda content, _: b"",
    ],
    ids=["pickle", "arrays with a pickle", "cut off", "empty"],
)
def test_a_file_that_is_no_result_is_refused_by_name_and_not_run(
    tmp_path: Path, spoil: Callable[[bytes, Path], bytes]
) -> None:
    stages, computed = StageCache(tmp_path / "stages"), list[int]()

    def stage(number: int) -> list[float]:
        def compute() -> Floats:
            computed.append(number)
            return np.full(100, 0.1)

        def read(content: bytes) -> Floats:
            return from_npz(content)["content"].astype(float)

        inputs = (number, "text", quick_recipe())
        made: Floats = stages.get("lstm.npz", inputs, compute, lambda values: to_npz(content=values), read)
        return [*map(float, made)]

    assert stage(1) == stage(1) == [0.1] * 100
    assert computed == [1]
    [path] = (tmp_path / "stages").iterdir()
    path.write_bytes(spoil(path.read_bytes(), tmp_path / "mark"))
    with pytest.raises(DataError, match=re.escape(f"{path}: is not a result of a stage: ")):
        stage(1)
    assert not (tmp_path / "mark").exists()
    stage(2)
    assert computed == [1, 2]
