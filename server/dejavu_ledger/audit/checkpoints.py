"""Signed heads of the chain: about a hundred bytes that commit the writer to the whole history of a ledger.

Anyone who can edit the file can recompute every hash. A checkpoint that was signed and handed out earlier does not
change, so its holder can show later that the history was rewritten (see verification.py). The ed25519 key that signs
them is a PEM file that only its owner may read, created if missing.

A checkpoint at a sequence was signed after the entries up to it were recorded, and before the others. A later entry
with an invented earlier time is dated before a checkpoint that does not contain it. Workers date their entries and
checkpoints. Their clocks, one clock with SQLite, are assumed to agree within a tolerance.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import tempfile
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Final

import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_common.files import open_regular, state_folder, sync
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.backends import folder_of, read_only_ledger
from dejavu_ledger.database.schema import TABLES
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.errors import LedgerCorrupt, LedgerUnavailable
from dejavu_ledger.records import Checkpoint

KEY_FILE_NAME = "signing-key.pem"

_MAX_KEY_BYTES = 65_536  # a key has 119

_log = structlog.get_logger(__name__)


class SigningUnavailable(LedgerUnavailable, reason="SIGNING_UNAVAILABLE"):
    """There is no usable key to sign checkpoints. No restart is needed once the file is repaired."""


def key_path(ledger_url: str, signing_key: str = "") -> Path:
    """Return the path of a ledger's key: the configured one, else a file in the folder of the ledger or of the user.

    Raises:
        InvalidLedgerUrl: if the URL can't name a ledger.
    """
    if signing_key:
        return Path(signing_key).expanduser()
    return (folder_of(ledger_url) or state_folder()) / KEY_FILE_NAME


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """Load the key of a file; create the file with mode 0600 if it is missing.

    If several processes find it missing at once, one creates the key and all use it.

    Raises:
        SigningUnavailable: if the file holds no such key, if others than its owner can access it (except that its group
            may read a file of root), or if it is missing and can't be created.
    """
    try:
        try:
            return _load_key(path)
        except FileNotFoundError:
            _create_key(path)
            return _load_key(path)
    except OSError as error:
        raise SigningUnavailable(f"the signing key can't be used: {error.strerror}") from error


def read_public_key(path: Path) -> bytes:
    """Read the 32 bytes of a public key from a file: PEM, or 64 hexadecimal digits.

    Raises:
        ValueError: if the file holds neither.
        OSError: if the file can't be read.
    """
    content = path.read_bytes()[:_MAX_KEY_BYTES]
    with contextlib.suppress(ValueError):  # includes UnicodeDecodeError
        key = bytes.fromhex(content.decode("ascii"))
        if len(key) == 32:
            return key
    try:
        public = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{path}: not a public key; expected PEM or 64 hexadecimal digits") from None
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError(f"{path}: not an ed25519 public key")
    return public.public_bytes_raw()


def _load_key(path: Path) -> Ed25519PrivateKey:
    with open_regular(path, follow_links=True) as file:
        status = os.fstat(file.fileno())  # of the open file: what is at the path may change
        # Kubernetes mounts a secret as a file of root that the group of the container (fsGroup) may read.
        mounted = status.st_uid == 0 != os.geteuid()
        if status.st_mode & (0o037 if mounted else 0o077):
            raise SigningUnavailable(
                f"the signing key can't be used: its file has mode {stat.S_IMODE(status.st_mode):04o}, which lets "
                "others access it; expected 0600"
            )
        content = file.read(_MAX_KEY_BYTES)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a password
        raise SigningUnavailable(
            "the signing key can't be used: its file is not a PEM private key without a password"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningUnavailable("the signing key can't be used: it is not an ed25519 key")
    return key


def _create_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    if path.parent == state_folder():  # the folder of a ledger file exists already
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:  # it has mode 0600
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
        # Atomic, and never replaces a key that another process created meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)
            sync(path.parent)
            _log.info("signing_key_made", path=str(path), public_key=key.public_key().public_bytes_raw().hex())


_NEWEST_CHECKPOINT: Final = "SELECT sequence, signed_us FROM checkpoints ORDER BY sequence DESC LIMIT 1"


def identity_and_head(connection: Connection) -> tuple[Identity, ChainHead]:
    """Return identity and head of the ledger."""
    return store.identity(connection), store.head(connection)


def unsigned_since_us(connection: Connection) -> int | None:
    """Return when the newest checkpoint was signed if it does not cover the head, in microseconds since 1970.

    None if it covers the head or the ledger is empty; 0 if there is no checkpoint.
    """
    signed, signed_us = sql.row(connection, _NEWEST_CHECKPOINT) or (0, 0)
    return signed_us if signed < store.head(connection).sequence else None


def add_checkpoint(connection: Connection, signed: Checkpoint) -> None:
    """Store a checkpoint; the connection's transaction must hold the write lock."""
    row = asdict(signed) | {"signed_us": microseconds(signed.signed_time)}
    sql.insert(connection, "checkpoints", [{name: row[name] for name in TABLES["checkpoints"]}])


