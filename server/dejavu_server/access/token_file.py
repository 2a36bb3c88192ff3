"""The file of tokens: names, scopes and hashes, never the tokens themselves.

    {"tokens": [{"name": "poller", "scopes": ["predict", "record"], "sha256": "…", "created": "2026-11-21T18:00:00Z",
                 "expires": null, "revoked": null}]}

A token is 32 random bytes, so its SHA-256 can be neither guessed nor inverted, and needs no slow password hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from dejavu_common.files import atomic_replace, sync
from dejavu_server.access import files
from dejavu_server.access.caller import AccessScope, Principal
from dejavu_server.access.files import AccessFileError

PREFIX = "djv_"
"""Start of every token, by which scanners for leaked secrets recognize one."""

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"

_RANDOM_BYTES = 32


class Token(BaseModel):
    """An entry of the file.

    Attributes:
        name: name of its holder; unique among the entries that are not revoked.
        scopes: its scopes.
        sha256: SHA-256 of the token, in hexadecimal.
        created, expires, revoked: aware; `expires` None: never, `revoked` None: not revoked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
    scopes: Annotated[tuple[AccessScope, ...], Field(min_length=1)]
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    def state(self, now: datetime) -> str:
        """Return "valid", "expired" or "revoked"."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"

    def caller(self) -> Principal:
        """Return the caller that the token stands for."""
        expires = None if self.expires is None else self.expires.timestamp()
        return Principal(f"token:{self.name}", frozenset(self.scopes), expires, bytes.fromhex(self.sha256))


class TokenDocument(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[Token, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> TokenDocument:
        names = [token.name for token in self.tokens if token.revoked is None]
        if len(set(names)) < len(names):
            raise ValueError("two tokens that are not revoked have the same name")
        return self

    def callers(self) -> dict[bytes, Principal]:
        """Return the callers by SHA-256 of their token, without revoked ones."""
        callers = (token.caller() for token in self.tokens if token.revoked is None)
        return {caller.credential: caller for caller in callers}


def digest(token: str) -> bytes:
    """Return the SHA-256 of a token, 32 bytes."""
    return hashlib.sha256(token.encode()).digest()


def load(path: Path) -> TokenDocument:
    """Read a file of tokens.

    Raises:
        AccessFileError: if it cannot be read, or is not a file of tokens; the message says where it is wrong.
    """
    content = files.read(path)
    try:
        return TokenDocument.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise AccessFileError(f"{path}: not a file of tokens: {place and place + ': '}{fault['msg']}") from None


def create(
    path: Path, name: str, scopes: tuple[AccessScope, ...], now: datetime, expires: datetime | None = None
) -> str:
    """Add a new token to a file, and return the token, which is stored nowhere. Creates the file if it is missing.

    Raises:
        ValueError: if the name is invalid, or a token of this name exists that is not revoked.
        AccessFileError, OSError: if the file cannot be read or written.
    """
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    with _changing(path) as tokens:
        if any(each.name == name and each.revoked is None for each in tokens):
            raise ValueError(f"a token named {name!r} exists; revoke it first, or use another name")
        try:
            tokens.append(
                Token(name=name, scopes=scopes, sha256=digest(token).hex(), created=now, expires=expires, revoked=None)
            )
        except ValidationError:
            raise ValueError(
                f"{name!r} is not a name of a token; expected up to 64 letters, digits, '.', '_', '@' and '-'"
            ) from None
    return token


def revoke(path: Path, name: str, now: datetime) -> None:
    """Mark the token of a name as revoked; a running server refuses it within two seconds.

    Raises:
        ValueError: if there is no such token, or it is revoked already.
        AccessFileError, OSError: if the file cannot be read or written.
    """
    with _changing(path) as tokens:
        place = next((i for i, each in enumerate(tokens) if each.name == name and each.revoked is None), None)
        if place is None:
            raise ValueError(f"no token named {name!r} that is not revoked; `token list` shows them")
        tokens[place] = tokens[place].model_copy(update={"revoked": now})


@contextmanager
def _changing(path: Path) -> Iterator[list[Token]]:
    """Yield the tokens of a file and write them back, with mode 0600; one process at a time."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        tokens = list(load(path).tokens) if path.exists() else []
        yield tokens
        content = TokenDocument(tokens=tuple(tokens)).model_dump_json(indent=1).encode() + b"\n"
        with atomic_replace(path, durable=True) as new:
            new.touch(0o600, exist_ok=False)  # before anything is in it
            new.write_bytes(content)
        sync(path.parent)
    finally:
        os.close(folder)
