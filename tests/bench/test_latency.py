from __future__ import annotations

import json

import pytest

from bench import latency

FIGURES = {"callers", "kind", "p50_ms", "p99_ms", "calls_a_second", "cpu_us", "failed"}


def test_each_kind_of_call_is_measured_in_each_round_and_none_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert latency.main(["--rounds", "2", "--calls", "20", "--callers", "1", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["failed"] == 0
    assert set(report["pss_mib"]) == {"worker", "echo"}
    for samples in report["rounds"]:
        assert all(set(sample) == FIGURES for sample in samples)
        assert sorted((sample["callers"], sample["kind"]) for sample in samples) == sorted(
            (callers, kind) for callers in (1, 4) for kind in latency.KINDS
        )
    assert len(report["rounds"]) == 2
