"""Limits of uploads of bundles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What uploads may take.

    Attributes:
        bundle_bytes: most bytes of the files that one upload sends, those of earlier attempts included.
        chunk_bytes: most bytes of a chunk, and of a manifest.
        at_once: most uploads in progress.
        unfinished: most bundles of which parts are kept; beyond it the one that waits longest is removed.
        keep_seconds: how long parts of a bundle are kept after the last attempt, in seconds.
    """

    bundle_bytes: int = 256 * _MEBIBYTE
    chunk_bytes: int = _MEBIBYTE
    at_once: int = 2
    unfinished: int = 4
    keep_seconds: float = 86_400.0
