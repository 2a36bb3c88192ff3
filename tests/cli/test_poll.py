"""The program `dejavu poll` against a stepped replay and a fake server: output and exit."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyte
import pytest
from tests.support.builders.evenings import Evening, game
from tests.support.fakes.service import FakeServer
from tests.support.programs.commands import python_m
from typer.testing import CliRunner

from dejavu.v1.model_service_pb2 import ComponentWeight, ListModelsResponse, Model
from dejavu_cli.main import app
from dejavu_client import FINAL, HALFTIME
from dejavu_feed.replay.http_server import LocalServer, Response

SIX_MINUTES, HALF = 1080.0, 1440.0
Program = subprocess.Popen[str]


class Stage:
    """An evening served over HTTP, and a fake forecast server."""

    def __init__(self, evening: Evening, feed_url: str, server: FakeServer) -> None:
        self.evening = evening
        self.server = server
        self.arguments = ["poll", "--feed-url", feed_url, "--target", server.target, "--interval", "0.05"]

    def start(self, *options: str, log: int = subprocess.DEVNULL) -> Program:
        command = [*python_m("dejavu_cli"), *self.arguments, *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)


@pytest.fixture
def stage() -> Iterator[Stage]:
    evening = Evening([game(run=2)])
    with LocalServer(evening.replay.respond) as feed, FakeServer() as server:
        yield Stage(evening, feed.url, server)


def next_record(program: Program, event: str) -> Any:
    """Return the next JSON line with an event of the given name; skip the lines before it."""
    assert program.stdout is not None
    for line in program.stdout:
        record = json.loads(line)
        if record["event"] == event:
            return record
    raise AssertionError(f"the program ended without the event {event}")


def complaints(program: Program) -> list[str]:
    """Return what a program wrote to its log, but for calls that a busy machine made slow."""
    assert program.stderr is not None
    return [line for line in program.stderr if "slow_call" not in line]


def test_json_tells_an_evening_and_the_program_ends_with_it(stage: Stage) -> None:
    with stage.start("--json", "--until-final") as program:
        opening = next_record(program, "opening")
        assert (opening["pastGames"], opening["alpha"], opening["games"]) == (3000, 0.05, 1)
        assert next_record(program, "game")["game"]["status"] == "LIVE"
        stage.evening.go_to(SIX_MINUTES + 1)
        missed = next_record(program, "missed")
        forecast = next_record(program, "forecast")
        assert next_record(program, "forecast")["forecast"]["horizon"] == "HORIZON_FINAL"
        stage.evening.go_to(HALF + 1)
        outcome = next_record(program, "outcome")
        stage.evening.clock.now = stage.evening.replay.end
        reported = [next_record(program, "reported")["horizon"] for _ in range(2)]
        summary = next_record(program, "summary")
        assert program.wait(20) == 0

    assert reported == ["HORIZON_HALFTIME", "HORIZON_FINAL"]
    assert [call.request.horizon for call in stage.server.of("ReportOutcome")] == [HALFTIME, FINAL]
    assert (forecast["pattern"][-1], forecast["forecast"]["pointForecast"]) == (3, 3.0)
    assert forecast["forecast"]["gameId"] == stage.evening.ids[0]
    assert (outcome["horizon"], outcome["differential"], outcome["forecasts"], outcome["held"]) == (
        "HORIZON_HALFTIME",
        5,
        1,
        1,
    )
    assert outcome["newest"]["forecast"] == forecast["forecast"]
    assert missed["minutes"] == list(range(1, 18))
    half, end = summary["horizons"]
    assert (half["forecasts"], half["held"], half["meanAbsoluteError"], half["brier"]) == (1, 1, 2.0, 0.0625)
    assert (end["forecasts"], end["settledForecasts"]) == (2, 2)
    first, second = (call.request.requests for call in stage.server.of("PredictBatch"))
    assert [(each.home_team, each.away_team, each.horizon, len(each.pattern)) for each in first] == [
        ("BOS", "LAL", HALFTIME, 18),
        ("BOS", "LAL", FINAL, 18),
    ]
    assert [(each.horizon, len(each.pattern)) for each in second] == [(FINAL, 24)]


@pytest.mark.nightly
def test_the_page_runs_beside_the_poller_with_its_options_and_ends_with_it(stage: Stage, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sesame")
    evening = ("--evening", "2026-01-02")
    with stage.start("--json", "--page", *evening, "--token-file", str(token), log=subprocess.PIPE) as program:
        assert program.stderr is not None
        url = next(line for line in program.stderr if line.startswith("Page at ")).split()[-1]
        with urllib.request.urlopen(f"{url}api/status", timeout=30) as answer:
            assert json.load(answer)["demo"] is True  # the games are those of a replay
        options = ["--token-file", str(token), "--demo", *evening]
        [page] = (each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [])[-5:] == options)
        next_record(program, "game")
        program.send_signal(signal.SIGINT)
        assert next_record(program, "summary")["games"] == 1
        assert program.wait(30) == 0
        assert not page.is_running()


def test_a_feed_that_hangs_does_not_keep_it_from_ending() -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(path: str) -> Response:
        asked.set()
        release.wait(60)
        return Response(500, b"")

    with (
        LocalServer(hang) as feed,
        FakeServer() as server,
        Stage(Evening([game()]), feed.url, server).start("--json", log=subprocess.PIPE) as program,
    ):
        assert asked.wait(60)
        program.send_signal(signal.SIGINT)
        assert next_record(program, "summary")["games"] == 0
        told = time.monotonic()
        assert program.wait(20) == 0
        assert time.monotonic() - told < 4, "it waited for the time-out of the feed, 5 s"
        assert not complaints(program)
        release.set()


def test_where_there_is_no_terminal_it_prints_lines(stage: Stage) -> None:
    stage.evening.go_to(SIX_MINUTES + 1)
    with stage.start("--until-final") as program:
        assert program.stdout is not None
        lines = []
        for line in program.stdout:
            lines.append(line)
            if "half +3.0 [−8.5 … +14.5] at 95 %" in line:
                stage.evening.clock.now = stage.evening.replay.end
        assert program.wait(20) == 0

    assert lines[0] == "model fake, database of 3,000 past games · alpha 0.05 · 1 game\n"
    assert lines[-3:] == [
        "1 game · 2 forecasts · 68 missed\n",
        "half, 1 game: 1 of 1 interval at 95 % held · MAE 2.00 (persistence 2.00)\n",
        "end, 1 game: 1 of 1 interval at 95 % held · Brier 0.062 (leader 0.000)\n",
    ]


def test_an_evening_begins_with_its_model_and_slow_calls_are_warned_of(stage: Stage) -> None:
    weights = [
        ComponentWeight(component=name, weight=weight)
        for name, weight in (("linear", 0.4), ("dejavu", 0.45), ("linear", 0.55))
    ]

    def answer_late(_: object) -> ListModelsResponse:
        time.sleep(0.3)
        return ListModelsResponse(models=[Model(version="v", active=True, past_games=7, weights=weights)])

    stage.server.answers("ListModels", answer_late)
    with stage.start(log=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == (
            "model v, database of 7 past games · linear 40–55 %, Dejavu 45 % · alpha 0.05 · 1 game\n"
        )
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
        assert program.stderr is not None
        assert "slow_call method='ListModels'" in program.stderr.read()


def test_a_reader_that_leaves_ends_it_without_a_complaint(stage: Stage) -> None:
    with stage.start("--json", log=subprocess.PIPE) as program:
        next_record(program, "game")
        assert program.stdout is not None
        program.stdout.close()
        stage.evening.go_to(SIX_MINUTES + 1)
        assert program.wait(20) == 0
        assert not complaints(program)


def read_from(terminal: int) -> bytes:
    """Return what a program wrote to its terminal; nothing once it has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.mark.nightly
