"""Signed heads of the chain: a ledger's whole past in a hundred bytes, which its writer can't take back.

Whoever can edit the file could recompute every hash. What was signed and handed out before stays as it was, so that
whoever kept it can show later that the past is another one (see verification.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, insert, select

from dejavu_server.ledger.audit import signing_key
from dejavu_server.ledger.audit.signing_key import SigningUnavailable
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.migrate import backfill_late_rows
from dejavu_server.ledger.database.read_only import read_only_ledger
from dejavu_server.ledger.database.schema import checkpoints
from dejavu_server.ledger.database.store import ChainHead, Identity
from dejavu_server.ledger.entries.codec import microseconds
from dejavu_server.ledger.errors import LedgerError
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.records import Checkpoint

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

_RECENT = 0.9
"""Share of the interval within which another worker's checkpoint is this one's too: clocks and timers are not exact."""


class CheckpointLedger(Protocol):
    """What a signer needs of a ledger, or of its keeper."""

    async def read(self, function: Callable[[Connection], _T]) -> _T:
        """Runs a function on a connection that reads."""

    async def write(self, function: Callable[[Connection], _T]) -> _T:
        """Runs a function in a transaction of its own."""


def text(checkpoint: Checkpoint) -> str:
    """What is signed, as record.proto has it."""
    return (
        f"dejavu checkpoint 1\n{checkpoint.ledger_id}\n{checkpoint.epoch}\n{checkpoint.sequence}\n"
        f"{checkpoint.hash.hex()}\n{microseconds(checkpoint.signed_time)}\n"
    )


def sign(key: Ed25519PrivateKey, identity: Identity, head: ChainHead, signed_time: datetime) -> Checkpoint:
    """Signs the head of a ledger."""
    unsigned = Checkpoint(
        ledger_id=identity.ledger_id,
        epoch=identity.epoch,
        sequence=head.sequence,
        hash=head.hash,
        signed_time=signed_time,
        public_key=signing_key.public_bytes(key),
        signature=b"",
    )
    signature = key.sign(text(unsigned).encode())
    return Checkpoint(
        ledger_id=unsigned.ledger_id,
        epoch=unsigned.epoch,
        sequence=unsigned.sequence,
        hash=unsigned.hash,
        signed_time=unsigned.signed_time,
        public_key=unsigned.public_key,
        signature=signature,
    )


def is_signed(checkpoint: Checkpoint) -> bool:
    """Whether the signature is that of the checkpoint's own public key over its text."""
    try:
        Ed25519PublicKey.from_public_bytes(checkpoint.public_key).verify(
            checkpoint.signature, text(checkpoint).encode()
        )
    except (InvalidSignature, ValueError):  # ValueError: no public key
        return False
    return True


def read_head(url: str) -> tuple[Identity, ChainHead]:
    """Which ledger a URL names, and its head, whether a server runs on it or not.

    Raises:
        LedgerError: if it can't be read as a ledger of this release.
    """
    with read_only_ledger(url) as connection:
        return _head(connection)


class Signer:
    """Signs a ledger's head: on request, and every so often into the ledger itself.

    However many workers do so, the ledger keeps one checkpoint an interval, and none while nothing is recorded. The
    key is looked for, or made, when it is first needed; while it can't be used, checkpoints are refused and nothing
    else is.

    Args:
        ledger: whose head.
        key: the key's file.
        seconds: the interval.
        clock: tells the time.
    """

    def __init__(self, ledger: CheckpointLedger, key: Path, *, seconds: float, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._path = key
        self._seconds = seconds
        self._clock = clock
        self._loaded: Ed25519PrivateKey | None = None
        self._trouble = FailureLog(_log, failed="signing_failing", recovered="signing_recovered")
        self._task: asyncio.Task[None] | None = None

    async def checkpoint(self) -> Checkpoint:
        """The head as it is now, signed.

        Raises:
            SigningUnavailable: if there is no key to sign with.
            LedgerError: if the head can't be read.
        """
        key = await self._key()
        identity, head = await self._ledger.read(_head)
        return sign(key, identity, head, self._clock())

    def start(self) -> None:
        """Begins to keep checkpoints in the ledger, the first at once if there is anything new to sign."""
        self._task = asyncio.create_task(self._keep_on(), name="signer")

    async def close(self) -> None:
        """Stops; to be called before the ledger is closed. May be called again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def keep(self) -> Checkpoint | None:
        """Writes the signed head into the ledger; None if it has not moved, or another worker just did.

        Raises:
            SigningUnavailable, LedgerError: if it can't.
        """
        if not await self._ledger.read(partial(_moved, since_us=self._recent_us())):
            return None
        key = await self._key()
        kept = await self._ledger.write(partial(self._keep_now, key))
        self._trouble.succeeded()
        return kept

    def _keep_now(self, key: Ed25519PrivateKey, connection: Connection) -> Checkpoint | None:
        # Asked again, with the write lock: another worker may have been quicker.
        if not _moved(connection, self._recent_us()):
            return None
        # In a rolling restart the last old worker records for a moment longer than the last new one has been opening.
        backfill_late_rows(connection)
        signed = sign(key, *_head(connection), self._clock())
        connection.execute(
            _ADD,
            {
                "sequence": signed.sequence,
                "hash": signed.hash,
                "epoch": signed.epoch,
                "signed_us": microseconds(signed.signed_time),
                "public_key": signed.public_key,
                "signature": signed.signature,
            },
        )
        return signed

    async def _keep_on(self) -> None:
        while True:
            try:
                await self.keep()
            except SigningUnavailable:
                pass  # told by _key
            except LedgerError:
                pass  # told by the ledger's keeper, which tries to mend it
            except Exception as error:
                self._trouble.failed(error)
            await asyncio.sleep(self._seconds)

    async def _key(self) -> Ed25519PrivateKey:
        if self._loaded is None:
            try:
                self._loaded = await asyncio.to_thread(signing_key.load_or_make, self._path)
            except SigningUnavailable as error:
                self._trouble.failed(
                    error, traceback=False, path=str(self._path), effect="no checkpoints; it is tried again"
                )
                raise
            self._trouble.succeeded()
        return self._loaded

    def _recent_us(self) -> tuple[int, int]:
        """The moments between which a checkpoint counts as just made; later ones are of a clock that was put back."""
        now = microseconds(self._clock())
        span = int(_RECENT * self._seconds * 1_000_000)
        return now - span, now + span


_NEWEST = select(checkpoints.c.sequence, checkpoints.c.signed_us).order_by(checkpoints.c.sequence.desc()).limit(1)

_ADD = insert(checkpoints)


def _head(connection: Connection) -> tuple[Identity, ChainHead]:
    return store.identity(connection), store.head(connection)


def _moved(connection: Connection, since_us: tuple[int, int]) -> bool:
    """Whether there is a head that no checkpoint in the ledger is of, and the newest one is not of just now."""
    newest = connection.execute(_NEWEST).one_or_none()
    if newest is None:
        return store.head(connection).sequence > 0
    return newest.sequence < store.head(connection).sequence and not since_us[0] < newest.signed_us < since_us[1]
