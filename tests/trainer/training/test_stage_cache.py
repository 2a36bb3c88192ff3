from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.builders.bundles import quick_recipe, simulated_games, walked_forward

from dejavu_trainer.evaluation.backtest import Fold
from dejavu_trainer.evaluation.scoring.forecasts import to_bytes
from dejavu_trainer.training.lstm_config import LstmConfig
from dejavu_trainer.training.stage_cache import StageCache


@pytest.mark.nightly
def test_a_fold_is_the_same_with_stages_kept_and_a_recipe_computes_only_its_own(tmp_path: Path) -> None:
    [path] = walked_forward().glob("fold-2033-*.npz")  # without a cache
    games, recipe, stages = simulated_games(), quick_recipe(), StageCache(tmp_path)
    Fold(replace(recipe, lstm=LstmConfig(hidden=4, epochs=3)), 2033, 1).run(games, stages)
    kept = {path.name for path in tmp_path.iterdir()}
    assert {name.partition("-")[0] for name in kept} == {"ratings", "dejavu", "lstm", "calibration"}
    assert to_bytes(Fold(recipe, 2033, 1).run(games, stages)) == path.read_bytes()
    [new] = {path.name for path in tmp_path.iterdir()} - kept
    assert new.startswith("lstm-")


def test_a_result_that_was_cut_off_is_computed_again(tmp_path: Path) -> None:
    stages, computed = StageCache(tmp_path / "stages"), list[int]()

    def compute() -> list[float]:
        computed.append(1)
        return [0.5] * 100

    for _ in range(2):
        assert stages.get("stage", (1, "text", quick_recipe()), compute) == [0.5] * 100
    assert len(computed) == 1
    [path] = (tmp_path / "stages").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert stages.get("stage", (1, "text", quick_recipe()), compute) == [0.5] * 100
    assert stages.get("stage", (2, "text", quick_recipe()), compute) == [0.5] * 100
    assert len(computed) == 3
