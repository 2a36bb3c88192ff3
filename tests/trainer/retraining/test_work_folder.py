"""A work folder belongs to one process at a time, keeps complete results, and removes incomplete ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dejavu_trainer.retraining.work_folder import RetrainRunning, open_work_folder

HOLD = """
import sys, time
from pathlib import Path
from dejavu_trainer.retraining.work_folder import open_work_folder
with open_work_folder(Path(sys.argv[1])):
    print("open", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_naming_the_first_until_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        refused = pytest.raises(RetrainRunning, match=f"another retrain is running there, process {process.pid}")
        with refused, open_work_folder(tmp_path):
            pytest.fail("two have it open")
        os.kill(process.pid, signal.SIGKILL)
    with open_work_folder(tmp_path) as work:
        assert work.last is None


def test_a_result_is_found_again_by_its_inputs_until_a_run_with_others_ends(tmp_path: Path) -> None:
    (tmp_path / ".bundle.x").mkdir()
    (tmp_path / ".bundle.x/lstm.npz").write_text("half")
    with open_work_folder(tmp_path) as work:
        assert [path.name for path in tmp_path.iterdir()] == [".lock"], "what a killed process left is removed"
        work.path("backtest", games="a").write_text("of a")
    with open_work_folder(tmp_path) as work:
        assert work.path("backtest", games="a").read_text() == "of a"
    with open_work_folder(tmp_path) as work:
        new = work.path("backtest", games="b")
        assert not new.exists()
        new.mkdir()
        work.finish("described")
        assert work.last == b"described\n"
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "last.json", new.name}
