"""A work folder belongs to one user at a time, keeps complete results, and removes incomplete ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from dejavu_trainer.retraining.work_folder import RetrainRunning, open_work_folder


def test_a_result_is_found_again_by_its_inputs_until_a_run_with_others_ends(tmp_path: Path) -> None:
    (tmp_path / ".bundle.x").mkdir()
    (tmp_path / ".bundle.x/lstm.npz").write_text("half")
    with open_work_folder(tmp_path) as work:
        assert [path.name for path in tmp_path.iterdir()] == [".lock"], "what a killed process left is removed"
        work.path("backtest", games="a").write_text("of a")
        with pytest.raises(RetrainRunning, match="another retrain is running there"), open_work_folder(tmp_path):
            pytest.fail("two have it open")
    with open_work_folder(tmp_path) as work:
        assert work.path("backtest", games="a").read_text() == "of a"
    with open_work_folder(tmp_path) as work:
        new = work.path("backtest", games="b")
        assert (new.exists(), work.last) == (False, None)
        new.mkdir()
        work.finish("described")
        assert work.last == b"described\n"
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "last.json", new.name}
