"""Fixtures of the tests of bundles."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.builders.fixtures import small, small_bundle  # noqa: F401 - fixtures


@pytest.fixture
def copy(small_bundle: Path, tmp_path: Path) -> Path:  # noqa: F811 - the fixture
    """Copy of the small bundle that a test may modify."""
    return shutil.copytree(small_bundle, tmp_path / "bundle")
