"""Header blocks that never end: the attack is withstood, and runs against a server as strangers would run it."""

from __future__ import annotations

import pytest
from bench.fuzz.header_blocks import main


@pytest.mark.nightly
@pytest.mark.parametrize("connections", [2, 40])
def test_a_flood_of_header_blocks_stops_no_other_caller(connections: int) -> None:
    shown: list[str] = []
    code = main(["--connections", str(connections), "--seconds", "20"], shown.append)
    assert code == 0, "\n".join(shown)
