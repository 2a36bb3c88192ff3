"""The program `dejavu poll` against a stepped replay and a fake server: output and exit."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from tests.support.builders.evenings import Evening, game
from tests.support.fakes.service import FakeServer
from tests.support.programs.commands import Program, Terminal, dejavu
from typer.testing import CliRunner

from dejavu_cli.main import app
from dejavu_client import FINAL, HALFTIME
from dejavu_feed.replay.http_server import LocalServer, Response

SIX_MINUTES, HALF = 1080.0, 1440.0


class Stage:
    """An evening served over HTTP, and a fake forecast server."""

    def __init__(self, evening: Evening, feed_url: str, server: FakeServer) -> None:
        self.evening = evening
        self.server = server
        self.arguments = ["poll", "--feed-url", feed_url, "--target", server.target, "--interval", "0.05"]

    def start(self, *options: str) -> AbstractContextManager[Program]:
        return dejavu(*self.arguments, *options)


@pytest.fixture
def stage() -> Iterator[Stage]:
    evening = Evening([game(run=2)])
    with LocalServer(evening.replay.respond) as feed, FakeServer() as server:
        yield Stage(evening, feed.url, server)


def test_json_tells_an_evening_and_the_program_ends_with_it(stage: Stage) -> None:
    with stage.start("--json", "--until-final") as program:
        opening = program.record("opening")
        assert (opening["pastGames"], opening["alpha"], opening["games"]) == (3000, 0.05, 1)
        assert program.record("game")["game"]["status"] == "LIVE"
        stage.evening.go_to(SIX_MINUTES + 1)
        missed, forecast = program.record("missed"), program.record("forecast")
        assert program.record("forecast")["forecast"]["horizon"] == "HORIZON_FINAL"
        stage.evening.go_to(HALF + 1)
        outcome = program.record("outcome")
        stage.evening.clock.now = stage.evening.replay.end
        reported = [program.record("reported")["horizon"] for _ in range(2)]
        summary = program.record("summary")
        assert program.ended() == 0

    assert reported == ["HORIZON_HALFTIME", "HORIZON_FINAL"]
    assert [call.request.horizon for call in stage.server.of("ReportOutcome")] == [HALFTIME, FINAL]
    assert (forecast["pattern"][-1], forecast["forecast"]["pointForecast"]) == (3, 3.0)
    assert forecast["forecast"]["gameId"] == stage.evening.ids[0]
    told = [outcome[name] for name in ("horizon", "differential", "forecasts", "held")]
    assert told == ["HORIZON_HALFTIME", 5, 1, 1]
    assert missed["minutes"] == list(range(1, 18))
    half, end = summary["horizons"]
    assert (half["forecasts"], half["held"], half["meanAbsoluteError"], half["brier"]) == (1, 1, 2.0, 0.0625)
    assert (end["forecasts"], end["settledForecasts"]) == (2, 2)


@pytest.mark.nightly
def test_the_page_runs_beside_the_poller_with_its_options_and_ends_with_it(stage: Stage, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sesame")
    evening = ("--evening", "2026-01-02")
    with stage.start("--json", "--page", *evening, "--token-file", str(token)) as program:
        url = next(line for line in program.err if line.startswith("Page at ")).split()[-1]
        with urllib.request.urlopen(f"{url}api/status", timeout=30) as answer:
            assert json.load(answer)["demo"] is True  # the games are those of a replay
        options = ["--token-file", str(token), "--demo", *evening]
        [page] = (each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [])[-5:] == options)
        program.record("game")
        program.process.send_signal(signal.SIGINT)
        assert program.record("summary")["games"] == 1
        assert program.ended() == 0
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
        Stage(Evening([game()]), feed.url, server).start("--json") as program,
    ):
        assert asked.wait(60)
        program.process.send_signal(signal.SIGINT)
        assert program.record("summary")["games"] == 0
        told = time.monotonic()
        assert program.ended() == 0
        assert time.monotonic() - told < 4, "it waited for the time-out of the feed, 5 s"
        assert not program.complaints()
        release.set()


def test_where_there_is_no_terminal_it_prints_lines(stage: Stage) -> None:
    stage.evening.go_to(SIX_MINUTES + 1)
    with stage.start("--until-final") as program:
        lines = []
        for line in program.out:
            lines.append(line)
            if "half +3.0 [−8.5 … +14.5] at 95 %" in line:
                stage.evening.clock.now = stage.evening.replay.end
        assert program.ended() == 0

    assert lines[0] == "model fake, database of 3,000 past games · alpha 0.05 · 1 game\n"
    assert lines[-3:] == [
        "1 game · 2 forecasts · 68 missed\n",
        "half, 1 game: 1 of 1 interval at 95 % held · MAE 2.00 (persistence 2.00)\n",
        "end, 1 game: 1 of 1 interval at 95 % held · Brier 0.062 (leader 0.000)\n",
    ]


def test_a_reader_that_leaves_ends_it_without_a_complaint(stage: Stage) -> None:
    with stage.start("--json") as program:
        program.record("game")
        program.out.close()
        stage.evening.go_to(SIX_MINUTES + 1)
        assert program.ended() == 0
        assert not program.complaints()


@pytest.mark.nightly
def test_in_a_terminal_a_table_is_drawn_anew(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_text(f"game_id,spread,total\n{stage.evening.ids[0]},-6.5,2215\n")
    command = (sys.executable, "-m", "dejavu_cli", *stage.arguments, "--lines", str(file))
    with Terminal(*command) as terminal:
        terminal.draw_until("LAL @ BOS", "Q1 12:00", "total is 2215")
        stage.evening.go_to(SIX_MINUTES + 1)
        terminal.draw_until("+3.0", "−8…+14", "BOS 75 %", "leads", "wins", "no line: LAL @ BOS")
        stage.evening.go_to(HALF)
        terminal.draw_until("+5 BOS led", "Half", "half, 1 game: 1 of 1 interval at 95 % held")
        assert terminal.interrupt() == 0
    assert sum(line.startswith("LAL @ BOS") for line in terminal.lines) == 1, "drawn in place"
    assert sum("game" in line and "clock" in line for line in terminal.lines) == 1, "the header once"


def test_horizon_pace_reports_and_metrics_are_options(stage: Stage) -> None:
    options = "--horizon final --from-minute 10 --every 8 --no-report --metrics-listen 127.0.0.1:0"
    with stage.start("--json", *options.split()) as program:
        url = next(line for line in program.err if line.startswith("Metrics at ")).split()[-1]
        program.record("game")
        stage.evening.go_to(SIX_MINUTES + 61)
        forecast = program.record("forecast")["forecast"]
        with urllib.request.urlopen(url, timeout=20) as page:
            text = page.read().decode()
        stage.evening.go_to(60.0 * 26 + 1)
        program.record("forecast")
        program.process.send_signal(signal.SIGTERM)
        assert program.record("summary")["forecasts"] == 2
        assert program.ended() == 0
        assert "Traceback" not in program.err.read()

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
