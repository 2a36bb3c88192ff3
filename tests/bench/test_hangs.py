"""Workers that hang are replaced in time, workers that a busy machine delays are not, and wrong kills are found."""

from __future__ import annotations

import json

import pytest
from bench.faults.hangs import BUSY, STOPPED, Noticed, Quiet, Report, main
from tests.support.processes.hangs import PARTS


@pytest.mark.nightly
def test_each_hang_is_noticed_and_a_load_of_twenty_is_none() -> None:
    shown: list[str] = []
    assert main(["--rounds", "1", "--seconds", "30", "--json"], show=shown.append) == 0
    report = json.loads(shown[0])
    assert [each["fault"] for each in report["hangs"]] == [STOPPED, *PARTS]
    assert all(each["answered"] for each in report["quiet"])


def test_late_kills_and_wrong_ones_are_found() -> None:
    report = Report([Noticed(STOPPED, 0, 7.9, 8.0)], [Quiet(BUSY, 20.0, 5, 0)])
    assert report.breaches() == []
    report.hangs.append(Noticed("compute", 3.0, 8.1, 9.0))
    report.quiet.append(Quiet(BUSY, 20.0, 5, 1))
    assert report.breaches() == ["compute: 8.1 s", f"{BUSY}: 1 killed"]
