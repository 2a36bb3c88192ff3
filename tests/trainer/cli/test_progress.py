from __future__ import annotations

import pytest

from dejavu_trainer.cli.app import ProgressBars


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, ["Walk: 1 of 2", "Walk: 2 of 2", "Walk: done"]), (60.0, [])])
def test_a_log_has_a_line_about_every_step_and_more_about_those_that_take_long(
    seconds: float, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressBars(seconds) as bars, bars.step("Walk", 2) as advance:
        advance(1)
        advance(1)
    printed = capsys.readouterr()
    assert [line.rpartition(", ")[0] for line in printed.err.splitlines()] == ["Walk: 0 of 2", *lines]
    assert printed.out == ""
