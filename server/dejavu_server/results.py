"""Results of several requests that are answered together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Failed:
    """Takes the place of the result of a request that failed; those beside it may have succeeded."""

    error: Exception


Result: TypeAlias = _T | Failed
