"""Builds the access control of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.files import OnReload, ignore_reload
from dejavu_server.settings import Settings

if TYPE_CHECKING:
    from dejavu_server.access.tls import TlsCredentials


def authenticator(settings: Settings, on_reload: OnReload = ignore_reload) -> Authenticator | None:
    """Return the authenticator of calls; None if the settings require no tokens.

    Args:
        settings: the settings.
        on_reload: called when a file was replaced.

    Raises:
        AccessFileError: if a file cannot be used.
    """
    if not (settings.tokens or settings.jwks):
        return None
    return Authenticator(
        _path(settings.tokens),
        _path(settings.jwks),
        settings.jwt_issuer,
        settings.jwt_audience,
        on_reload=on_reload,
    )


def tls_credentials(settings: Settings, on_reload: OnReload) -> TlsCredentials | None:
    """Return the TLS credentials of the port; None if the settings ask for plain text.

    Args:
        settings: the settings.
        on_reload: called when a file was replaced.

    Raises:
        AccessFileError: if a file cannot be used.
    """
    certificate, key = _path(settings.tls_cert), _path(settings.tls_key)
    if certificate is None or key is None:
        return None
    from dejavu_server.access.tls import TlsCredentials, TlsFiles  # noqa: PLC0415 - it loads the parsers of X.509

    return TlsCredentials(TlsFiles(certificate, key, _path(settings.tls_client_ca)), on_reload)


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None
