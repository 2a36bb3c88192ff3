from __future__ import annotations

from pathlib import Path

import pytest

from dejavu_common.files import atomic_replace, state_folder, write_atomic


def test_an_error_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "plays.parquet"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_replace(path) as new:
        new.write_bytes("text, not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    with atomic_replace(path) as first, atomic_replace(path) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first", "the last rename wins"


@pytest.mark.parametrize("durable", [False, True])
def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "plays.parquet"
    write_atomic(path, b"old")
    with atomic_replace(path, durable=durable) as new:
        new.write_bytes(b"half")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [path]


def test_the_state_is_in_the_folder_of_the_user_or_of_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home, folder in ((str(tmp_path), tmp_path), ("~/elsewhere", Path.home() / "elsewhere")):
        monkeypatch.setenv("XDG_STATE_HOME", home)
        assert state_folder() == folder / "dejavu"
    for unset in ("", " "):
        monkeypatch.setenv("XDG_STATE_HOME", unset)
        assert state_folder() == Path.home() / ".local" / "state" / "dejavu"
