"""The compiled extension, if it was built: point models, distributions of single games and canonical JSON, in C++.

Built with the package where there is a C++ compiler (`hatch_build.py`). Without it the same numbers come from NumPy,
ONNX Runtime and hnswlib, at several times the cost.
"""

from __future__ import annotations

from typing import Any

native: Any = None
"""The extension, whose classes model_store/native/python describes; None if it was not built."""

try:
    from dejavu_models import _native
except ImportError:
    pass
else:
    native = _native
