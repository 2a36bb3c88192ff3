"""Runs the grpcurl examples unchanged against a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.documents import ROOT
from tests.support.processes.restartable_server import Restartable
from tests.support.programs import examples

from dejavu_client import HALFTIME, DejavuClient

FOLDER = ROOT / "examples" / "grpcurl"


def output_of(script: str, address: str) -> str:
    done = examples.run(FOLDER / script, address=address)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def next_event(output: IO[str] | None) -> dict[str, Any]:
    """Return the next message of a stream: grpcurl prints it over several lines, the last of which is a brace."""
    assert output is not None
    text = ""
    while not text.endswith("\n}\n"):
        line = output.readline()
        assert line, f"the stream ended: {text!r}"
        text += line
    event: dict[str, Any] = json.loads(text)
    return event


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("health.sh", {'"SERVING"': 2}),
        ("list.sh", {"dejavu.v1.ModelService": 1, "PredictionService.StreamPredictions": 1, '"smallest_alpha"': 1}),
        ("describe.sh", {"optional double alpha = 3;": 1, "uint64 sequence = 16;": 1}),
        (
            "predict.sh",
            {
                '"coverage_probability": 0.8': 1,
                '"similar_games"': 1,
                '"level"': 3,
                '"expected_margin"': 1,
                "dejavu-worker: ": 1,
                "dejavu-workers: 2": 1,
            },
        ),
    ],
)
def test_a_script_prints_what_it_is_for(address: str, script: str, parts: dict[str, int]) -> None:
    output = output_of(script, address)
    assert [part for part, times in parts.items() if output.count(part) < times] == []


def test_in_a_batch_the_third_is_refused_alone(address: str) -> None:
    half, end, over = json.loads(output_of("batch.sh", address))["results"]
    assert [each["forecast"]["horizon"] for each in (half, end)] == ["HORIZON_HALFTIME", "HORIZON_FINAL"]
    assert over["error"]["reason"] == "INVALID_PATTERN"


def test_a_refusal_fails_with_its_details(address: str) -> None:
    refused = examples.run(FOLDER / "error.sh", address=address)
    assert refused.returncode != 0
    shown = refused.stdout + refused.stderr
    for name in ('"code": 3', "google.rpc.ErrorInfo", "INVALID_PATTERN", "google.rpc.BadRequest", "pattern[1]"):
        assert name in shown


def test_a_stream_resumes_from_its_token(restartable: Restartable) -> None:
    address = restartable.address
    with DejavuClient(address, timeout=20.0) as client:
        first = client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(1))
        with examples.started(FOLDER / "stream.sh", address=address) as stream:
            current, heartbeat = next_event(stream.stdout), next_event(stream.stdout)
        assert int(current["forecast"]["sequence"]) == first.sequence
        assert "heartbeat" in heartbeat
        second = client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(2))
        with examples.started(FOLDER / "stream.sh", current["resume_token"], address=address) as stream:
            events = [next_event(stream.stdout) for _ in range(2)]
        [sequence] = [event["forecast"]["sequence"] for event in events if "forecast" in event]
        assert int(sequence) == second.sequence


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.iterdir()))
def test_every_script_can_be_run_and_is_run_here(script: str) -> None:
    assert (FOLDER / script).stat().st_mode & 0o111
    assert script in Path(__file__).read_text()
