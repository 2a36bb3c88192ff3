"""Runs the Python, grpcurl and Go examples unchanged against a real server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.builders.evenings import Evening, game
from tests.support.harness.documents import ROOT
from tests.support.processes.restartable_server import Restartable
from tests.support.programs import examples
from tests.support.programs.examples import go_example

from dejavu_client import HALFTIME, DejavuClient
from dejavu_feed.replay.http_server import LocalServer

FOLDER = ROOT / "examples" / "python"
WARNINGS = (sys.executable, "-W", "error")


def lines(program: str, address: str) -> list[str]:
    done = examples.run(*WARNINGS, FOLDER / f"{program}.py", address=address)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_predict_shows_a_forecast_its_grounds_and_a_refusal(address: str) -> None:
    forecast, interval, lead, quantiles, similar, *grounds, win, refusal, violation = lines("predict", address)
    assert forecast.startswith("LAL @ BOS: +")
    assert interval.startswith("80% within [")
    assert lead.startswith("the home team leads: ")
    assert quantiles.startswith("quantiles: 10% ")
    assert re.match(r"of \d+ similar games", similar)
    assert len(grounds) == 3
    assert win.startswith("the home team wins: ")
    assert refusal.startswith("INVALID_PATTERN, call ")
    assert violation.startswith("  pattern[2]: nan; expected ")


def test_batch_has_forty_nine_answers_and_one_refusal(address: str) -> None:
    *answers, refusal = lines("batch", address)
    assert len(answers) == 49
    assert [int(line.partition(":")[0]) for line in answers] == list(range(-24, 25))
    assert refusal.startswith("request 49 was refused: INVALID_PATTERN: pattern[0]: ")


def record(address: str, *games: str) -> list[str]:
    """Record forecasts; return the lines that the stream example prints for them."""
    with DejavuClient(address, timeout=20.0) as client:
        forecasts = [client.predict(PATTERN, horizon=HALFTIME, game_id=game) for game in games]
    return [
        f"{forecast.sequence} {forecast.game_id}, minute 18: {forecast.point_forecast:+.1f} at the half\n"
        for forecast in forecasts
    ]


def read(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def follow(address: str, token_file: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    return examples.started(*WARNINGS, FOLDER / "stream.py", token_file, address=address)


def test_the_stream_shows_no_outcome_that_is_withdrawn_and_marks_what_came_late(
    restartable: Restartable, tmp_path: Path
) -> None:
    address, game_id = restartable.address, current_game(1)
    with follow(address, tmp_path / "token") as stream, DejavuClient(address, timeout=20.0) as client:
        client.predict(PATTERN, horizon=HALFTIME, game_id=game_id)
        assert "late" not in read(stream, 1)[0]
        client.predict(PATTERN[:12], horizon=HALFTIME, game_id=game_id)
        assert read(stream, 1)[0].endswith(" at the half (late: not the current forecast)\n")
        client.report_outcome(game_id, 7, horizon=HALFTIME)
        client.withdraw_outcome(game_id, horizon=HALFTIME)
        assert read(stream, 2) == [
            f"3 {game_id}: outcome +7 at the half\n",
            f"4 {game_id}: outcome withdrawn at the half\n",
        ]
        stream.send_signal(signal.SIGINT)


def test_the_poller_announces_an_evening_s_forecast_and_its_outcome(address: str) -> None:
    evening = Evening([game("BOS", "LAL", lead=3, run=2)])
    evening.go_to(1081.0)
    with LocalServer(evening.replay.respond) as feed:
        program = (*WARNINGS, FOLDER / "poller.py")
        with examples.started(
            *program, address=address, DEJAVU_FEED_URL=feed.url, DEJAVU_POLL_SECONDS="0.05"
        ) as process:
            half, end = read(process, 2)
            assert re.fullmatch(r"LAL @ BOS, minute 18: \+\S+ at the half, BOS leads with [0-9]+%\n", half)
            assert re.fullmatch(r"LAL @ BOS, minute 18: \+\S+ at the end, BOS wins with [0-9]+%\n", end)
            evening.clock.now = evening.replay.end
            assert read(process, 2) == ["LAL @ BOS: outcome +5 at the half\n", "LAL @ BOS: outcome +5 at the end\n"]
            assert process.wait(30) == 0


SCRIPTS = ROOT / "examples" / "grpcurl"


def output_of(script: str, address: str) -> str:
    done = examples.run(SCRIPTS / script, address=address)
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
        ("predict.sh", {'"coverage_probability": 0.8': 1, '"similar_games"': 1, "dejavu-workers: 2": 1}),
        ("batch.sh", {'"horizon": "HORIZON_FINAL"': 1, "INVALID_PATTERN": 1}),
    ],
)
def test_a_script_prints_what_it_is_for(address: str, script: str, parts: dict[str, int]) -> None:
    output = output_of(script, address)
    assert [part for part, times in parts.items() if output.count(part) < times] == []


def test_a_refusal_fails_with_its_details(address: str) -> None:
    refused = examples.run(SCRIPTS / "error.sh", address=address)
    assert refused.returncode != 0
    shown = refused.stdout + refused.stderr
    for name in ('"code": 3', "google.rpc.ErrorInfo", "INVALID_PATTERN", "google.rpc.BadRequest", "pattern[1]"):
        assert name in shown


def test_a_stream_resumes_from_its_token(restartable: Restartable) -> None:
    address = restartable.address
    with DejavuClient(address, timeout=20.0) as client:
        first = client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(1))
        with examples.started(SCRIPTS / "stream.sh", address=address) as stream:
            current, heartbeat = next_event(stream.stdout), next_event(stream.stdout)
        assert int(current["forecast"]["sequence"]) == first.sequence
        assert "heartbeat" in heartbeat
        second = client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(2))
        with examples.started(SCRIPTS / "stream.sh", current["resume_token"], address=address) as stream:
            events = [next_event(stream.stdout) for _ in range(2)]
        [sequence] = [event["forecast"]["sequence"] for event in events if "forecast" in event]
        assert int(sequence) == second.sequence


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.iterdir()))
def test_every_script_can_be_run_and_is_run_here(script: str) -> None:
    assert (SCRIPTS / script).stat().st_mode & 0o111
    assert script in Path(__file__).read_text()


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
