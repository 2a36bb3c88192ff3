"""Benchmarks of the search for similar games: recall of a bundle's indexes, and costs beside another bundle's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.neighbours import costs, recall
from tests.support.builders.bundles import small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbours") / "bundle"
    small_bundle(folder)
    return folder


def test_every_minute_of_a_bundle_is_compared_with_brute_force(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recall.main(["--bundle", str(bundle), "--queries", "60", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["minute"] for row in report["recall"]] == list(range(1, 48))
    assert {row["recall"] for row in report["recall"]} == {1.0}, "a scan, beside brute force"


def test_a_low_recall_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"minute": minute, "entries": 9, "index": "-", "neighbours": 5, "recall": 0.98 + minute / 1000}
            for minute in (9, 10)]  # fmt: skip
    monkeypatch.setattr(recall, "recalls", lambda *_: rows)
    assert recall.main(["--bundle", str(bundle), "--queries", "2"]) == 1
    assert "recall is below 0.99 at minutes [9]" in capsys.readouterr().out


def test_a_forecast_is_measured_with_both_bundles(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs.main(["--bundle", str(bundle), "--against", str(bundle), "--rounds", "2", "--calls", "2", "--json"])
    rows = json.loads(capsys.readouterr().out)["costs"]
    assert {row["case"] for row in rows} == {"search", "forecast"}
    assert all(row["us"] > 0 and row["other_us"] > 0 and row["ratio"] > 0 for row in rows)


def test_a_dearer_forecast_is_told() -> None:
    rows: list[dict[str, Any]] = [
        {"case": "search", "minute": 18, "ratio": 2.0},
        {"case": "forecast", "minute": 18, "ratio": 1.04},
        {"case": "forecast", "minute": 24, "ratio": 1.08},
    ]
    assert costs.breaches(rows) == ["a forecast costs 1.06 times the other bundle's, more than 1.05"]
    assert costs.breaches(rows[:2]) == []
