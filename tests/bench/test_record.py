"""Benchmark of reading the track record: measures all calls, and reports breaches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.record import Measured, breaches, main

from bench import record, record_ledger


@pytest.fixture(autouse=True)
def short_evenings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_ledger, "GAMES_AN_EVENING", 2)


@pytest.mark.nightly
def test_every_call_is_made_on_both_ledgers_and_tells_what_it_is_to_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--small", "1", "--large", "400", "--folder", str(tmp_path), "--rounds", "1", "--corrected", "20", "--json"])
    told = json.loads(capsys.readouterr().out)
    rows: list[dict[str, Any]] = told["rows"]
    lists = {f"ListPredictions, {name}{later}" for name in record.LISTS for later in ("", ", later")}
    predictions = {f"GetPrediction, {name}" for name in record.PREDICTIONS}
    assert {row["name"] for row in rows if row["bounded"]} == lists | predictions
    for row in rows:
        assert len(row["small_ms"]) == len(row["large_ms"]) == 1
        assert min(row["small_ms"] + row["large_ms"]) > 0.0
        if "nothing" in row["name"]:
            assert row["told"] == 0
        elif "later" not in row["name"] and "team" not in row["name"]:  # too few games to match these
            assert row["told"] > 0, row["name"]

    corrections = told["corrections"]
    assert len(corrections["alone_ms"]) == len(corrections["during_ms"]) == 30
    assert corrections["corrections"] > 0


def test_a_call_that_takes_more_than_three_times_as_long_is_a_breach() -> None:
    fine = Measured("fine", True, [1.0, 9.0, 1.0], [3.0, 2.0, 30.0])
    slow = Measured("slow", True, [1.0, 1.0, 1.0], [3.1, 3.2, 1.0])
    free = Measured("free", False, [1.0], [99.0])
    assert breaches([fine, slow, free]) == ["slow: 3.10 times as long, more than 3"]