def signed_text(checkpoint: Checkpoint) -> str:
    """Return the text to sign, as record.proto specifies it."""
    return (
        f"dejavu checkpoint 1\n{checkpoint.ledger_id}\n{checkpoint.epoch}\n{checkpoint.sequence}\n"
        f"{checkpoint.hash.hex()}\n{microseconds(checkpoint.signed_time)}\n"
    )


def sign(key: Ed25519PrivateKey, identity: Identity, head: ChainHead, signed_time: datetime) -> Checkpoint:
    """Sign the head of a ledger."""
    unsigned = Checkpoint(
        ledger_id=identity.ledger_id,
        epoch=identity.epoch,
        sequence=head.sequence,
        hash=head.hash,
        signed_time=signed_time,
        public_key=key.public_key().public_bytes_raw(),
        signature=b"",
    )
    return replace(unsigned, signature=key.sign(signed_text(unsigned).encode()))


def is_signed(checkpoint: Checkpoint) -> bool:
    """Return whether the signature over the text is valid for the checkpoint's own public key."""
    try:
        Ed25519PublicKey.from_public_bytes(checkpoint.public_key).verify(
            checkpoint.signature, signed_text(checkpoint).encode()
        )
    except (InvalidSignature, ValueError):  # ValueError: not a public key
        return False
    return True


def read_head(url: str) -> tuple[Identity, ChainHead]:
    """Return identity and head of the ledger at a URL, whether or not a server is running on it.

    Raises:
        LedgerError: if it can't be read as a ledger of this release.
    """
    with read_only_ledger(url) as backend, backend.read() as connection:
        return identity_and_head(connection)


CLOCK_TOLERANCE: Final = timedelta(seconds=120)
"""Default for the difference that does not count as a contradiction. A forecast is dated before it is recorded: by up
to the 60 s that a call can take (`interceptors.MAX_CALL_SECONDS`), and the wait for the disk. The rest is for
corrections of the clock."""


class SignedTimes:
    """Times between which entries can have been recorded, according to checkpoints.

    Args:
        checkpoints: the checkpoints, in any order.
        tolerance: difference that does not count as a contradiction.
    """

    def __init__(self, checkpoints: Iterable[Checkpoint], tolerance: timedelta = CLOCK_TOLERANCE) -> None:
        self._tolerance_us = tolerance // timedelta(microseconds=1)
        signed = sorted((each.sequence, microseconds(each.signed_time)) for each in checkpoints)
        self._sequences = [sequence for sequence, _ in signed]
        times = [time for _, time in signed]
        # By the number of checkpoints before an entry: the latest time of these, before which it was not recorded, and
        # the earliest time of the others, which contain it.
        self._after = [-math.inf, *accumulate(times, max)]
        self._up_to = [*accumulate(reversed(times), min, initial=math.inf)][::-1]

    def check(self, sequence: int, time: datetime, *, may_be_older: bool = False) -> None:
        """Check the time of an entry: when its forecast was made or its outcome recorded, in UTC.

        Args:
            sequence: sequence of the entry.
            time: its time.
            may_be_older: whether it may have waited before it was recorded.

        Raises:
            LedgerCorrupt: if a checkpoint before it was signed later, or one that contains it was signed earlier.
        """
        before = bisect_left(self._sequences, sequence)
        after, up_to = self._after[before], self._up_to[before]
        if not may_be_older and microseconds(time) < after - self._tolerance_us:
            signed_us, place = after, "was recorded after"
        elif microseconds(time) > up_to + self._tolerance_us:
            signed_us, place = up_to, "is in"
        else:
            return
        raise LedgerCorrupt(
            f"entry {sequence}: its time is {time.isoformat()}, but {place} a checkpoint that was signed at "
            f"{from_microseconds(int(signed_us)).isoformat()}: it was made up, or the clock was set back "
            "(--clock-tolerance)"
        )
