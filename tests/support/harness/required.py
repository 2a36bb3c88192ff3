"""What tests need of a machine: without it a test is skipped, and fails in CI (DEJAVU_CI=1)."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def required_program(name: str, package: str) -> str:
    """Return the path of a program; skip the test without it, or fail it in CI.

    Args:
        name: name of the program.
        package: Debian's package of it.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    return found or skip_or_fail(f"{name} is not installed (Debian: {package})")


def skip_or_fail(missing: str) -> NoReturn:
    """Skip the test because of what is missing, or fail it in CI."""
    if os.environ.get("DEJAVU_CI") == "1":
        pytest.fail(f"{missing}, and CI must test it")
    pytest.skip(missing)
