from __future__ import annotations

import json

import pytest

from bench import latency

FIGURES = {"callers", "kind", "p50_ms", "p99_ms", "calls_a_second", "cpu_us", "failed"}
SMALL = ("--rounds", "2", "--calls", "20", "--callers", "1", "4")


def test_each_kind_of_call_is_measured_in_each_round_and_none_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert latency.main([*SMALL, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["failed"] == 0
    assert set(report["pss_mib"]) == {"worker", "server", "echo"}
    assert report["pss_mib"]["server"] > report["pss_mib"]["worker"] > report["pss_mib"]["echo"]
    assert len(report["rounds"]) == 2
    for samples in report["rounds"]:
        assert all(set(sample) == FIGURES for sample in samples)
        assert sorted((sample["callers"], sample["kind"]) for sample in samples) == sorted(
            (callers, kind) for callers in (1, 4) for kind in latency.KINDS
        )


def test_it_prints_a_table_for_each_number_of_callers_and_fails_past_its_bound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert latency.main([*SMALL, "--most-cpu", "0"]) == 1
    lines = capsys.readouterr().out.splitlines()
    for heading in ("1 caller", "4 callers"):
        [place] = [number for number, line in enumerate(lines) if line.startswith(f"{heading} ")]
        assert [line[:16].strip() for line in lines[place + 1 : place + 5]] == list(latency.KINDS)
    assert lines[-1] == "calls that failed: 0"


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_what_if_in_company_takes_at_most_three_times_an_echo_s_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    code = latency.main(["--callers", "16", "--most-cpu", "3"])
    assert code == 0, capsys.readouterr().out
