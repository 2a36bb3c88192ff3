"""A killed fetch resumes where it stopped and ends with the same files as an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.fakes.stats_service import Asked, StatsStandIn, season_of_games
from tests.support.harness.documents import ROOT
from tests.support.harness.fetch import fetch_from, files_of

GAMES = season_of_games()


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


class Killed(BaseException):
    """Stands in for a kill at any point; no code of the fetch may clean up after it."""


def test_killed_between_any_two_writes_it_goes_on_to_the_same_files(
    service: StatsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_from(service, tmp_path / "whole")
    left = [0]
    replace_whole, write_text = Path.replace, Path.write_text

    def step() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    def half_written(path: Path, text: str, *rest: Any) -> int:
        write_text(path, text[: len(text) // 2], *rest)
        step()
        return write_text(path, text, *rest)

    def moved(path: Path, target: Path) -> Path:
        step()
        return replace_whole(path, target)

    monkeypatch.setattr(Path, "write_text", half_written)
    monkeypatch.setattr(Path, "replace", moved)
    out = tmp_path / "killed"
    service.asked.clear()
    for kills in range(99):
        left[0] = (
            2 + kills % 2
        )  # a game takes two steps: each run gets one game further, and ends before or after a write
        try:
            fetch_from(service, out)
        except Killed:
            continue
        break
    else:
        pytest.fail("it got nowhere")
    assert kills >= len(GAMES) - 1
    assert files_of(out) == files_of(tmp_path / "whole")


PROGRAM = """
import sys
from pathlib import Path
from tests.support.harness.fetch import AT_ONCE, Notes
from dejavu_feed.nba.stats_service import NbaStats
from dejavu_trainer.data.fetch import Phase, fetch
from dejavu_trainer.data.rate_limit import RetryingClient
notes = Notes()
client = RetryingClient(AT_ONCE, notes.waiting)
list(fetch(NbaStats(sys.argv[1]), [2025], tuple(Phase), Path(sys.argv[2]), notes, client))
"""


def test_kill_9_at_a_request_loses_no_game_that_was_had(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path / "whole")
    service.asked.clear()
    started = list[subprocess.Popen[bytes]]()

    def kill(_: Asked) -> None:
        if len(service.asked) == 7:  # three lists, three games, and one unanswered request
            os.kill(started[0].pid, signal.SIGKILL)
            started[0].wait()

    service.on_request = kill
    out = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, service.url, str(out)], cwd=ROOT) as process:
        started.append(process)
        assert process.wait(60) == -signal.SIGKILL
    assert not (out / "plays_2025.parquet").exists()
    had, (unanswered,) = service.plays_asked()[:3], service.plays_asked()[3:]
    service.asked.clear()
    fetch_from(service, out)
    assert not set(had) & set(service.plays_asked())
    assert unanswered in service.plays_asked()
    assert files_of(out) == files_of(tmp_path / "whole")
