"""Signs the head of a worker's ledger: on request, and into the ledger at an interval."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dejavu_common.clock import microseconds
from dejavu_common.failure_log import FailureLog
from dejavu_ledger.audit.checkpoints import (
    SigningUnavailable,
    add_checkpoint,
    identity_and_head,
    load_or_create,
    sign,
    unsigned_since_us,
)
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerError
from dejavu_ledger.ledger import CurrentLedger
from dejavu_ledger.records import Checkpoint
from dejavu_server.observability.periodic import PeriodicTask

CHECKPOINT_SECONDS: Final = 60.0
"""How often a server stores a signed head in the ledger, if it changed."""

_RECENT = 0.9
"""Share of the interval for which another worker's checkpoint makes a new one unnecessary; below 1, since timers are
not exact."""

_log = structlog.get_logger(__name__)


class Signer(PeriodicTask):
    """Signs a ledger's head on request, and once started writes signed heads to the ledger, at once and at an interval.

    Close it before the ledger. However many workers sign, the ledger gets one checkpoint per interval, and none while
    nothing is recorded. The key is loaded, or created, when it is first needed. While it can't be used, only
    checkpoints are refused.

    Args:
        ledger: the ledger to sign.
        key: path of the key file.
        seconds: the interval.
        clock: returns the current time.
    """

    def __init__(self, ledger: CurrentLedger, key: Path, *, seconds: float, clock: Callable[[], datetime]) -> None:
        super().__init__("signer", seconds, self._write_next, at_once=True)
        self._ledger = ledger
        self._path = key
        self._recent_us = _RECENT * seconds * 1_000_000
        self._clock = clock
        self._loaded: Ed25519PrivateKey | None = None
        self._failures = FailureLog(_log, failed="signing_failing", recovered="signing_recovered")

    async def checkpoint(self) -> Checkpoint:
        """Sign the current head.

        Raises:
            SigningUnavailable: if there is no usable key.
            LedgerError: if the head can't be read.
        """
        key = await self._key()
        identity, head = await self._ledger().read(identity_and_head)
        return sign(key, identity, head, self._clock())

    async def write_checkpoint(self) -> Checkpoint | None:
        """Write the signed head to the ledger.

        Returns:
            The checkpoint; None if the head has not moved, or another worker has just signed it.

        Raises:
            SigningUnavailable, LedgerError: if it can't be signed or written.
        """
        if not await self._ledger().read(self._is_needed):
            return None
        key = await self._key()
        return await self._ledger().write(partial(self._write_checkpoint, key))

    def _write_checkpoint(self, key: Ed25519PrivateKey, connection: Connection) -> Checkpoint | None:
        # Check again under the write lock: another worker may have been faster.
        if not self._is_needed(connection):
            return None
        signed = sign(key, *identity_and_head(connection), self._clock())
        add_checkpoint(connection, signed)
        return signed

    async def _write_next(self) -> None:
        # Both are logged: by `_key`, or by the ledger manager, which tries to repair the ledger.
        with suppress(LedgerError):
            await self.write_checkpoint()

    async def _key(self) -> Ed25519PrivateKey:
        if self._loaded is None:
            try:
                self._loaded = await asyncio.to_thread(load_or_create, self._path)
            except SigningUnavailable as error:
                self._failures.failed(error, traceback=False, path=str(self._path), effect="no checkpoints; will retry")
                raise
            self._failures.succeeded()
        return self._loaded

    def _is_needed(self, connection: Connection) -> bool:
        """Return whether the head has no checkpoint, and the newest one is not from about now.

        One from later than now is not: then the clock was set back.
        """
        since_us = unsigned_since_us(connection)
        return since_us is not None and abs(microseconds(self._clock()) - since_us) >= self._recent_us
