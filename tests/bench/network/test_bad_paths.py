"""The attack with bad paths costs Dejavu no call; a stock grpc.aio server is the comparison."""

from __future__ import annotations

import pytest

from bench.network import bad_paths


@pytest.mark.nightly
def test_the_attack_costs_dejavu_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert bad_paths.main(["--seconds", "1.5", "--phases", "1", "--connections", "20", "--calls", "10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in lines[1:]] == ["dejavu-server", "stock grpc.aio"]
    assert "1.000 ×; processes that died: 0" in lines[1]
