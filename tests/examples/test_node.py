"""Runs the Node example against a real server and compares its output with the Python client's responses."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from tests.support.builders.calls import PATTERN, current_game
from tests.support.programs import examples
from tests.support.programs.examples import NODE_PROGRAMS

from dejavu_client import HALFTIME, DejavuClient, Forecast

LEVELS = [0.1, 0.5, 0.9]
"""The levels that the program requests."""


def run(node: str, program: str, address: str, *args: str) -> subprocess.CompletedProcess[str]:
    return examples.run(node, NODE_PROGRAMS / f"{program}.js", *args, address=address)


def answers(node: str, program: str, address: str, *args: str) -> Any:
    done = run(node, program, address, "--json", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def as_decoded_by_node(forecast: Forecast) -> dict[str, Any]:
    """Return a forecast as proto-loader decodes it: 64-bit numbers as text, Timestamps as seconds and nanos.

    Each optional field that is present adds a field with an underscore.
    """
    fields = MessageToDict(forecast, always_print_fields_with_no_presence=True)
    messages = "lastScore possession expectedMarginTerms total homeKnown awayKnown marginTime moment"
    fields = dict.fromkeys(messages.split()) | fields
    for game in fields["explanation"]["similarGames"] if fields.get("explanation") else ():
        points = ("homePoints", "awayPoints", "finalHomePoints", "finalAwayPoints")
        game |= {f"_{name}": name for name in points if name in game}
    if forecast.HasField("expected_margin"):
        fields["_expectedMargin"] = "expectedMargin"
    for name, moment in (("generatedTime", forecast.generated_time), ("expiresTime", forecast.expires_time)):
        fields[name] = {"seconds": str(moment.seconds), "nanos": moment.nanos}
    return fields


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
    assert answer == as_decoded_by_node(recorded)
    assert int(answer["sequence"]) > 0


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


def record(address: str, *numbers: int) -> list[dict[str, Any]]:
    """Record a forecast for each game; return them as proto-loader decodes them from a stream."""
    with DejavuClient(address, timeout=20.0) as client:
        games = [current_game(number) for number in numbers]
        forecasts = [client.predict(PATTERN, horizon=HALFTIME, game_id=game, explain=True) for game in games]
        return [as_decoded_by_node(forecast) for forecast in forecasts]


@pytest.mark.nightly  # test_stream_rules.py and test_stream_proxies.py have failures
def test_a_stream_of_one_game_ends_when_asked_to_with_the_token_from_which_another_goes_on(
    node: str, address: str
) -> None:
    stream = (node, NODE_PROGRAMS / "stream.js", "--json")
    with examples.started(*stream, "--game", current_game(77), address=address, seconds=120) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("listening"):
            assert process.poll() is None
        record(address, 2, 3)
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, "")
    missed = record(address, 4, 5)
    games = (word for number in (4, 5) for word in ("--game", current_game(number)))
    token = log.splitlines()[-1].removeprefix("resume token: ").strip()
    done = examples.run(*stream, *games, "--token", token, "--count", "2", address=address)
    assert [json.loads(line) for line in done.stdout.splitlines()] == missed


@pytest.mark.nightly
def test_a_token_of_another_ledger_ends_the_stream_with_its_reason(node: str, address: str) -> None:
    refused = run(node, "stream", address, "--token", "not-a-token")
    assert refused.returncode == 1
    assert refused.stderr.startswith("INVALID_ARGUMENT: INVALID_RESUME_TOKEN: ")
