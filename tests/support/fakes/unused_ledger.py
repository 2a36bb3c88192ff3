"""A base class for ledgers in tests: every method fails unless a test overrides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dejavu_ledger.database.backend import Connection, Query, StopSignal
from dejavu_ledger.records import IssuedForecast, ReportedOutcome, ShadowForecast
from dejavu_models.results import Result
from dejavu_models.types import Horizon
from dejavu_store.stages import ModelChange, Roster

_T = TypeVar("_T")


class UnusedLedger:
    """Fails on every use; see `LedgerAccess`."""

    async def commit(self, issued: Sequence[IssuedForecast]) -> Sequence[Result[IssuedForecast]]:
        raise AssertionError("nothing is recorded here")

    async def record_outcome(self, outcome: ReportedOutcome, *, correct: bool = True) -> tuple[ReportedOutcome, int]:
        raise AssertionError("no outcome is recorded here")

    async def withdraw_outcome(
        self, game_id: str, horizon: Horizon, recorded_by: str = ""
    ) -> tuple[ReportedOutcome, int]:
        raise AssertionError("no outcome is withdrawn here")

    async def change_models(
        self, prepare: Callable[[Connection, Roster], ModelChange]
    ) -> tuple[Roster, ModelChange | None]:
        raise AssertionError("no models are changed here")

    async def record_shadows(self, shadows: Sequence[ShadowForecast]) -> list[ShadowForecast]:
        raise AssertionError("no shadows are recorded here")

    async def read(self, query: Query[_T], *, stop: StopSignal | None = None) -> _T:
        raise AssertionError("nothing is read here")

    async def write(self, change: Query[_T]) -> _T:
        raise AssertionError("nothing is written here")
