"""The ed25519 key that signs checkpoints: a PEM file that only its owner may read, made where there is none."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from dejavu_server.ledger.database.sqlite import database_path
from dejavu_server.ledger.errors import LedgerUnavailable

FILE_NAME = "signing-key.pem"

_MOST_BYTES = 65_536  # a key has 119

_log = structlog.get_logger(__name__)


class SigningUnavailable(LedgerUnavailable):
    """There is no key to sign checkpoints with; once the file is mended, there is, without a restart."""

    reason = "SIGNING_UNAVAILABLE"


def key_path(ledger_url: str, signing_key: str = "") -> Path:
    """Where the key of a ledger lies: the path that a setting names, else in the ledger's folder.

    Raises:
        InvalidLedgerUrl: if the URL can't name a ledger.
    """
    return Path(signing_key).expanduser() if signing_key else database_path(ledger_url).parent / FILE_NAME


def load_or_make(path: Path) -> Ed25519PrivateKey:
    """The key of a file, which is made with mode 0600 where there is none.

    Of several processes that find none at once, one makes it and all use that one.

    Raises:
        SigningUnavailable: if the file is there and no such key, or others than its owner may read it; or if it is not
            there and can't be made.
    """
    try:
        try:
            return _load(path)
        except FileNotFoundError:
            _make(path)
            return _load(path)
    except OSError as error:
        raise SigningUnavailable(f"the signing key can't be used: {error.strerror}") from error


def load(path: Path) -> Ed25519PrivateKey:
    """The key of a file.

    Raises:
        SigningUnavailable: if there is none, or as for `load_or_make`.
    """
    try:
        return _load(path)
    except OSError as error:
        raise SigningUnavailable(f"the signing key can't be used: {error.strerror}") from error


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of its public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of a public key's file: PEM, or 64 hexadecimal digits.

    Raises:
        ValueError: if it holds neither.
        OSError: if it can't be read.
    """
    content = path.read_bytes()[:_MOST_BYTES]
    with contextlib.suppress(ValueError):  # UnicodeDecodeError too
        key = bytes.fromhex(content.decode("ascii"))
        if len(key) == 32:
            return key
    try:
        public = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{path}: not a public key; expected PEM or 64 hexadecimal digits") from None
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError(f"{path}: a public key of another kind; expected ed25519")
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _load(path: Path) -> Ed25519PrivateKey:
    # Whatever is asked is asked of the file that is then read; a pipe without a writer must not keep it waiting.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SigningUnavailable("the signing key can't be used: it is not a regular file")
        if mode & 0o077:
            raise SigningUnavailable(
                f"the signing key can't be used: its file has mode {stat.S_IMODE(mode):04o}, open to others than its "
                "owner; expected 0600"
            )
        content = os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it asks for a password
        raise SigningUnavailable(
            "the signing key can't be used: its file holds no PEM private key without a password"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningUnavailable("the signing key can't be used: it is of another kind than ed25519")
    return key


def _make(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - likewise
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(handle)
        # Whole or not at all, and never over one that another process made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
            _sync(path.parent)
            _log.info("signing_key_made", path=str(path), public_key=public_bytes(key).hex())
    finally:
        Path(beside).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Has a new name in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
