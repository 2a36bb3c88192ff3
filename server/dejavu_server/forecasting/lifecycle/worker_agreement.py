"""Asks all live workers of a ledger to load a model, and waits until they have loaded it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from dejavu_ledger.ledger import CurrentLedger
from dejavu_models.errors import DejavuError
from dejavu_server.forecasting.lifecycle import replicas
from dejavu_server.forecasting.lifecycle.follower import ModelFollower
from dejavu_server.forecasting.lifecycle.lifecycle_errors import ModelLoadFailed
from dejavu_server.forecasting.lifecycle.replicas import Replicas
from dejavu_server.limits import DeadlineExceeded

LOAD_SECONDS: Final = 55.0
"""Longest time to wait until all workers have a model: less than the server's deadline for calls without one."""

FOLLOW_SECONDS: Final = 3.0
"""Longest time to wait until a recorded change is in force in all workers."""

_LOOK_SECONDS: Final = 0.05
_WISH_SECONDS: Final = 5.0
"""Interval at which a wish is repeated; it expires after half a minute without repetition."""


class WorkerAgreement:
    """Asks all live workers to load a model.

    Args:
        ledger: the ledger of the workers.
        follower: the follower of this worker.
    """

    def __init__(self, ledger: CurrentLedger, follower: ModelFollower) -> None:
        self._ledger = ledger
        self._follower = follower

    @asynccontextmanager
    async def wish(self, version: str) -> AsyncIterator[str]:
        """Ask all workers to load a model, until the end of the block; yield the token of the wish."""
        token = await self._ledger().write(partial(replicas.wish, version=version))
        repeating = asyncio.create_task(self._repeat_wish(version, token), name=f"wish-{version}")
        try:
            yield token
        finally:
            repeating.cancel()
            await asyncio.wait([repeating])
            with contextlib.suppress(DejavuError):  # it expires
                await self._ledger().write(partial(replicas.withdraw_wish, version=version))

    async def _repeat_wish(self, version: str, token: str) -> None:
        while True:
            await asyncio.sleep(_WISH_SECONDS)
            with contextlib.suppress(DejavuError):
                await self._ledger().write(partial(replicas.wish, version=version, token=token))

    async def loaded_everywhere(self, version: str, token: str, seconds: float) -> None:
        """Wait until all live workers have a model loaded.

        Raises:
            ModelLoadFailed: if a worker could not load the model since the wish, or ended while loading it.
            DeadlineExceeded: if a worker does not report in time.
        """
        missing: list[Replicas] = []
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                while True:
                    workers, wishes = await self._ledger().read(replicas.live)
                    wish = wishes.get(version)
                    if wish is not None and wish.token == token and wish.error:
                        raise ModelLoadFailed(wish.error)
                    await self._follower.remove_dead(workers)
                    for each in workers:
                        failure = each.failed.get(version)
                        if failure is not None and failure.wish == token:
                            where = f"worker {each.worker} of server {each.server}"
                            raise ModelLoadFailed(f"{where} cannot load model {version}: {failure.error}")
                    missing = [each for each in workers if version not in each.loaded]
                    if workers and not missing:
                        return
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise DeadlineExceeded(f"not loaded in time by worker {_names(missing)}; nothing was changed") from None

    async def followed_everywhere(self, sequence: int) -> None:
        """Wait until a change of models is in force in all live workers, FOLLOW_SECONDS at most.

        Named forecasts need no such wait: the ledger refuses those of outdated models. The wait is for what-ifs and
        aliases.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_SECONDS):
                while True:
                    workers, _ = await self._ledger().read(replicas.live)
                    if all(each.roster_sequence >= sequence for each in workers):
                        return
                    await self._follower.remove_dead(workers)
                    await asyncio.sleep(_LOOK_SECONDS)


def _names(workers: Sequence[Replicas]) -> str:
    return ", ".join(f"{each.worker} of server {each.server}" for each in workers[:3]) or "any"
