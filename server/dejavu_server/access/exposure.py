"""Checks that the access control in the settings suffices for the server's address. Imports no gRPC."""

from __future__ import annotations

import ipaddress
import socket

from dejavu_common.address import Address
from dejavu_server.settings import Settings


def fault(settings: Settings) -> tuple[str, str] | None:
    """Return the option that has to change, and why; None if access is configured well."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        option, other = ("--tls-key", "--tls-cert") if settings.tls_cert else ("--tls-cert", "--tls-key")
        return option, f"needed with {other}"
    if settings.tls_client_ca and not settings.tls_cert:
        return "--tls-cert", "needed with --tls-client-ca"
    for option, given in (("--jwt-issuer", settings.jwt_issuer), ("--jwt-audience", settings.jwt_audience)):
        if bool(given) != bool(settings.jwks):
            return (option, "needed with --jwks") if settings.jwks else ("--jwks", f"needed with {option}")
    if settings.insecure or is_loopback(Address.parse(settings.listen).host):
        return None
    tokens = bool(settings.tokens or settings.jwks)
    missing = [name for name, given in (("TLS", settings.tls_cert), ("tokens", tokens)) if not given]
    if not missing:
        return None
    danger = {
        "TLS": "others on the network can read and change what passes",
        "tokens": "everybody who reaches the port can record games and report outcomes",
    }
    options = {"TLS": "--tls-cert and --tls-key", "tokens": "--tokens or --jwks"}
    return "--listen", (
        f"{settings.listen} can be reached from other machines, and the server has no {' and no '.join(missing)}: "
        f"{'; '.join(danger[name] for name in missing)}. Add {' and '.join(options[name] for name in missing)} (see "
        "docs/security.md), listen on 127.0.0.1, or accept this with --insecure"
    )


def is_loopback(host: str) -> bool:
    """Return whether a host can be reached from this machine only: all of its addresses are loopback addresses."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in found)
