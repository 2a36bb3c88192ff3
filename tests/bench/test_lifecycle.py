"""Measurements of folds on clusters, shadows, the benefit of the schedule, and random variation between seasons."""

from __future__ import annotations

import pytest
from bench.lifecycle import executions, gate, schedule_terms, shadow
from tests.support.builders.bundles import simulated_seasons


@pytest.mark.nightly
def test_every_forecast_of_a_run_has_its_shadow(capsys: pytest.CaptureFixture[str]) -> None:
    loose = ("--most-p50", "100", "--most-cpu", "100")
    assert shadow.main(["--pairs", "2", "--seconds", "1", "--rate", "50", *loose]) == 0
    assert "2 pairs of blocks" in capsys.readouterr().out


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("options", [[], ["--kill"]])
def test_folds_are_the_same_bytes_wherever_they_run(options: list[str]) -> None:
    assert executions.main(options) == 0


@pytest.mark.nightly
def test_expected_margins_are_compared_with_and_without_the_schedule(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--data", f"{simulated_seasons()}", "--first", "2031", "--test", "2032", "--steps", "1")
    assert schedule_terms.main([*options]) == 0
    _, season, every = capsys.readouterr().out.splitlines()
    assert season.split()[:5] == ["2032", *every.split()[1:5]]
    assert "back_to_back" in season
    assert "altitude" in season


@pytest.mark.parametrize(
    "options", [["--walk", "w"], ["--walk", "w", "--spread", "--scores", "s"], ["--other", "o"], ["--spread"]]
)
def test_a_study_without_one_of_its_folders_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        gate.main(options)
    assert refused.value.code == 2
    assert "need" in capsys.readouterr().err
