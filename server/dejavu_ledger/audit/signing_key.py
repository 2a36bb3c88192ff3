"""The ed25519 key that signs checkpoints: a PEM file that only its owner may read, created if missing."""

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

from dejavu_common.files import state_folder, sync
from dejavu_ledger.database.backends import folder_of
from dejavu_ledger.errors import LedgerUnavailable

FILE_NAME = "signing-key.pem"

_MAX_BYTES = 65_536  # a key has 119

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
    return (folder_of(ledger_url) or state_folder()) / FILE_NAME


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """Load the key of a file; create the file with mode 0600 if it is missing.

    If several processes find it missing at once, one creates the key and all use it.

    Raises:
        SigningUnavailable: if the file holds no such key, if others than its owner can access it (except that its group
            may read a file of root), or if it is missing and can't be created.
    """
    try:
        try:
            return _load(path)
        except FileNotFoundError:
            _create(path)
            return _load(path)
    except OSError as error:
        raise SigningUnavailable(f"the signing key can't be used: {error.strerror}") from error


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes of the public key."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def read_public_key(path: Path) -> bytes:
    """Read the 32 bytes of a public key from a file: PEM, or 64 hexadecimal digits.

    Raises:
        ValueError: if the file holds neither.
        OSError: if the file can't be read.
    """
    content = path.read_bytes()[:_MAX_BYTES]
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
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _load(path: Path) -> Ed25519PrivateKey:
    # Check the descriptor, not the path, which may change. O_NONBLOCK: opening a pipe without a writer must not block.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            raise SigningUnavailable("the signing key can't be used: it is not a regular file")
        # Kubernetes mounts a secret as a file of root that the group of the container (fsGroup) may read.
        mounted = status.st_uid == 0 != os.geteuid()
        if mode & (0o037 if mounted else 0o077):
            raise SigningUnavailable(
                f"the signing key can't be used: its file has mode {stat.S_IMODE(mode):04o}, which lets others "
                "access it; expected 0600"
            )
        content = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a password
        raise SigningUnavailable(
            "the signing key can't be used: its file is not a PEM private key without a password"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningUnavailable("the signing key can't be used: it is not an ed25519 key")
    return key


def _create(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    if path.parent == state_folder():  # the folder of a ledger file exists already
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # creates it with mode 0600
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(descriptor)
        # Atomic, and never replaces a key that another process created meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
            sync(path.parent)
            _log.info("signing_key_made", path=str(path), public_key=public_bytes(key).hex())
    finally:
        Path(temporary).unlink(missing_ok=True)
