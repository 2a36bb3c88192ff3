"""ListModelChanges: callers wait in turn."""

from __future__ import annotations

import asyncio
from typing import TypeVar, cast

from dejavu.v1 import model_service_pb2 as pb
from dejavu_ledger import Ledger
from dejavu_ledger.database.backend import Query
from dejavu_server.admission.callers import Caller
from dejavu_server.api.models.history import ModelHistory

_T = TypeVar("_T")


class SlowLedger:
    """A ledger without changes, whose reads each take a while."""

    async def read(self, _: Query[_T]) -> _T:
        await asyncio.sleep(0)
        return cast("_T", ([], ""))


async def test_a_caller_that_asks_for_many_pages_of_changes_lets_another_one_pass() -> None:
    history, served = ModelHistory(lambda: cast("Ledger", SlowLedger())), list[str]()

    async def ask(caller: str) -> None:
        await history.list_model_changes(pb.ListModelChangesRequest(), Caller(turn=caller))
        served.append(caller)

    async with asyncio.TaskGroup() as asked:
        for caller in [*["greedy"] * 20, "other"]:
            asked.create_task(ask(caller))
    assert served.index("other") <= 2
