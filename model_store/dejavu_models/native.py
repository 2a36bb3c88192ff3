"""The compiled models in C++: point models, search and distributions of single games.

Built with the package if there is a C++ compiler (`hatch_build.py`); model_store/native/python has the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["native", "shared_floats"]

try:
    from dejavu_models import _native as native
except ImportError as error:
    raise ImportError(
        "the compiled models are missing: install dejavu-forecast where there are a C++ compiler and Python's headers",
        name="dejavu_models._native",
    ) from error

shared_floats: Final[Callable[[list[float]], tuple[float, ...]]] = native.shared_floats
"""Returns floats as a tuple in which equal whole numbers share one object; the ledger keeps patterns in this way."""
