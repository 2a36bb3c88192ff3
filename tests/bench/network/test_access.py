"""Benchmark of access control: every case is measured, and no call fails."""

from __future__ import annotations

import pytest

from bench.network import access


@pytest.mark.nightly
def test_each_case_is_measured_and_none_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert access.main(["--rounds", "1", "--calls", "20", "--callers", "4"]) == 0
    printed = capsys.readouterr().out
    for case in (access.PLAIN, access.TLS, access.TOKEN, access.JWT):
        assert f"\n{case:14}" in printed
    assert "calls that failed: 0" in printed
