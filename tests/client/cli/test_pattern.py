"""A pattern as it is typed, before any server is asked."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from dejavu_client.cli.main import app


@pytest.mark.parametrize(
    ("minutes", "horizon", "expected"),
    [
        (30, "half", "30 minutes; a forecast of the half takes 1 to 23; the end of the game: --horizon final"),
        (48, "half", "48 minutes; a forecast of the half takes 1 to 23"),
        (48, "final", "48 minutes; a forecast of the end takes 1 to 47"),
    ],
)
def test_more_minutes_than_a_horizon_has_are_told_in_minutes(minutes: int, horizon: str, expected: str) -> None:
    result = CliRunner().invoke(app, ["predict", *["0"] * minutes, "--horizon", horizon])
    assert result.exit_code == 2
    assert " ".join(result.stderr.split()).endswith(expected)
