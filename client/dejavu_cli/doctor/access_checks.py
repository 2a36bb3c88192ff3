"""Whether a server accepts a token, and for which scopes: by calls that change nothing.

A scope is checked before a request is: a request that is refused as invalid had the scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from dejavu_cli.doctor.findings import Finding, fault, ok, warning
from dejavu_client.client import DejavuClient
from dejavu_client.errors import PASSING, DejavuClientError, PermissionDeniedError, UnauthenticatedError

_SET_UP: Final = "security.md#set-it-up"

_WHAT_IF: Final = (0.0, 2.0, 1.0)

_PROBES: Final[Mapping[str, Callable[[DejavuClient], object]]] = {
    "read": lambda client: client.get_service_stats(),
    "predict": lambda client: client.predict(_WHAT_IF),
    "record": lambda client: client.report_feed("", 0.0),  # a feed without a name is refused
    "outcome": lambda client: client.release_lease("", ""),  # so is a lease without one
}
"""A call for each scope of `dejavu_server.access.policy` that programs of an evening need."""


def examine_access(client: DejavuClient, anonymous: DejavuClient, *, has_token: bool, local: bool) -> Iterator[Finding]:
    """Yield the findings about the token.

    Args:
        client: calls with the token, if there is one.
        anonymous: calls without a token.
        has_token: whether there is a token.
        local: whether the server is on this machine.
    """
    held: dict[str, bool | None] = {}
    for scope, probe in _PROBES.items():
        try:
            held[scope] = _holds(probe, client)
        except UnauthenticatedError as error:
            yield _unauthenticated(error, has_token=has_token)
            return
    if not has_token or _answers(anonymous):
        yield _open(has_token=has_token, local=local)
        return
    yield _scopes(held)


def _holds(probe: Callable[[DejavuClient], object], client: DejavuClient) -> bool | None:
    """Return whether a call has the scope that it needs; None if that cannot be told now.

    Raises:
        UnauthenticatedError: if the server does not accept the token, or there is none.
    """
    try:
        probe(client)
    except UnauthenticatedError:
        raise
    except PermissionDeniedError:
        return False
    except PASSING:
        return None
    except DejavuClientError:
        return True
    return True


def _answers(anonymous: DejavuClient) -> bool:
    try:
        anonymous.get_service_stats()
    except DejavuClientError:
        return False
    return True


def _unauthenticated(error: UnauthenticatedError, *, has_token: bool) -> Finding:
    if not has_token:
        give = "give one: --token-file FILE, or DEJAVU_TOKEN; `dejavu-server token create` makes it"
        return fault("token", "the server asks for a token, and none is given", give, _SET_UP)
    renew = "`dejavu-server token list` shows names and expiries; create a new one, and give it by --token-file"
    return fault("token", f"the server refuses it: {error.message}", renew, _SET_UP)


def _open(*, has_token: bool, local: bool) -> Finding:
    message = "none needed: every program that reaches the server may call everything"
    if has_token:
        message = f"{message}; the one given is ignored"
    if local:
        return ok("token", message)
    return warning("token", message, "start the server with --tokens FILE", _SET_UP)


def _scopes(held: Mapping[str, bool | None]) -> Finding:
    has = ", ".join(scope for scope, holds in held.items() if holds) or "no scope"
    lacks = [scope for scope, holds in held.items() if holds is False]
    unknown = [scope for scope, holds in held.items() if holds is None]
    message = f"has {has}" + (f"; lacks {', '.join(lacks)}" if lacks else "")
    if "read" in lacks:
        more = "without read, the checks of statistics, record, models and games are left out; give a token with it"
        return fault("token", message, more, _SET_UP)
    if unknown:
        again = "run it again once the server answers these calls"
        return warning("token", f"{message}; not known: {', '.join(unknown)}", again, "clients.md#errors")
    if lacks:
        needs = "a poller needs all four, a page read and predict; `dejavu-server token create NAME --scope …`"
        return warning("token", message, needs, _SET_UP)
    return ok("token", message)
