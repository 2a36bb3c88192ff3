from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.folds import RUN, result_of_two_folds, two_folds

from dejavu_models.metrics import ECE_BINS, probability_bin
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.metrics import (
    LEADS,
    LEVELS,
    METRICS,
    PHASES,
    MetricsByForecaster,
    cases_of,
    compute_metrics,
    losses,
    phases,
)
from dejavu_trainer.evaluation.scoring.fold_scores import FORECASTERS, LINE, OF_LINE, PARTS, PLAYERS, FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import Forecasts, pool

FINAL, HALF = Horizon.FINAL.value, Horizon.HALFTIME.value


@pytest.fixture(scope="module")
def folds() -> list[FoldScores]:
    return two_folds()


@pytest.fixture(scope="module")
def found() -> MetricsByForecaster:
    return result_of_two_folds()[0].figures


def test_every_figure_of_every_forecaster_is_there(found: MetricsByForecaster) -> None:
    for horizon in (HALF, FINAL):
        values = found[horizon]["all"]["all"].values
        assert tuple(values) == tuple(each for each in FORECASTERS if each not in (*PARTS, PLAYERS, LINE, *OF_LINE))
        for name in values:
            assert set(values[name]) == (set(METRICS) if name != "logistic" else {"brier", "log_loss", "ece"})
            for metric, it in values[name].items():
                # Resampling adds noise, so a resampled calibration error tends to exceed the original.
                assert it.lower <= it.upper
                assert it.lower <= it.value <= it.upper or metric == "ece"


def test_a_pooled_mean_is_that_of_all_forecasts(found: MetricsByForecaster, folds: list[FoldScores]) -> None:
    pooled = pool(folds)
    assert len(pooled) == 600
    for horizon in HORIZONS:
        of_each = losses(pooled, "served", horizon)
        group = found[horizon.value]["all"]["all"]
        assert (group.games, group.cases) == (600, 600 * horizon.last_slot)
        for metric, values in of_each.items():
            mean = values.mean() ** 0.5 if metric == "rmse" else values.mean()
            assert group.values["served"][metric].value == pytest.approx(mean)


def test_groups_share_out_the_forecasts(found: MetricsByForecaster) -> None:
    for horizon in HORIZONS:
        by_kind = found[horizon.value]
        everything = by_kind["all"]["all"].cases
        for kind in ("season", "quarter", "phase", "lead", "minute", "minute and lead"):
            assert sum(group.cases for group in by_kind[kind].values()) == everything
        assert tuple(by_kind["minute"]) == tuple(str(minute) for minute in range(1, horizon.last_slot + 1))
        assert tuple(by_kind["lead"]) == LEADS


@pytest.mark.parametrize(("kind", "name"), [("season", "2034"), ("lead", "9-15"), ("minute", "30")])
def test_a_group_has_the_figures_of_its_forecasts_alone(
    found: MetricsByForecaster, folds: list[FoldScores], kind: str, name: str
) -> None:
    pooled = pool(folds)
    which = {
        "season": np.broadcast_to((pooled.season == 2034)[:, None], (600, 47)),
        "lead": lead_groups(pooled.leads) == 2,
        "minute": np.broadcast_to(np.arange(1, 48) == 30, (600, 47)),
    }[kind]
    of_each = losses(pooled, "frozen", Horizon.FINAL)
    group = found[FINAL][kind][name]
    assert group.cases == which.sum()
    for metric in ("mae", "crps", "brier", "winkler_80", "coverage_50"):
        assert group.values["frozen"][metric].value == pytest.approx(of_each[metric][which].mean())


def test_the_calibration_error_is_that_of_all_probabilities_together(
    found: MetricsByForecaster, folds: list[FoldScores]
) -> None:
    pooled = pool(folds)
    probability = pooled.forecasts["logistic"].probability[:, cases_of(Horizon.FINAL)]
    happened = np.broadcast_to((pooled.outcomes[:, 1] > 0)[:, None], probability.shape)
    bins, gaps = probability_bin(probability), probability - happened
    expected = sum(abs(gaps[bins == number].sum()) for number in range(ECE_BINS)) / gaps.size
    assert found[FINAL]["all"]["all"].values["logistic"]["ece"].value == pytest.approx(expected)


