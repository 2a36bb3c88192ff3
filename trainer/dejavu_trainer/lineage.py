"""Provenance of a bundle: versions of the libraries and of the code."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import dejavu_feed
import dejavu_models
import dejavu_trainer
from dejavu_common.build import release

_LIBRARIES: Final = ("dejavu-forecast", "hnswlib", "numpy", "scipy", "torch")
"""Libraries whose versions are recorded in a bundle."""

_PACKAGES: Final = (dejavu_feed, dejavu_models, dejavu_trainer)
"""Packages whose code makes a bundle."""


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that determine a bundle, by name."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


@cache
def code_version() -> str:
    """Return the version of the code that makes bundles, such as 1.0.1+sha256.1a2b3c4d5e6f.

    It ends with a hash of the sources of this code, which most commits leave unchanged. The same sources have the same
    version, whether they are installed or in a repository.
    """
    digest = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(next(iter(package.__path__)))
        for file in sorted(root.rglob("*.py")):
            content = file.read_bytes()
            digest.update(f"{package.__name__}/{file.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return f"{release().partition('.dev')[0]}+sha256.{digest.hexdigest()[:12]}"
