"""Why a TLS handshake fails, and when a server's certificate expires: gRPC tells neither."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final

from dejavu_cli.doctor.findings import Finding, fault, ok, warning
from dejavu_client.access import ClientTlsFiles
from dejavu_client.formatting import pluralize
from dejavu_common.address import Address

EXPIRY_DAYS: Final = 14
"""Days before the expiry of a certificate from which it is reported, as by the alert DejavuCredentialExpires."""

_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME: Final = (62, 64)  # of a host, of an IP address
_EXPIRES: Final = "runbook.md#dejavucredentialexpires"
_SET_UP: Final = "security.md#set-it-up"
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
        return fault(
            "tls", f"the handshake fails: {reason}", "compare --cert with the server's --tls-client-ca", _SET_UP
        )
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
