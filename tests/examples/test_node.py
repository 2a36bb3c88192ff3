"""Runs the Node example against a real server and compares its output with the Python client's responses."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.restartable_server import Restartable
from tests.support.programs import examples
from tests.support.programs.examples import NODE_PROGRAMS

from dejavu_client import HALFTIME, DejavuClient, Forecast

LEVELS = [0.1, 0.5, 0.9]
DAY = "2024-11-01"
"""The levels and the day that the program requests."""
MADE = {"generatedTime", "expiresTime"}
"""Fields that differ between two what-ifs."""


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
    messages = (
        "lastScore",
        "possession",
        "expectedMarginTerms",
        "total",
        "homeKnown",
        "awayKnown",
        "marginTime",
        "moment",
    )
    fields = dict.fromkeys(messages) | fields
    for game in fields["explanation"]["similarGames"] if fields.get("explanation") else ():
        points = ("homePoints", "awayPoints", "finalHomePoints", "finalAwayPoints")
        game |= {f"_{name}": name for name in points if name in game}
    if forecast.HasField("expected_margin"):
        fields["_expectedMargin"] = "expectedMargin"
    for name in MADE:
        moment = getattr(forecast, "generated_time" if name == "generatedTime" else "expires_time")
        fields[name] = {"seconds": str(moment.seconds), "nanos": moment.nanos}
    return fields


def differences() -> list[str]:
    return [f"{differential:g}" for differential in PATTERN]


def test_predict_has_the_python_client_s_answer(node: str, address: str) -> None:
    answer = answers(node, "predict", address, "--home", "BKN", "--away", "NYK", *differences())
    with DejavuClient(address, timeout=20.0) as client:
        forecast = client.predict(
            PATTERN, home_team="BKN", away_team="NYK", game_date=DAY, explain=True, quantile_levels=LEVELS
        )
    expected = as_decoded_by_node(forecast)
    assert {name: value for name, value in answer.items() if name not in MADE} == {
        name: value for name, value in expected.items() if name not in MADE
    }
    assert answer["sequence"] == "0"
    assert answer["horizon"] == "HORIZON_HALFTIME"


def test_a_recorded_forecast_is_the_same_in_both_languages_to_the_nanosecond(node: str, address: str) -> None:
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


class NodeStream:
    """The stream program; tests can wait for its lines on stderr."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines = list[str]()
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self._lines.append(line)
                self._more.notify_all()

    def wait_for_lines(self, text: str, times: int) -> None:
        """Wait until at least `times` lines start with `text`."""
        with self._more:
            seen = self._more.wait_for(lambda: sum(line.startswith(text) for line in self._lines) >= times, 60)
        assert seen, self._lines

    def forecasts(self) -> list[dict[str, Any]]:
        """Return the printed forecasts, after the end of the program."""
        assert self.process.stdout is not None
        return [json.loads(line) for line in self.process.stdout]

    def token(self) -> str:
        """Return the resume token that the program prints at its end."""
        self._reader.join(30)
        return self._lines[-1].removeprefix("resume token: ").strip()


@contextmanager
def node_stream(node: str, address: str, *args: str) -> Iterator[NodeStream]:
    with examples.started(node, NODE_PROGRAMS / "stream.js", "--json", *args, address=address, seconds=120) as process:
        yield NodeStream(process)


def record(address: str, first: int, last: int) -> list[dict[str, Any]]:
    """Record a forecast for each game; return them as proto-loader decodes them from a stream."""
    with DejavuClient(address, timeout=20.0) as client:
        games = [current_game(number) for number in range(first, last + 1)]
        forecasts = [client.predict(PATTERN, horizon=HALFTIME, game_id=game, explain=True) for game in games]
        return [as_decoded_by_node(forecast) for forecast in forecasts]


@pytest.mark.nightly
def test_a_stream_resumes_after_a_drain_and_a_kill_with_every_forecast_once_and_in_order(
    node: str, restartable: Restartable
) -> None:
    with node_stream(node, restartable.address, "--count", "20") as stream:
        stream.wait_for_lines("listening", 1)
        expected = record(restartable.address, 1, 5)

        assert restartable.server.stop() == 0
        stream.wait_for_lines("lost the stream", 1)
        restartable.start_again()
        expected += record(restartable.address, 6, 10)
        stream.wait_for_lines("listening", 2)
        expected += record(restartable.address, 11, 12)

        restartable.server.stop(signal.SIGKILL)
        restartable.start_again()
        expected += record(restartable.address, 13, 20)

        assert stream.forecasts() == expected
        token = stream.token()

    missed = record(restartable.address, 21, 23)
    with node_stream(node, restartable.address, "--token", token, "--count", "3") as stream:
        assert stream.forecasts() == missed


@pytest.mark.nightly
def test_a_stream_of_one_game_ends_without_an_error_when_asked_to(node: str, address: str) -> None:
    with node_stream(node, address, "--game", current_game(77)) as stream:
        stream.wait_for_lines("listening", 1)
        record(address, 1, 2)
        stream.process.send_signal(signal.SIGTERM)
        assert stream.forecasts() == []
        assert stream.process.wait(30) == 0
        assert stream.token()


@pytest.mark.nightly
def test_a_token_of_another_ledger_ends_the_stream_with_its_reason(node: str, address: str) -> None:
    refused = run(node, "stream", address, "--token", "not-a-token")
    assert refused.returncode == 1
    assert refused.stderr.startswith("INVALID_ARGUMENT: INVALID_RESUME_TOKEN: ")
