"""The compiled extension, if it was built: point models, distributions of single games and canonical JSON, in C++.

Built with the package where there is a C++ compiler (`hatch_build.py`). Without it the same numbers come from NumPy,
ONNX Runtime and hnswlib, at several times the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

native: Any = None
"""The extension, whose classes model_store/native/python describes; None if it was not built."""

try:
    from dejavu_models import _native
except ImportError:
    pass
else:
    native = _native

shared_floats: Final[Callable[[list[float]], tuple[float, ...]]] = getattr(native, "shared_floats", tuple)
"""Returns floats as a tuple; with the extension, equal whole numbers are one object, as the ledger keeps patterns."""
