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

from dejavu_feed.replay.games import draw_matchups


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
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    processes = [" ".join(command) for command in commands if any(str(folder) in word for word in command)]
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
        reported = [(event["game"]["gameId"], event["horizon"]) for event in events if event["event"] == "reported"]
        assert len(reported) == len(set(reported)) == 4
        assert {event["game"]["gameId"][:2] for event in events if event["event"] == "forecast"} == {"99"}
        games = {(event["game"]["homeTeam"], event["game"]["awayTeam"]) for event in events if event["event"] == "game"}
        assert games == set(draw_matchups(random.Random(1), 2)), "the same on every run, unless --seed says others"
        verified = figures["verified"]
        assert (verified["failed"], verified["outcomes"]) == (False, 4)
        assert verified["forecasts"] > figures["forecasts"], "moments of the last minutes are among them"
        assert remaining(Path(folder)) == []


@pytest.mark.nightly
def test_a_demo_that_is_ended_early_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = start(Path(folder), "--seconds", "60", "--json")
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "game"
        assert len(remaining(Path(folder))) > 1, "the server and its folder"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143, errors
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
