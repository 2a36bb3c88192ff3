from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.builders.bundles import walked_forward
from tests.support.builders.folds import walk_fold

from dejavu_feed.errors import DataError
from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.metrics import losses
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import Forecasts
from dejavu_trainer.evaluation.walk_comparison import ALL, COMPARED, compare_walks, mean_difference, read_walk


def _selected(forecasts: Forecasts, kept: NDArray[np.intp]) -> dict[str, Any]:
    arrays = {field.name: getattr(forecasts, field.name) for field in fields(forecasts)}
    return {name: values[kept] for name, values in arrays.items() if values is not None}


def without_games(fold: FoldScores, count: int) -> FoldScores:
    """Return a fold without its first games, in another order."""
    kept = np.arange(len(fold))[:count:-1]
    names = ("game_id", "season", "date", "phase", "home", "away", "leads", "outcomes")
    forecasts = {name: replace(each, **_selected(each, kept)) for name, each in fold.forecasts.items()}
    return replace(fold, forecasts=forecasts, **{name: getattr(fold, name)[kept] for name in names})


def test_metrics_are_those_of_the_games_in_both() -> None:
    from scipy import stats

    fold, wide = walk_fold(), walk_fold(scale=2.0)
    compared = compare_walks({2033: fold}, {2033: without_games(wide, 9), 2034: wide}, "served", "served")
    assert {(each.season, each.games) for each in compared} == {("2033", len(fold) - 10)}
    assert [(each.horizon, each.metric) for each in compared] == [(h, m) for h in HORIZONS for m in COMPARED]
    kept = slice(10, None)
    for each in compared:
        first, second, persistence = (
            losses(of, name, each.horizon)[each.metric][kept].mean(axis=1)
            for of, name in ((fold, "served"), (wide, "served"), (fold, "persistence"))
        )
        means = [part.mean() for part in (first, second, persistence)]
        assert [each.value, each.against, each.persistence] == pytest.approx(means)
        interval = stats.ttest_1samp(first - second, 0).confidence_interval(0.95)
        assert each.difference == pytest.approx((means[0] - means[1], interval.low, interval.high), abs=1e-9)


def test_seasons_are_compared_alone_and_together_and_a_walk_with_itself_is_equal() -> None:
    walk = read_walk(walked_forward())
    compared = compare_walks(walk, walk, "served", "served")
    assert list(dict.fromkeys(each.season for each in compared)) == [ALL, "2033", "2034"]
    assert all(tuple(each.difference) == (0, 0, 0) for each in compared)
    assert all(each.value == each.against for each in compared)
    # Two forecasters of one walk; the logistic regression gives only probabilities.
    by_probability = compare_walks(walk, walk, "served", "logistic")
    assert {each.metric for each in by_probability} == {"brier"}


def test_what_cannot_be_paired_is_refused(tmp_path: Path) -> None:
    fold = walk_fold()
    changed = replace(fold, outcomes=fold.outcomes + np.int16(1))
    for walk, name, message in (
        ({2034: fold}, "served", "no season is in both: 2033 and 2034"),
        ({2033: fold}, "oracle", "has no forecaster 'oracle'; expected one of diffusion"),
        ({2033: changed}, "served", "has another result"),
        ({2033: without_games(fold, len(fold) - 2)}, "served", "fewer than two games are in both"),
    ):
        with pytest.raises(DataError, match=message):
            compare_walks({2033: fold}, walk, "served", name)
    with pytest.raises(DataError, match="has no folds"):
        read_walk(tmp_path)
    copytree(walked_forward(), tmp_path / "two")
    [path] = (tmp_path / "two").glob("fold-2033-*")
    path.with_name("fold-2033-0.npz").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="several folds of 2033"):
        read_walk(tmp_path / "two")


@pytest.mark.parametrize("looks", [1, 5, 40])
def test_intervals_of_many_looks_hold_together(looks: int) -> None:
    rng, missed = np.random.default_rng(7), 0
    rounds = 600
    for _ in range(rounds):
        estimates = [mean_difference(rng.normal(size=60), looks) for _ in range(looks)]
        missed += any(not each.lower <= 0 <= each.upper for each in estimates)
    # 5 % at most, give or take four standard errors.
    assert missed / rounds <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / rounds)
