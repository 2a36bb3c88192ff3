"""Benchmarks of the search for similar games: recall of a bundle's indexes, and costs beside another bundle's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.neighbours import costs, recall
from tests.support.builders.bundles import small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbours") / "bundle"
    small_bundle(folder)
    return folder


@pytest.mark.nightly
def test_every_minute_of_a_bundle_is_compared_with_brute_force(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recall.main(["--bundle", str(bundle), "--queries", "60", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["minute"] for row in report["recall"]] == list(range(1, 48))
    assert {row["recall"] for row in report["recall"]} == {1.0}, "a scan, beside brute force"


@pytest.mark.nightly
def test_a_forecast_is_measured_with_both_bundles(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs.main(["--bundle", str(bundle), "--against", str(bundle), "--rounds", "2", "--calls", "2", "--json"])
    rows = json.loads(capsys.readouterr().out)["costs"]
    assert {row["case"] for row in rows} == {"search", "forecast"}
    assert all(row["us"] > 0 and row["other_us"] > 0 and row["ratio"] > 0 for row in rows)
