"""Runs the Python examples unchanged against a real server."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.builders.evenings import Evening, game
from tests.support.harness.documents import ROOT
from tests.support.processes.restartable_server import Restartable
from tests.support.programs import examples

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
    levels = re.fullmatch(r"quantiles: 10% (\S+), 50% (\S+), 90% (\S+)", quantiles)
    assert levels is not None
    assert list(map(float, levels.groups())) == sorted(map(float, levels.groups()))
    assert re.fullmatch(r"of \d+ similar games with its lead, the home side led at the half in \d+", similar)
    assert len(grounds) == 3
    assert all(re.search(r": [+-]\d+ then, [+-]\d+ at the half$", ground) for ground in grounds)
    assert win.startswith("the home team wins: ")
    assert refusal.startswith("INVALID_PATTERN, call ")
    assert violation.startswith("  pattern[2]: nan; expected ")


def test_batch_has_forty_nine_answers_and_one_refusal(address: str) -> None:
    *answers, refusal = lines("batch", address)
    assert len(answers) == 49
    assert [int(line.partition(":")[0]) for line in answers] == list(range(-24, 25))
    assert refusal.startswith("request 49 was refused: INVALID_PATTERN: pattern[0]: ")


@pytest.mark.nightly
def test_many_calls_at_once_are_all_answered(address: str) -> None:
    answered, workers = lines("many_at_once", address)
    assert answered == "100 of 100 answered"
    assert workers.startswith("workers that answered: ")


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


@pytest.mark.nightly  # tests/client resumes streams
def test_the_stream_misses_nothing_when_the_server_or_the_program_is_restarted(
    restartable: Restartable, tmp_path: Path
) -> None:
    address, token_file = restartable.address, tmp_path / "token"
    early = record(address, current_game(1))
    with follow(address, token_file) as stream:
        assert read(stream, 1) == early
        recorded = record(address, current_game(2), current_game(3))
        assert read(stream, 2) == recorded
        assert restartable.server.stop() == 0
        restartable.start_again()
        recorded = record(address, current_game(4))
        assert read(stream, 1) == recorded
        stream.send_signal(signal.SIGINT)
        assert stream.wait(30) == 0
    missed = record(address, current_game(5), current_game(6))
    with follow(address, token_file) as stream:
        # The last printed forecast may be repeated: the token is saved after printing.
        first, *rest = read(stream, 2)
        if first != missed[0]:
            first, *rest = *rest, *read(stream, 1)
        assert [first, *rest] == missed
        stream.send_signal(signal.SIGINT)
        assert stream.wait(30) == 0


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
