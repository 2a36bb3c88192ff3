"""The caller on whose behalf a ledger records, and its quota."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

MODELS: Final = ""
"""Stands for the game in an entry that changes models."""

MODEL_CHANGE: Final = MODELS, 4096
"""Game and bytes for which a change of models counts: about the size of its largest possible entry."""


class Recorder(Protocol):
    """The caller on whose behalf entries are recorded."""

    @property
    def turn(self) -> str:
        """Name by which callers take turns; empty for one that is not limited."""

    def reserved(self, entries: Sequence[tuple[str, int]]) -> AbstractContextManager[list[tuple[str, int]]]:
        """Count entries (game or MODELS, size in bytes) while the block records them.

        If the block fails, no entry was recorded, and none counts. If it is cancelled, entries may still be recorded:
        they count.

        Returns:
            A context whose value is a list, to which the block adds the entries that turned out not to be recorded.
            Entering it raises a DejavuError if the entries exceed the caller's quota.
        """


class _Unlimited:
    turn = ""

    def reserved(self, _: Sequence[tuple[str, int]]) -> AbstractContextManager[list[tuple[str, int]]]:
        return nullcontext([])


UNLIMITED: Final[Recorder] = _Unlimited()
"""A recorder without limits, such as the server itself."""
