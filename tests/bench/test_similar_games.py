"""Benchmark of the search for similar games: recall of a bundle's indexes, and costs beside another bundle's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.similar_games import breaches, main
from tests.support.builders.bundles import small_bundle


def test_every_minute_of_a_bundle_is_compared_with_brute_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    small_bundle(bundle)
    options = ("--bundle", str(bundle), "--queries", "60", "--rounds", "2", "--calls", "2", "--json")
    assert main([*options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["minute"] for row in report["recall"]] == list(range(1, 48))
    assert {row["recall"] for row in report["recall"]} == {1.0}, "brute force, beside brute force"
    assert report["costs"] == []
    main([*options, "--against", str(bundle)])
    costs = json.loads(capsys.readouterr().out)["costs"]
    assert {row["case"] for row in costs} == {"search", "forecast"}
    assert all(row["us"] > 0 and row["ratio"] > 0 for row in costs)


def test_a_low_recall_and_a_dearer_forecast_are_told() -> None:
    found = [{"minute": 18, "recall": 0.9899}, {"minute": 19, "recall": 0.99}]
    costs = [
        {"case": "search", "minute": 18, "ratio": 2.0},
        {"case": "forecast", "minute": 18, "ratio": 1.04},
        {"case": "forecast", "minute": 24, "ratio": 1.08},
    ]
    low, dear = breaches(found, costs)
    assert low == "minute 18: recall 0.9899 is less than 0.99"
    assert dear == "a forecast costs 1.06 times the other bundle's, more than 1.05"
    assert breaches(found[1:], costs[:2]) == []
