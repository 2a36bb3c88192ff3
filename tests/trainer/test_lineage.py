"""The version of the code changes with every source that determines a bundle."""

from __future__ import annotations

from pathlib import Path

from dejavu_trainer.lineage import code_version, sources_digest


def test_each_changed_source_changes_the_digest(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("common/clock.py", "models/betting.py", "native/python/shapes.hpp")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1\n")
    roots = {name: tmp_path / name for name in ("common", "models", "native", "not there")}
    found = [sources_digest(roots)]
    for file in files:
        file.write_text("2\n")
        found.append(sources_digest(roots))
    (tmp_path / "models" / "_native.so").write_text("compiled")
    assert len(set(found)) == len(found)
    assert sources_digest(roots) == found[-1]
    assert code_version().partition("+sha256.")[2]
