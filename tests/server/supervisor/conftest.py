from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.processes.worker_programs import worker_that

Program = Callable[..., None]


@pytest.fixture
def workers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that sets what workers run after they have read their order: lines of Python."""
    numbers = itertools.count()

    def run(*lines: str) -> None:
        monkeypatch.setattr(sys, "executable", worker_that(tmp_path / f"python{next(numbers)}", *lines))

    return run