def test_in_a_terminal_a_table_is_drawn_anew(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_text(f"game_id,spread,total\n{stage.evening.ids[0]},-6.5,2215\n")
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)

    def draw_until(*texts: str) -> list[str]:
        while not all(any(text in " ".join(line.split()) for line in screen.display) for text in texts):
            stream.feed(os.read(ours, 65536))
        return [line.rstrip() for line in screen.display if line.strip()]

    command = ["setsid", "--ctty", sys.executable, "-m", "dejavu_cli", *stage.arguments, "--lines", str(file)]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment) as program:
        os.close(its)
        draw_until("LAL @ BOS", "Q1 12:00", "total is 2215")
        stage.evening.go_to(SIX_MINUTES + 1)
        draw_until("+3.0", "−8…+14", "BOS 75 %", "leads", "wins", "no line: LAL @ BOS")
        stage.evening.go_to(HALF)
        draw_until("+5 BOS led", "Half", "half, 1 game: 1 of 1 interval at 95 % held")
        os.write(ours, b"\r\x03")  # keys, which a terminal would echo
        while read := read_from(ours):
            stream.feed(read)
        assert program.wait(20) == 0
    os.close(ours)

    assert sum(line.startswith(" LAL @ BOS") for line in screen.display) == 1, "drawn in place"
    assert sum("game" in line and "clock" in line for line in screen.display) == 1, "the header once"


def test_horizon_pace_reports_and_metrics_are_options(stage: Stage) -> None:
    options = "--horizon final --from-minute 10 --every 8 --no-report --metrics-listen 127.0.0.1:0"
    with stage.start("--json", *options.split(), log=subprocess.PIPE) as program:
        assert program.stderr is not None
        url = next(line for line in program.stderr if line.startswith("Metrics at ")).split()[-1]
        next_record(program, "game")
        stage.evening.go_to(SIX_MINUTES + 61)
        forecast = next_record(program, "forecast")["forecast"]
        with urllib.request.urlopen(url, timeout=20) as page:
            text = page.read().decode()
        stage.evening.go_to(60.0 * 26 + 1)
        next_record(program, "forecast")
        program.send_signal(signal.SIGTERM)
        assert next_record(program, "summary")["forecasts"] == 2
        assert program.wait(20) == 0
        assert "Traceback" not in program.stderr.read()

    assert (forecast["horizon"], forecast["elapsedMinutes"]) == ("HORIZON_FINAL", 18)
    assert not stage.server.of("ReportOutcome")
    assert f'dejavu_poll_game_data_age_seconds{{away="LAL",game_id="{stage.evening.ids[0]}",home="BOS"}}' in text
    assert 'dejavu_poll_forecasts_total{horizon="final",outcome="new"} 1.0' in text


def test_metrics_that_cannot_be_served_end_it_with_a_reason(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, [*stage.arguments, "--metrics-listen", f"127.0.0.1:{port}"])
    assert result.exit_code == 1
    assert f"cannot serve metrics at 127.0.0.1:{port}" in result.stderr

    assert CliRunner().invoke(app, ["poll", "--metrics-listen", "9109"]).exit_code == 2

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "dejavu_poller.metrics", raising=False)
    result = CliRunner().invoke(app, [*stage.arguments, "--metrics-listen", "127.0.0.1:0"])
    assert result.exit_code == 1
    assert "dejavu-forecast[live]" in result.stderr
