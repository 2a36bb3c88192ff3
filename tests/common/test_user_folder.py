from __future__ import annotations

from pathlib import Path

import pytest

from dejavu_common.files import state_folder


def test_the_state_is_in_the_folder_of_the_user_or_of_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home, folder in ((str(tmp_path), tmp_path), ("~/elsewhere", Path.home() / "elsewhere")):
        monkeypatch.setenv("XDG_STATE_HOME", home)
        assert state_folder() == folder / "dejavu"
    monkeypatch.setenv("XDG_STATE_HOME", "~no_such_user/state")
    assert state_folder() == Path("~no_such_user/state/dejavu")
    for unset in ("", " "):
        monkeypatch.setenv("XDG_STATE_HOME", unset)
        assert state_folder() == Path.home() / ".local" / "state" / "dejavu"
