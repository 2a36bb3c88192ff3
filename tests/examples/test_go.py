"""Runs the Go example of a forecast, compiled with code that is generated as documented, against a server."""

from __future__ import annotations

import pytest
from tests.support.programs import examples
from tests.support.programs.compiled_examples import go_example


@pytest.mark.nightly
def test_the_go_example_runs_with_code_generated_as_documented(address: str) -> None:
    ran = examples.run(go_example("predict"), address=address)
    assert ran.returncode == 0, ran.stderr
    forecast, *components, reason, violation = ran.stdout.splitlines()
    assert forecast.startswith("LAL @ BOS: ")
    assert ([each.partition(":")[0] for each in components], reason) == (
        ["  linear", "  dejavu", "  lstm"],
        "INVALID_PATTERN",
    )
    assert violation.startswith("  pattern[1]: 1000")
