"""Interface of the ledger for the rest of the server, without the database behind it, and who records through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeVar

from dejavu_ledger.database.backend import Connection, Query, StopSignal
from dejavu_ledger.records import IssuedForecast, ReportedOutcome, ShadowForecast
from dejavu_models.results import Result
from dejavu_models.types import Horizon
from dejavu_store.stages import ModelChange, Roster

MODELS: Final = ""
"""Stands for the game in an entry that changes models."""

MODEL_CHANGE: Final = MODELS, 4096
"""Game and bytes for which a change of models counts: about the size of its largest possible entry."""


class Recorder(Protocol):
    """The caller on whose behalf entries are recorded."""

    @property
    def caller(self) -> str:
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
    caller = ""

    def reserved(self, _: Sequence[tuple[str, int]]) -> AbstractContextManager[list[tuple[str, int]]]:
        return nullcontext([])


UNLIMITED: Final[Recorder] = _Unlimited()
"""A recorder without limits, such as the server itself."""


_T = TypeVar("_T")


class LedgerAccess(Protocol):
    """An open ledger, or one that is being kept open; its methods raise a LedgerError while it cannot be used."""

    async def commit(self, issued: Sequence[IssuedForecast]) -> Sequence[Result[IssuedForecast]]:
        """Record forecasts together; return for each the recorded one, new or earlier, or why it was not recorded."""

    async def record_outcome(self, outcome: ReportedOutcome, *, correct: bool = True) -> tuple[ReportedOutcome, int]:
        """Record an outcome; return it as stored, and the number of forecasts that it settles."""

    async def withdraw_outcome(
        self, game_id: str, horizon: Horizon, recorded_by: str = ""
    ) -> tuple[ReportedOutcome, int]:
        """Withdraw an outcome; return the withdrawing revision, and the number of forecasts that it had settled."""

    async def change_models(
        self, prepare: Callable[[Connection, Roster], ModelChange]
    ) -> tuple[Roster, ModelChange | None]:
        """Append the change of models that `prepare` returns; return the roster after it, and the recorded change."""

    async def record_shadows(self, shadows: Sequence[ShadowForecast]) -> list[ShadowForecast]:
        """Record shadow forecasts; return those that are recorded."""

    async def read(self, query: Query[_T], *, stop: StopSignal | None = None) -> _T:
        """Return the result of a query of `ledger.queries`; each of its statements sees the newest commit.

        Setting `stop` ends it early, with ReadStopped.
        """

    async def write(self, change: Query[_T]) -> _T:
        """Return the result of a change that writes no entry, in its own transaction; it may be called again."""