def test_differences_are_paired_and_relative_to_the_reference(found: MetricsByForecaster) -> None:
    group = found[FINAL]["all"]["all"]
    mine, theirs = group.values["served"]["crps"], group.values["persistence"]["crps"]
    difference = group.differences["served"]["persistence"]["crps"]
    assert difference.value == pytest.approx(mine.value - theirs.value)
    assert difference.upper < 0
    assert difference.upper - difference.lower < mine.upper - mine.lower
    ratio = group.relative["served"]["persistence"]["crps"]
    assert ratio.value == pytest.approx(mine.value / theirs.value - 1)
    assert "persistence" not in group.differences["persistence"]
    assert set(group.differences["served"]["logistic"]) == {"brier", "log_loss"}


def test_the_game_is_the_unit_of_chance(found: MetricsByForecaster) -> None:
    """Minutes of a game are dependent: a metric over all of them is hardly more precise than over one."""
    overall, first = (
        found[FINAL][kind][name].values["persistence"]["mae"] for kind, name in (("all", "all"), ("minute", "1"))
    )
    assert overall.upper - overall.lower > (first.upper - first.lower) / 3


def test_equal_seeds_give_equal_figures(folds: list[FoldScores], found: MetricsByForecaster) -> None:
    assert compute_metrics(folds, seed=RUN.seed, resamples=50) == found


def replace_games(fold: FoldScores, rows: slice) -> FoldScores:
    """Select some games of a fold."""
    per_game = ("game_id", "season", "date", "phase", "home", "away", "leads", "outcomes", "margins", "frozen_margins")
    fields = ("probability", "point", "lower", "upper", "crps", "pit")
    forecasts = {}
    for name, each in fold.forecasts.items():
        kept: dict[str, Any] = {field: getattr(each, field) for field in fields if getattr(each, field) is not None}
        forecasts[name] = Forecasts(**{field: it[rows] for field, it in kept.items()})
    return replace(fold, **{name: getattr(fold, name)[rows] for name in per_game}, forecasts=forecasts)


def test_intervals_that_a_calibration_is_too_small_for_have_no_figures(folds: list[FoldScores]) -> None:
    fold = replace_games(folds[0], slice(0, 50))
    lower = fold.forecasts["served"].lower
    assert lower is not None
    lower = lower.copy()
    lower[:, :, 0] = np.nan
    without = replace(fold, forecasts=fold.forecasts | {"served": replace(fold.forecasts["served"], lower=lower)})
    values = compute_metrics([without], resamples=20)[FINAL]["all"]["all"].values
    assert f"coverage_{LEVELS[0]}" not in values["served"]
    assert f"coverage_{LEVELS[1]}" in values["served"]
    assert f"coverage_{LEVELS[0]}" in values["linear"]


@given(regular=st.integers(1, 60), playoffs=st.integers(0, 12))
def test_phases_are_thirds_of_the_regular_season_and_the_playoffs(
    folds: list[FoldScores], regular: int, playoffs: int
) -> None:
    fold = _calendar(folds[0], regular, playoffs)
    found = phases(fold)
    assert (found[fold.phase != "RS"] == len(PHASES) - 1).all()
    of_regular = found[fold.phase == "RS"]
    assert (np.diff(of_regular) >= 0).all()  # the games are in order of date
    counts = np.bincount(of_regular, minlength=4)[:3]
    assert counts.max() - counts.min() <= 1


def _calendar(fold: FoldScores, regular: int, playoffs: int) -> FoldScores:
    fold = replace_games(fold, slice(0, regular + playoffs))
    return replace(
        fold,
        phase=np.array(["RS"] * regular + ["PI", "PO"] * playoffs)[: regular + playoffs],
        date=np.arange(regular + playoffs).astype("datetime64[D]"),
    )


def test_no_fold_has_no_figures() -> None:
    with pytest.raises(ValueError, match="no fold"):
        compute_metrics([])
