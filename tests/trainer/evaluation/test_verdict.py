from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.support.builders.folds import result_of_two_folds, two_folds, walk_fold

from dejavu_models.manifest import MAX_TEXT
from dejavu_models.metrics import Estimate
from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.coverage import (
    ALL_LEADS,
    MIN_GAMES,
    CoverageCheck,
    conformal_region,
    coverage,
    coverage_groups,
    coverages,
    group_powers,
)
from dejavu_trainer.evaluation.metrics import LEADS
from dejavu_trainer.evaluation.scoring.fold_scores import SERVED, FoldScores
from dejavu_trainer.evaluation.verdict import coverage_check, groups_check, judge


@pytest.fixture(scope="module")
def good() -> list[FoldScores]:
    return two_folds()


def test_models_that_know_more_than_the_lead_and_say_how_much_are_fit(good: list[FoldScores]) -> None:
    verdict = judge(good, resamples=100)
    assert verdict.fit, verdict.reason
    assert all(check.passed for check in verdict.checks)
    assert verdict.reason.startswith("On 600 games of 2033, 2034: CRPS below persistence for both")


@pytest.mark.parametrize(
    ("scale", "broken"),
    [
        (0.8, {"coverage by minute, and by minute and |lead|", "coverage at 50 %, served, final"}),
        (1.3, {"coverage at 80 %, no teams, halftime"}),
    ],
)
def test_too_narrow_and_too_wide_intervals_are_unfit(scale: float, broken: set[str]) -> None:
    verdict = judge([walk_fold(2033, scale=scale)], resamples=50)
    assert not verdict.fit
    assert "coverage at" in verdict.reason
    assert broken <= {check.name for check in verdict.checks if not check.passed}


@pytest.mark.nightly  # by day, those that do not differ from it are
def test_models_that_are_worse_than_persistence_are_unfit() -> None:
    """Their coverage is nominal, since they are calibrated, but that is not sufficient."""
    verdict = judge([walk_fold(2033, games=120, contrary=True)], resamples=100)
    assert not verdict.fit
    assert "CRPS, served, final, minus persistence: +" in verdict.reason
    rates = [check for check in verdict.checks if check.name.startswith("coverage at")]
    assert all(check.passed for check in rates)


def test_what_is_worse_than_linear_is_unfit_though_better_than_persistence(good: list[FoldScores]) -> None:
    """So challengers that are each a little worse than the one before do not add up to less than a linear model."""

    def between(fold: FoldScores) -> FoldScores:
        linear, persistence = (fold.forecasts[name] for name in ("linear", "persistence"))
        assert linear.crps is not None
        assert persistence.crps is not None
        crps = 0.8 * linear.crps + 0.2 * persistence.crps
        return replace(fold, forecasts=fold.forecasts | {"served": replace(fold.forecasts["served"], crps=crps)})

    failed = [check for check in judge([between(fold) for fold in good], resamples=100).checks if not check.passed]
    assert {check.name for check in failed} == {f"CRPS, served, {each.value}, minus linear" for each in HORIZONS}


def test_what_does_not_differ_from_persistence_is_unfit(good: list[FoldScores]) -> None:
    same = [replace(fold, forecasts=fold.forecasts | {"served": fold.forecasts["persistence"]}) for fold in good]
    broken = {check.name for check in judge(same, resamples=100).checks if not check.passed}
    assert {f"CRPS, served, {horizon.value}, minus persistence" for horizon in HORIZONS} <= broken


def test_every_promise_names_the_level_of_its_interval(good: list[FoldScores]) -> None:
    verdict = judge(good, resamples=50)
    acceptance = result_of_two_folds()[0].promises
    promises = [check.promise for check in (*verdict.checks, *acceptance) if "interval" in check.promise]
    assert [each for each in promises if not re.search(r"\d %\D* interval|\d % interval", each)] == []
    levels = {
        name: re.search(r"(\S+ %) interval contains", check.promise)
        for name, checks in (("verdict", verdict.checks), ("acceptance", acceptance))
        for check in checks
        if check.name.startswith("coverage at 95 %")
    }
    assert {name: found and found[1] for name, found in levels.items()} == {"verdict": "99.94 %", "acceptance": "99 %"}


def test_seasons_that_err_oppositely_are_unfit_though_right_on_average(good: list[FoldScores]) -> None:
    opposite = [walk_fold(2033, scale=0.8), walk_fold(2034, seed=8, scale=1.25)]
    verdict = judge(opposite, resamples=100)
    by_name = {check.name: check for check in verdict.checks}
    assert by_name["coverage at 80 %, served, final"].passed
    assert not by_name["coverage by season"].passed
    assert "times the" in by_name["coverage by season"].found
    assert not verdict.fit
    fair = judge(good, resamples=100).checks[-1]
    assert (fair.name, fair.passed) == ("coverage by season", True)
    assert "coverage by season" not in {check.name for check in judge(opposite[:1], resamples=50).checks}


def test_a_coverage_is_shown_within_what_a_share_can_be() -> None:
    found = CoverageCheck("served", "final", 95, Estimate(0.99, 0.965, 1.015), due=0.951, agrees=False)
    check = coverage_check("coverage", found)
    assert (check.found, check.passed) == ("99.00 [96.50, 100.00] %", False)


