"""Runs the demo as `make demo` does, but faster: it ends by itself, settles every game and leaves nothing behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import urllib.request
from pathlib import Path

import psutil
import pytest
from tests.support.programs.commands import python_m

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_cli.commands.demo import shortfall
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.replay.games import draw_matchups
from dejavu_poller.summary import HorizonSummary, Summary


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo as a process with its own folder for temporary files."""
    return subprocess.Popen(
        [*python_m("dejavu_cli"), "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def remaining(folder: Path) -> list[str]:
    """Return processes whose command line contains the folder, and the demo's files in it."""
    here = str(folder)
    processes = [
        " ".join(process.info["cmdline"] or ())
        for process in psutil.process_iter(["cmdline"])
        if any(here in word for word in process.info["cmdline"] or ())
    ]
    return processes + [str(path) for path in folder.glob("dejavu-demo-*")]


def test_the_demo_ends_by_itself_with_every_game_forecast_and_settled() -> None:
    # Use a short path: that of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory() as folder:
        process = start(Path(folder), "--seconds", "20", "--count", "2", "--json")
        output, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        events = [json.loads(line) for line in output.splitlines()]
        figures = events[-1]
        assert (figures["event"], figures["games"]) == ("demo", 2)
        for of in figures["horizons"]:
            assert (of["games"], of["settledGames"]) == (2, 2)
            assert of["held"] <= of["settledForecasts"] == of["forecasts"]
        for of, card in zip(figures["horizons"], figures["scorecards"], strict=True):
            assert (card["horizon"], card["games"]) == (of["horizon"], 2)
            assert card["forecasts"] >= of["forecasts"]
            assert 0 < card["crps"]["value"] < card["persistenceMae"]["value"]
        moments = sum(card["forecasts"] for card in figures["scorecards"]) - figures["forecasts"]
        assert moments > 0, "moments of the last minutes are among them"
        reported = [(event["game"]["gameId"], event["horizon"]) for event in events if event["event"] == "reported"]
        assert len(reported) == len(set(reported)) == 4
        assert figures["forecasts"] == sum(of["forecasts"] for of in figures["horizons"])
        assert figures["feedToSubscriberSecondsP50"] <= figures["feedToSubscriberSecondsP95"]
        assert {event["game"]["gameId"][:2] for event in events if event["event"] == "forecast"} == {"99"}
        games = {(event["game"]["homeTeam"], event["game"]["awayTeam"]) for event in events if event["event"] == "game"}
        assert games == set(draw_matchups(random.Random(1), 2)), (
            "the same games on every run, unless --seed says others"
        )
        verified = figures["verified"]
        assert (verified["failed"], verified["outcomes"]) == (False, 4)
        assert verified["forecasts"] >= figures["forecasts"], "corrections are among them"
        assert verified["checkpoint"] == verified["sequence"]
        assert remaining(Path(folder)) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.nightly
def test_a_demo_that_is_ended_early_leaves_nothing_behind(number: signal.Signals, code: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = start(Path(folder), "--seconds", "60", "--json")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "game"
        assert len(remaining(Path(folder))) > 1, "the server and its folder"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert "Traceback" not in errors
        assert remaining(Path(folder)) == []


@pytest.mark.nightly
def test_a_demo_with_the_page_keeps_it_until_it_is_interrupted() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with start(Path(folder), "--seconds", "12", "--count", "2", "--page", "--json") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            threading.Thread(target=process.stdout.read).start()  # else the pipe would fill
            lines = iter(process.stderr.readline, "")
            url = next(line for line in lines if line.startswith("Page at ")).split()[-1]
            assert next(line for line in lines if line.startswith("The page stays"))
            with urllib.request.urlopen(f"{url}api/games", timeout=60) as answer:
                games = json.load(answer)["games"]
            try:
                assert [len(each["outcomes"]) for each in games] == [2, 2]
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
            finally:
                process.kill()
        assert remaining(Path(folder)) == []


def horizon_of(horizon: Horizon.ValueType, games: int, settled_games: int) -> HorizonSummary:
    return HorizonSummary(
        horizon=horizon,
        games=games,
        forecasts=10 * games,
        missed=0,
        settled_games=settled_games,
        settled=10 * settled_games,
        covered=9 * settled_games,
        nominal=0.95,
        error=5.0,
        persistence_error=5.0,
        brier=0.2,
        leader_brier=0.25,
    )


@pytest.mark.parametrize(
    ("games", "settled_games", "delivered", "complete"),
    [(8, 8, True, True), (0, 0, True, False), (8, 7, True, False), (7, 7, True, False), (8, 8, False, False)],
)
def test_a_demo_with_missing_results_reports_the_shortfall(
    games: int, settled_games: int, delivered: bool, complete: bool
) -> None:
    summary = Summary(8, (horizon_of(HALFTIME, 8, 8), horizon_of(FINAL, games, settled_games)), ())
    assert (shortfall(summary, 8, delivered) == "") is complete
