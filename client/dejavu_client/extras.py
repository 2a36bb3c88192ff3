"""Packages of extras: imported where they are needed, with an error that names the extra to install."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from dejavu_common.build import install


def pyarrow() -> Any:
    """Return the module pyarrow.

    Raises:
        ImportError: if it is not installed; the message names the extra to install.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing_extra("pyarrow", "arrow") from error
    return pa


@cache
def has_pyarrow() -> bool:
    """Return whether pyarrow is installed, without importing it."""
    return find_spec("pyarrow") is not None


def missing_extra(package: str, extra: str) -> ImportError:
    """Return the error for a package that is not installed, with the extra to install."""
    return ImportError(f"{package} is not installed; install the extra: {install(extra)}")