def spoilt(fold: FoldScores) -> FoldScores:
    """Return a fold whose 50 % intervals of the end have no lower half for leads of 16 or more at minute 40."""
    served, stage = fold.forecasts["served"], CASES.index((1, 40))
    assert served.point is not None
    assert served.lower is not None
    lower = served.lower.copy()
    far = lead_groups(fold.leads[:, 39]) == 3
    assert far.sum() > MIN_GAMES / 2
    lower[far, stage, 2] = served.point[far, stage]
    assert served.held is not None
    held = served.held.copy()
    held[far, stage, 2] &= fold.outcomes[far, 1] >= lower[far, stage, 2]
    return replace(fold, forecasts=fold.forecasts | {"served": replace(served, lower=lower, held=held)})


def test_a_manifest_has_room_for_the_reason() -> None:
    opposite = [walk_fold(2033, scale=0.85), walk_fold(2034, seed=8, scale=1.2)]
    verdict = judge([spoilt(fold) for fold in opposite], resamples=100)
    failed = [check.name for check in verdict.checks if not check.passed]
    assert failed == ["coverage by minute, and by minute and |lead|", "coverage by season"]
    assert len(verdict.reason) <= MAX_TEXT
    assert verdict.reason.endswith("; and 1 more.")


def test_one_group_that_does_not_hold_is_enough_to_be_unfit(good: list[FoldScores]) -> None:
    """Only the 50 % intervals for leads of 16 or more at minute 40 are too narrow; no overall coverage shows it."""
    verdict = judge([spoilt(fold) for fold in good], resamples=100)
    failed = [check.name for check in verdict.checks if not check.passed]
    assert failed == ["coverage by minute, and by minute and |lead|"]
    assert "minute 40, lead 16+" in verdict.reason


def test_groups_are_counted_as_they_are(good: list[FoldScores]) -> None:
    groups = coverage_groups(good)
    assert {group.forecaster for group in groups} == set(SERVED)
    assert min(group.games for group in groups) >= MIN_GAMES
    corrected = 1 - 0.01 / len(groups)
    for group in groups[:: len(groups) // 25]:
        place = next(index for index, horizon in enumerate(HORIZONS) if horizon.value == group.horizon)
        stage = CASES.index((place, group.minute))
        games, held, cells = [], 0, []
        for fold in good:
            forecasts = fold.forecasts[group.forecaster]
            assert forecasts.held is not None
            of_lead = lead_groups(fold.leads[:, group.minute - 1])
            lead = None if group.lead == ALL_LEADS else LEADS.index(group.lead)
            which = (of_lead == lead) | (lead is None)
            column = (95, 80, 50).index(group.level)
            games.append(int(which.sum()))
            cells.append(fold.calibration_games if lead is None else int(fold.cell_games[stage, lead]))
            held += int(forecasts.held[which, stage, column].sum())
        assert (group.games, group.held) == (sum(games), held)
        alpha = {95: 0.05, 80: 0.2, 50: 0.5}[group.level]
        assert (group.first, group.last) == conformal_region(games, cells, alpha, corrected)
        assert group.agrees == (group.first <= held <= group.last)


def test_a_coverage_counts_the_chance_of_test_and_calibration(good: list[FoldScores]) -> None:
    at_18 = coverage(good[:1], "served", Horizon.HALFTIME, [18], 80)
    assert at_18 is not None
    rate, half = at_18.found.value, (at_18.found.upper - at_18.found.lower) / 2
    assert half == pytest.approx(2.5758 * (rate * (1 - rate) * (1 / 300 + 1 / 300)) ** 0.5, rel=1e-3)


def test_minutes_of_one_game_are_no_new_games(good: list[FoldScores]) -> None:
    one, all_minutes = (coverage(good, "served", Horizon.FINAL, minutes, 80) for minutes in ([24], list(range(1, 48))))
    assert one is not None
    assert all_minutes is not None
    width = [each.found.upper - each.found.lower for each in (one, all_minutes)]
    assert width[1] < width[0]
    assert width[1] > 3 * width[0] / 47**0.5


def test_what_is_due_is_what_the_number_of_calibration_games_allows(good: list[FoldScores]) -> None:
    """With 100 games and alpha 0.05, the 2nd smallest and largest ranks cover 97/101; more games approach 0.95."""
    for each in coverages(good):
        assert each.level / 100 <= each.due <= each.level / 100 + 2 / 101
    of_100 = [replace(fold, calibration_games=100) for fold in good]
    found = coverage(of_100, "served", Horizon.FINAL, [24], 95)
    assert found is not None
    assert found.due == pytest.approx(97 / 101)


def test_what_a_test_of_groups_can_not_exclude_is_told_beside_it(good: list[FoldScores]) -> None:
    groups = coverage_groups(good)
    powers = group_powers(groups)
    assert {power.level for power in powers} == {95, 80, 50}
    for power in powers:
        nominal = power.level / 100
        assert power.passes_from < nominal < power.passes_to <= 1
        assert power.excluded_below is not None
        assert power.excluded_below < power.passes_from
        assert power.excluded_above is None or power.passes_to < power.excluded_above
    of_80 = [power for power in powers if power.level == 80]
    assert [power.games for power in of_80] == sorted({power.games for power in of_80})
    assert of_80[0].passes_from < of_80[-1].passes_from
    smallest = powers[0]
    assert f"at nominal 95 %, a group of {smallest.games} games passes if" in groups_check(groups).found
