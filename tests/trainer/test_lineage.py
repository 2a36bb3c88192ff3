"""The version of the code changes with every source that determines a bundle."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from dejavu_trainer import lineage

NAMES = ("dejavu_common", "dejavu_models")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of two packages and of the sources of the compiled models."""
    packages = []
    for name in NAMES:
        package = ModuleType(name)
        package.__path__ = [str(tmp_path / name)]
        packages.append(package)
    for name in ("dejavu_common/clock.py", "dejavu_models/betting.py", "native/games.cpp", "native/python/shapes.hpp"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1\n")
    monkeypatch.setattr(lineage, "_PACKAGES", tuple(packages))
    return tmp_path


def test_a_changed_source_changes_the_version_of_the_code(sources: Path) -> None:
    version = lineage.code_version.__wrapped__
    found = [version()]
    for file in sorted(each for each in sources.rglob("*") if each.is_file()):
        file.write_text("2\n")
        found.append(version())
    (sources / "dejavu_models" / "_native.so").write_text("compiled")
    assert len(set(found)) == len(found) == 5
    assert version() == found[-1]


def test_an_installation_without_the_sources_of_the_compiled_models_has_a_version(sources: Path) -> None:
    for file in (sources / "native").rglob("*.?pp"):
        file.unlink()
    (sources / "native" / "python").rmdir()
    (sources / "native").rmdir()
    assert "+sha256." in lineage.code_version.__wrapped__()
