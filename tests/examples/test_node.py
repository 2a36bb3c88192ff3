"""Runs the Node example against a real server and compares its output with the Python client's responses."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.support.builders.calls import PATTERN, current_game
from tests.support.programs import examples
from tests.support.programs.examples import NODE_PROGRAMS

from dejavu_client import HALFTIME, DejavuClient

LEVELS = [0.1, 0.5, 0.9]
"""The levels that the program requests."""


def run(node: str, program: str, address: str, *args: str) -> subprocess.CompletedProcess[str]:
    return examples.run(node, NODE_PROGRAMS / f"{program}.js", *args, address=address)


def answers(node: str, program: str, address: str, *args: str) -> Any:
    done = run(node, program, address, "--json", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def differences() -> list[str]:
    return [f"{differential:g}" for differential in PATTERN]


def test_a_forecast_is_the_python_client_s_to_the_nanosecond(node: str, address: str) -> None:
    answer = answers(node, "predict", address, "--game", current_game(1), "--home", "BKN", *differences())
    with DejavuClient(address, timeout=20.0) as client:
        recorded = client.predict(
            PATTERN,
            horizon=HALFTIME,
            game_id=current_game(1),
            home_team="BKN",
            away_team="LAL",
            explain=True,
            quantile_levels=LEVELS,
        )
    assert (int(answer["sequence"]), answer["pointForecast"]) == (recorded.sequence, recorded.point_forecast)
    assert [each["value"] for each in answer["quantiles"]] == [each.value for each in recorded.quantiles]
    expires = recorded.expires_time
    assert answer["expiresTime"] == {"seconds": str(expires.seconds), "nanos": expires.nanos}


def test_a_refusal_names_reason_and_field_and_a_server_that_is_not_there_its_code(node: str, address: str) -> None:
    refused = run(node, "predict", address, "1", "NaN")
    assert refused.returncode == 1
    code, field = refused.stderr.splitlines()
    assert code.startswith("INVALID_ARGUMENT: INVALID_PATTERN: pattern[1]: ")
    assert field.startswith("  pattern[1]: nan; expected ")
    gone = run(node, "predict", "127.0.0.1:1")
    assert (gone.returncode, gone.stderr.partition(":")[0]) == (1, "UNAVAILABLE")


def test_in_a_batch_of_fifty_the_bad_item_alone_fails(node: str, address: str) -> None:
    results = answers(node, "batch", address)
    assert len(results) == 50
    assert [index for index, result in enumerate(results) if result["result"] != "forecast"] == [49]
    assert results[49]["error"]["reason"] == "INVALID_PATTERN"
    assert [violation["field"] for violation in results[49]["error"]["fieldViolations"]] == ["pattern[0]"]
    points = [result["forecast"]["pointForecast"] for result in results[:49]]
    assert points[0] < -10 < 10 < points[-1]
