"""A work folder belongs to one process at a time, keeps complete results, and removes incomplete ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dejavu_trainer.retraining.work_folder import RetrainError, RetrainRunning, open_work_folder

HOLD = """
import sys, time
from pathlib import Path
from dejavu_trainer.retraining.work_folder import open_work_folder
with open_work_folder(Path(sys.argv[1])):
    print("open", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_with_the_number_of_the_first_until_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        refused = pytest.raises(RetrainRunning, match=f"another retrain is running there, process {process.pid}")
        with refused, open_work_folder(tmp_path):
            pytest.fail("two have it open")
        os.kill(process.pid, signal.SIGKILL)
    with open_work_folder(tmp_path) as work:
        assert work.last is None


def test_a_document_is_made_once_for_the_same_inputs(tmp_path: Path) -> None:
    made = list[int]()

    def make() -> dict[str, int]:
        made.append(1)
        return {"n": len(made)}

    for games in ("a", "a", "b"):
        with open_work_folder(tmp_path) as work:
            document = work.document(f"check-{work.key(games=games)}.json", make)
            assert document == {"n": 2 if games == "b" else 1}
    assert len(made) == 2


def test_what_a_killed_process_left_half_done_is_removed_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / ".bundle.x").mkdir()
    (tmp_path / ".bundle.x/lstm.npz").write_text("half")
    (tmp_path / ".games.npz.new").write_text("half")
    (tmp_path / "games-1.npz").write_text("whole")
    with open_work_folder(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "games-1.npz"]


def test_at_the_end_only_the_results_of_this_run_stay(tmp_path: Path) -> None:
    (tmp_path / "bundle-old").mkdir()
    (tmp_path / "check-old.json").write_text("{}")
    with open_work_folder(tmp_path) as work:
        work.path("bundle-new").mkdir()
        work.finish({"model_version": "1"})
        assert work.last == {"model_version": "1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "bundle-new", "last.json"]


def test_a_result_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "last.json").write_text("[")
    with open_work_folder(tmp_path) as work, pytest.raises(RetrainError, match=r"last\.json: is not a result"):
        _ = work.last
