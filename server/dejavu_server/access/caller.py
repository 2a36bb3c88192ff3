"""Who calls: identity and scopes."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dejavu_models.errors import DejavuError


class AccessScope(enum.Enum):
    """Permission of a token."""

    READ = "read"
    """Read the record: forecasts, streams, scorecards, checkpoints, models."""

    PREDICT = "predict"
    """Request forecasts that are not recorded, and risk assessments."""

    RECORD = "record"
    """Record the forecasts of named games, and markets with them; needs `PREDICT` too."""

    OUTCOME = "outcome"
    """Report and withdraw outcomes, from which the models learn, and take the lease of the leading poller."""

    MODELS = "models"
    """Register models, and change which of them answers."""

    ADMIN = "admin"
    """Inspect the server itself."""


ALL_SCOPES = frozenset(AccessScope)


class Unauthenticated(DejavuError, reason="UNAUTHENTICATED", category="UNAUTHENTICATED"):
    """The call has no valid token.

    Args:
        message: why it is not valid.
        forged: whether its signature does not match its key, so that the token will never become valid.
        expired: name of the token, if it was valid once; for the log.
    """

    def __init__(self, message: str, *, forged: bool = False, expired: str = "") -> None:
        super().__init__(message)
        self.forged = forged
        self.expired = expired


class MethodDenied(DejavuError, reason="METHOD_DENIED", category="PERMISSION_DENIED"):
    """No token allows the method: it is not in the policy."""


class ScopeMissing(DejavuError, reason="SCOPE_MISSING", category="PERMISSION_DENIED"):
    """The token of the call lacks a scope.

    Args:
        caller: identity of the caller.
        scope: the scope that it lacks, as callers see it.
        action: action that needs the scope.
    """

    def __init__(self, caller: str, scope: str, action: str) -> None:
        super().__init__(f"{caller} may not {action}: its token lacks the scope {scope!r}")
        self.caller = caller
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that was authenticated.

    Attributes:
        identity: `token:NAME` or `jwt:SUBJECT`; empty if the server requires no tokens.
        scopes: its scopes.
        expires: when its credential ends, in seconds since 1970; None: never.
        credential: SHA-256 of its token; empty without one.
        keys: the keys that verified its token, if that is a JWT.
    """

    identity: str
    scopes: frozenset[AccessScope]
    expires: float | None = None
    credential: bytes = b""
    keys: object = field(default=None, repr=False, compare=False)

    def require(self, scopes: Iterable[AccessScope], action: str) -> None:
        """Check that the caller has all of the scopes.

        Args:
            scopes: the scopes.
            action: action that needs them, for the message.

        Raises:
            ScopeMissing: if the caller lacks one of the scopes.
        """
        for scope in scopes:
            if scope not in self.scopes:
                raise ScopeMissing(self.identity, scope.value, action)


NO_CALLER: Final = "none"
"""Name of the caller of calls without a token, for metrics."""


class CallerLabels:
    """Names of callers for metrics, limited in number.

    Args:
        limit: maximum number of token names; further tokens are called "other".
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._labels: dict[str, str] = {}

    def of(self, identity: str) -> str:
        """Return the name of a token; NO_CALLER without a caller, "other" for a JWT and for tokens beyond the limit."""
        label = self._labels.get(identity)
        if label is not None:
            return label
        kind, _, name = identity.partition(":")
        if not name:
            return NO_CALLER
        if kind != "token" or len(self._labels) >= self._limit:
            return "other"
        self._labels[identity] = name
        return name


ANYBODY = Principal("", ALL_SCOPES)
"""Every caller of a server that requires no tokens."""

NOBODY = Principal("", frozenset())
"""The caller of methods that need no token."""
