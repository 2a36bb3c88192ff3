from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.builders.bundles import small_bundle
from tests.support.programs.upload_server import running_upload_server


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with running_upload_server(tmp_path / "store") as address:
        yield address
