from __future__ import annotations

import json

import pytest

from bench import latency

FIGURES = {"callers", "kind", "p50_ms", "p99_ms", "calls_a_second", "cpu_us", "failed"}


@pytest.mark.nightly
def test_each_kind_of_call_is_measured_in_each_round_and_none_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert latency.main(["--rounds", "1", "--calls", "5", "--callers", "1", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["failed"] == 0
    assert set(report["pss_mib"]) == {"worker", "server", "echo"}
    assert report["pss_mib"]["server"] > report["pss_mib"]["worker"] > report["pss_mib"]["echo"]
    assert len(report["rounds"]) == 1
    for samples in report["rounds"]:
        assert all(set(sample) == FIGURES for sample in samples)
        assert sorted((sample["callers"], sample["kind"]) for sample in samples) == sorted(
            (callers, kind) for callers in (1, 4) for kind in latency.KINDS
        )


def sample(kind: str, cpu_us: float) -> latency.Sample:
    return latency.Sample(callers=16, kind=kind, p50_ms=1.0, p99_ms=2.0, calls_a_second=500.0, cpu_us=cpu_us, failed=0)


def test_what_a_what_if_takes_is_held_against_the_echo_of_the_same_round() -> None:
    rounds = [
        [sample(latency.ECHO, echo), sample(latency.WHAT_IF, what_if)]
        for echo, what_if in ((100, 190), (200, 420), (100, 260), (0, 1000))
    ]
    assert latency.ratios(rounds, 16, latency.WHAT_IF, "cpu_us") == [1.9, 2.1, 2.6]
    assert latency.cell(rounds, 16, latency.WHAT_IF, "cpu_us") == "340 × 2.10 [1.90, 2.60]"
    of = (rounds, 16, latency.WHAT_IF)
    assert latency.too_much(*of, 2.0)
    assert not latency.too_much(*of, 2.1)
    assert not latency.too_much(*of, None)
    assert latency.too_much(rounds[3:], *of[1:], 2.0), "nothing was measured, so nothing is known to hold"


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_what_a_what_if_in_company_takes_is_bounded_plain_and_with_every_extra(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The bounds tolerate a busy machine, which has changed the median ratio by half; the targets are 1.25 and 3."""
    arguments = ["--callers", "16", "--minutes", "6", "14", "22", "30", "38", "46"]
    code = latency.main([*arguments, "--most-cpu", "2", "--most-extra", "4.9"])
    assert code == 0, capsys.readouterr().out
