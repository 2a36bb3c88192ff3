"""Metrics of totals: means over the forecasts of a group, and the checks and tables that are made from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_trainer.evaluation.acceptance import total_checks
from dejavu_trainer.evaluation.metrics import LEVELS, MetricsByForecaster, losses
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.evaluation.scoring.totals import RIVALS, SERVED, TotalForecasts, TotalScores
from dejavu_trainer.evaluation.total_metrics import compute_total_metrics, main_minute

GAMES = 3000


def made_scores(rival: float = 1.3) -> TotalScores:
    """Scores of forecasts that know a standard deviation of 15 points; those of rivals are larger by a factor."""
    rng = np.random.default_rng(0)
    shape = (GAMES, len(CASES))
    errors = rng.normal(0, 15, (GAMES, 2))[:, [index for index, _ in CASES]]
    point = np.full(shape, 220.0, dtype=np.float32)
    crps = (np.abs(errors) - 15 / np.sqrt(np.pi) + 0.1 * rng.normal(size=shape) + 4).astype(np.float32)
    reach = np.array([15 * z for z in (1.96, 1.2816, 0.6745)])
    held = np.abs(errors)[:, :, None] <= reach
    served = TotalForecasts(
        point, crps, (point[:, :, None] - reach).astype(np.float32), (point[:, :, None] + reach).astype(np.float32),
        np.full(shape, 0.5, dtype=np.float32), held,
    )  # fmt: skip
    other = TotalForecasts(point, (rival * crps).astype(np.float32))
    outcomes = np.round(220 + errors[:, [0, -1]]).astype(np.int16)
    season = np.repeat(np.array([2022, 2023], dtype=np.int16), GAMES // 2)
    behind = np.full(GAMES, 5000, dtype=np.int32)
    return TotalScores(season, behind, outcomes, {**dict.fromkeys(SERVED, served), **dict.fromkeys(RIVALS, other)})


SCORES = made_scores()


@pytest.fixture(scope="module")
def figures() -> MetricsByForecaster:
    return compute_total_metrics(SCORES, resamples=200)


def test_a_metric_is_the_mean_over_the_forecasts_of_its_group(figures: MetricsByForecaster) -> None:
    for horizon in HORIZONS:
        by_kind = figures[horizon.value]
        assert by_kind["all"]["all"].cases == GAMES * horizon.last_slot
        for metric, values in losses(SCORES, "totals", horizon).items():
            found = by_kind["all"]["all"].values["totals"][metric]
            assert found.value == pytest.approx(values.mean())
            assert found.lower <= found.value <= found.upper
            season = by_kind["season"]["2023"]
            assert season.games == GAMES // 2
            assert season.values["totals"][metric].value == pytest.approx(values[SCORES.season == 2023].mean())
            minute = by_kind["minute"][f"{main_minute(horizon)}"]
            assert minute.values["totals"][metric].value == pytest.approx(values[:, main_minute(horizon) - 1].mean())
    assert set(figures[Horizon.FINAL.value]["late"]) == {"42–47"}
    assert "late" not in figures[Horizon.HALFTIME.value]


def test_differences_are_to_the_rivals_and_paired(figures: MetricsByForecaster) -> None:
    group = figures[Horizon.FINAL.value]["all"]["all"]
    for rival in RIVALS:
        assert group.relative["totals"][rival]["crps"].value == pytest.approx(1 / 1.3 - 1, abs=1e-6)
        # The same games in every resample: a factor is the same in all of them.
        assert np.ptp(group.relative["totals"][rival]["crps"]) == pytest.approx(0, abs=1e-5)
        assert rival not in group.relative[rival]
    assert group.relative["pace"]["season_mean"]["crps"].value == 0
    assert "coverage_95" not in group.values["pace"]


def test_the_aims_are_a_lower_crps_than_both_rivals_and_nominal_coverage(figures: MetricsByForecaster) -> None:
    checks = total_checks(figures, SCORES)
    assert [check.passed for check in checks] == [True] * (len(RIVALS) + len(LEVELS))
    assert "2022: 9" in checks[len(RIVALS)].found
    no_better = compute_total_metrics(made_scores(rival=1.0), resamples=50)
    assert [check.passed for check in total_checks(no_better, SCORES)][: len(RIVALS)] == [False] * len(RIVALS)
    narrow = replace(SCORES.forecasts["totals"], held=np.zeros((GAMES, len(CASES), len(ALPHAS)), dtype=np.bool_))
    never = replace(SCORES, forecasts={**SCORES.forecasts, "totals": narrow})
    checks = total_checks(figures, never)
    assert not any(check.passed for check in checks[len(RIVALS) :])
    assert "✗" in checks[-1].found
