"""Checks of what a token may do and of the certificate of a server."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final

from dejavu_cli.findings import Finding, fault, ok, warning
from dejavu_client import errors
from dejavu_client.access import ClientTlsFiles
from dejavu_client.client import DejavuClient
from dejavu_client.formatting import pluralize
from dejavu_common.address import Address

_SET_UP: Final = "security.md#set-it-up"

_WHAT_IF: Final = (0.0, 2.0, 1.0)

_PROBES: Final[Mapping[str, Callable[[DejavuClient], object]]] = {
    "read": lambda client: client.get_service_stats(),
    "predict": lambda client: client.predict(_WHAT_IF),
    "record": lambda client: client.report_feed("", 0.0),  # a feed without a name is refused
    "outcome": lambda client: client.release_lease("", ""),  # so is a lease without one
}
"""A call for each scope of `dejavu_server.access.policy` that programs of an evening need."""


def examine_access(client: DejavuClient, anonymous: DejavuClient, *, has_token: bool, local: bool) -> Finding:
    """Return the finding about the token.

    Args:
        client: calls with the token, if there is one.
        anonymous: calls without a token.
        has_token: whether there is a token.
        local: whether the server is on this machine.
    """
    try:
        held = {scope: _holds(probe, client) for scope, probe in _PROBES.items()}
    except errors.UnauthenticatedError as error:
        if not has_token:
            give = "give one: --token-file FILE, or DEJAVU_TOKEN; `dejavu-server token create` makes it"
            return fault("token", "the server asks for a token, and none is given", give, _SET_UP)
        renew = "`dejavu-server token list` shows names and expiries; create a new one, and give it by --token-file"
        return fault("token", f"the server refuses it: {error.message}", renew, _SET_UP)
    return _scopes(held) if has_token and not _answers(anonymous) else _open(has_token=has_token, local=local)


def _holds(probe: Callable[[DejavuClient], object], client: DejavuClient) -> bool | None:
    """Return whether a call has the scope that it needs; None if that cannot be told now.

    Raises:
        UnauthenticatedError: if the server does not accept the token, or there is none.
    """
    try:
        probe(client)
    except errors.UnauthenticatedError:
        raise
    except errors.PermissionDeniedError:
        return False
    except errors.PASSING:
        return None
    except errors.DejavuClientError:
        return True
    return True


def _answers(anonymous: DejavuClient) -> bool:
    try:
        anonymous.get_service_stats()
    except errors.DejavuClientError:
        return False
    return True


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


EXPIRY_DAYS: Final = 14
"""Days before the expiry of a certificate from which it is reported, as by the alert DejavuCredentialExpires."""

_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME: Final = (62, 64)  # of a host, of an IP address
_EXPIRES: Final = "runbook.md#dejavucredentialexpires"
_DAY: Final = 86400


def examine_certificate(address: Address, name: str, files: ClientTlsFiles, timeout: float) -> Finding | None:
    """Make a TLS handshake; return the finding about the server's certificate, None if nothing answers at the address.

    Args:
        address: where the server listens.
        name: the name that the certificate must have.
        files: the client's TLS options.
        timeout: time for connection and handshake, in seconds.
    """
    context = ssl.create_default_context(cafile=files.ca)
    context.set_alpn_protocols(["h2"])
    if files.certificate is not None:
        context.load_cert_chain(files.certificate, files.key)
    try:
        with (
            socket.create_connection(address, timeout) as connection,
            context.wrap_socket(connection, server_hostname=name) as secured,
        ):
            return _expiry((secured.getpeercert() or {}).get("notAfter"))
    except ssl.SSLCertVerificationError as error:
        return _untrusted(error, name, files)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        if error.reason == "WRONG_VERSION_NUMBER":
            return fault("tls", "the server answers in plain text", "leave out --tls, --ca, --cert and --key", _SET_UP)
        compare = "compare --cert with the server's --tls-client-ca"
        return fault("tls", f"the handshake fails: {reason}", compare, _SET_UP)
    except OSError:
        return None


def speaks_tls(address: Address, timeout: float) -> bool:
    """Return whether a server answers a TLS handshake, whatever its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(address, timeout) as connection, context.wrap_socket(connection):
            return True
    except OSError:  # SSLError is one
        return False


def _expiry(not_after: object) -> Finding:
    if not isinstance(not_after, str):
        return ok("tls", "trusted")
    expires = ssl.cert_time_to_seconds(not_after)
    days = int((expires - time.time()) // _DAY)
    text = f"certificate trusted, until {time.strftime('%Y-%m-%d', time.gmtime(expires))} ({pluralize(days, 'day')})"
    if days < EXPIRY_DAYS:
        return warning("tls", text, "replace the files of --tls-cert and --tls-key; no restart is needed", _EXPIRES)
    return ok("tls", text)


def _untrusted(error: ssl.SSLCertVerificationError, name: str, files: ClientTlsFiles) -> Finding:
    if error.verify_code == _EXPIRED:
        renew = "replace the files of --tls-cert and --tls-key; no restart is needed"
        return fault("tls", "the certificate has expired", renew, _EXPIRES)
    if error.verify_code == _NOT_YET_VALID:
        return fault("tls", "the certificate is not valid yet", "set the clocks of both machines", _SET_UP)
    if error.verify_code in _OTHER_NAME:
        named = f"the certificate is for another name than {name}"
        return fault("tls", named, "dial a name of the certificate, or issue one with this name", _SET_UP)
    authorities = "the system's authorities" if files.ca is None else f"{files.ca.name}"
    problem = f"not signed by {authorities}: {error.verify_message}"
    return fault("tls", problem, "give the authority that signed the certificate: --ca FILE", "clients.md#access")
