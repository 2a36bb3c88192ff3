"""Fixtures of the tests of bundles."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.fixtures import small, small_bundle  # noqa: F401 - fixtures

from dejavu_store.bundle import MANIFEST


@pytest.fixture
def copy(small_bundle: Path, tmp_path: Path) -> Path:  # noqa: F811 - the fixture
    """Copy of the small bundle that a test may modify."""
    return shutil.copytree(small_bundle, tmp_path / "bundle")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply a change to the manifest of a bundle."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def condemn(manifest: dict[str, Any]) -> None:
    """Mark a manifest unfit."""
    manifest["verdict"].update(fit=False, reason="its intervals hold too seldom")


def as_pipe(file: Path) -> None:
    """Replace a file by a pipe."""
    file.unlink()
    os.mkfifo(file)
