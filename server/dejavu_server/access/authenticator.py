"""Authenticates callers: opaque tokens from a file, or JSON Web Tokens, as `authorization: Bearer TOKEN`.

Verifying a JWT takes 0.1 to 0.6 ms. The callers of verified tokens are therefore cached until they expire, by the hash
of the token, and the hashes of tokens with a wrong signature are cached too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from cachetools import LRUCache

from dejavu_server.access import token_file
from dejavu_server.access.caller import NOBODY, MethodDenied, Principal, Unauthenticated
from dejavu_server.access.files import OnReload, ReloadedFiles, ignore_reload
from dejavu_server.access.policy import PUBLIC, rule_of
from dejavu_server.observability.periodic import PeriodicTask

if TYPE_CHECKING:
    from dejavu_server.access.jwt_tokens import JwtVerifier

LOOK_SECONDS = 1.0
"""Interval of the checks for replaced files, and for streams that outlived their token."""

CACHED_TOKENS = 4096
"""Maximum number of verified JWTs to remember, and of refused ones; those not used for longest are forgotten first."""

MAX_TOKEN = 8192
"""Maximum length of a token, in characters."""

_log = structlog.get_logger(__name__)


class Authenticator:
    """Authenticates and authorizes calls.

    Args:
        tokens: the file of tokens; None without one.
        jwks: the JWKS file; None without one.
        issuer, audience: required claims of JWTs; see JwtVerifier.
        clock: returns the current time, in seconds since 1970.
        on_reload: called after a file was replaced, with its kind (tokens, jwks) and whether it could be used.

    Raises:
        AccessFileError: if a file cannot be used.
    """

    def __init__(
        self,
        tokens: Path | None,
        jwks: Path | None,
        issuer: str = "",
        audience: str = "",
        clock: Callable[[], float] = time.time,
        on_reload: OnReload = ignore_reload,
    ) -> None:
        self._clock = clock
        self._callers: dict[bytes, Principal] = {}
        self._verifier: JwtVerifier | None = None
        self._verified: LRUCache[bytes, Principal] = LRUCache(CACHED_TOKENS)
        self._refused: LRUCache[bytes, str] = LRUCache(CACHED_TOKENS)  # with the reasons
        self._watch: PeriodicTask | None = None
        self._tokens: ReloadedFiles[dict[bytes, Principal]] | None = None
        self._jwks: ReloadedFiles[JwtVerifier] | None = None
        if tokens is not None:
            self._tokens = ReloadedFiles("tokens", [tokens], lambda: token_file.load(tokens).callers(), on_reload)
            self._callers = self._tokens.content
        if jwks is not None:
            self._jwks = ReloadedFiles("jwks", [jwks], partial(_verifier, jwks, issuer, audience), on_reload)
            self._verify_by(self._jwks.content)

    def authorize(self, method: str, authorization: str | bytes | None) -> Principal:
        """Return the caller of a method; NOBODY if the method needs no token.

        Args:
            method: path of the method.
            authorization: value of the call's `authorization` metadata; None if it has none.

        Raises:
            Unauthenticated: if the call has no valid token.
            ScopeMissing: if its token lacks a scope of the method.
            MethodDenied: if the method is not in the policy.
        """
        needed = rule_of(method).scopes
        if needed is PUBLIC:
            return NOBODY
        caller = self._authenticate(authorization)
        if not needed:  # not in the table
            raise MethodDenied(f"no token allows calls of {method}")
        caller.require(needed, f"call {method.rpartition('/')[2]}")
        return caller

    def is_valid(self, caller: Principal) -> bool:
        """Return whether a caller's token is still valid with the same scopes: neither expired, revoked nor changed.

        After a change of the JWKS file, no earlier caller with a JWT is valid: its key may have been withdrawn. A
        caller with a valid token can call again.
        """
        if caller.expires is not None and caller.expires <= self._clock():
            return False
        if caller.credential in self._callers:
            return self._callers[caller.credential] == caller
        return self._verifier is not None and caller.keys is self._verifier.keys

    def next_expiry(self) -> float:
        """Return when the next token of the file expires, in seconds since 1970; infinity if none does."""
        now = self._clock()
        times = (each.expires for each in self._callers.values() if each.expires is not None)
        return min((time for time in times if time > now), default=math.inf)

    def start(self, on_look: Callable[[], None]) -> None:
        """Look for replaced files every LOOK_SECONDS, in a task; call `on_look` each time."""

        async def look() -> None:
            await self._reload()
            on_look()

        self._watch = PeriodicTask("access-files", LOOK_SECONDS, look)
        self._watch.start()

    async def close(self) -> None:
        """Stop looking. Safe to call more than once."""
        if self._watch is not None:
            await self._watch.close()

    def _authenticate(self, authorization: str | bytes | None) -> Principal:
        if not isinstance(authorization, str):
            raise Unauthenticated("the call has no token; expected metadata 'authorization: Bearer TOKEN'")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN:
            raise Unauthenticated("the metadata 'authorization' has another form than 'Bearer TOKEN'")
        credential = token_file.digest(token)
        caller = self._callers.get(credential) or self._verified.get(credential) or self._verify(token, credential)
        if caller.expires is not None and caller.expires <= self._clock():
            self._verified.pop(credential, None)
            raise Unauthenticated("the token has expired", expired=caller.identity)
        return caller

    def _verify(self, token: str, credential: bytes) -> Principal:
        # JWTs have two dots. Other tokens are not verified as JWTs, so that the reason names the right kind.
        if self._verifier is None or token.count(".") != 2:
            raise Unauthenticated("the token is not known to this server, or was revoked")
        if (reason := self._refused.get(credential)) is not None:
            raise Unauthenticated(reason)
        try:
            caller = self._verifier.verify(token, credential)
        except Unauthenticated as error:
            if error.forged:
                self._refused[credential] = str(error)
            raise
        self._verified[credential] = caller
        return caller

    def _verify_by(self, verifier: JwtVerifier) -> None:
        """Verify JWTs by other keys."""
        self._verifier = verifier
        self._verified.clear()
        self._refused.clear()

    async def _reload(self) -> None:
        """Load the files that were replaced."""
        if self._tokens is not None and await self._tokens.reload():
            self._callers = self._tokens.content
        if self._jwks is not None and await self._jwks.reload():
            self._verify_by(self._jwks.content)


def _verifier(jwks: Path, issuer: str, audience: str) -> JwtVerifier:
    """Return what verifies JWTs by the keys of a file.

    Raises:
        AccessFileError: if the file cannot be used.
    """
    # Most servers have no JWKS file, and importing PyJWT and cryptography would take a tenth of the time of all
    # imports.
    from dejavu_server.access.jwt_tokens import JwtVerifier  # noqa: PLC0415

    verifier = JwtVerifier(jwks, issuer, audience)
    if not verifier.keys:
        _log.warning("access_without_keys", path=str(jwks), effect="no JSON Web Token is accepted")
    return verifier
