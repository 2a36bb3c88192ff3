"""Results of several requests that are answered together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from dejavu_models.errors import DejavuError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Failed:
    """Placeholder for the result of a failed request; other requests of the batch may have succeeded.

    The error has no traceback: nobody reads it, and its frames would keep all requests and results of the batch in
    memory until garbage collection.
    """

    error: Exception

    def __post_init__(self) -> None:
        if isinstance(self.error, DejavuError):
            self.error.__traceback__ = self.error.__context__ = None


Result: TypeAlias = _T | Failed
