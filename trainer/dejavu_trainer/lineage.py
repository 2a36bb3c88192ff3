"""Provenance of a bundle: versions of the libraries and of the code."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import dejavu_common
import dejavu_feed
import dejavu_models
import dejavu_trainer
from dejavu_common.build import release

_LIBRARIES: Final = ("dejavu-forecast", "hnswlib", "numpy", "scikit-learn", "scipy", "torch")
"""Libraries whose versions are recorded in a bundle."""

_PACKAGES: Final = (dejavu_common, dejavu_feed, dejavu_models, dejavu_trainer)
"""Packages whose code makes a bundle."""

_COMPILED: Final = "native"
"""Folder of the sources of the compiled models, beside the package of the models in a repository."""


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that determine a bundle, by name."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def digest_of(content: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Return a hash of content, which must be JSON: the first 16 hexadecimal digits of a SHA-256.

    Args:
        content: the content.
        default: returns the JSON of a value that is none.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=default)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def code_version() -> str:
    """Return the version of the code that makes bundles, such as 1.0.1+sha256.1a2b3c4d5e6f.

    It ends with a hash of the sources of this code, which most commits leave unchanged. A wheel has no sources of the
    compiled models, so the version of an installation from one differs from that of a repository.
    """
    roots = {package.__name__: Path(next(iter(package.__path__))) for package in _PACKAGES}
    roots[_COMPILED] = roots[dejavu_models.__name__].with_name(_COMPILED)
    return f"{release().partition('.dev')[0]}+sha256.{sources_digest(roots)}"


def sources_digest(roots: Mapping[str, Path]) -> str:
    """Return a hash of the sources in folders by name, 12 hexadecimal digits; a folder may be missing."""
    digest = hashlib.sha256()
    for name, root in roots.items():
        for file in sorted(each for each in root.rglob("*") if each.suffix in (".py", ".cpp", ".hpp")):
            content = file.read_bytes()
            digest.update(f"{name}/{file.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:12]
