"""TLS of the server: a certificate and its key, and for mutual TLS the authorities of client certificates.

The files may be replaced while the server runs; new connections use the new files. gRPC requests the certificate on its
own threads at every handshake, so a task reads the files in advance.
"""

from __future__ import annotations

import ssl
import stat
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from dejavu_common.clock import utc_now
from dejavu_server.access import files
from dejavu_server.access.files import AccessFileError, OnReload, ReloadedFiles, ignore_reload
from dejavu_server.observability.periodic import PeriodicTask

LOOK_SECONDS = 1.0
"""Interval of the checks for replaced files."""

_SOON = timedelta(days=14)
"""Time before the expiry of a certificate at which it is logged, as by the alert DejavuCredentialExpires."""

_log = structlog.get_logger(__name__)


class TlsFiles(NamedTuple):
    """Paths of PEM files.

    Attributes:
        certificate: the server's certificate, followed by those of its issuers.
        key: its private key, without a password.
        client_authorities: certificates of the authorities that must have issued the clients' certificates; None:
            clients need no certificate.
    """

    certificate: Path
    key: Path
    client_authorities: Path | None = None


class TlsCredentials(PeriodicTask):
    """Credentials of a port that follow their files: every LOOK_SECONDS, checks whether a file was replaced.

    Args:
        paths: the files.
        on_reload: called after files were replaced, with "tls" and whether they could be used.

    Raises:
        AccessFileError: if the files cannot be used.
    """

    def __init__(self, paths: TlsFiles, on_reload: OnReload = ignore_reload) -> None:
        super().__init__("tls-files", LOOK_SECONDS, self._reload)
        given = [path for path in paths if path is not None]
        self._files = ReloadedFiles("tls", given, partial(_load, paths), on_reload)
        self._current, self._expires = self._files.content
        self._fetched: object = self._current
        self.credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._current,
            self._fetch,  # type: ignore[arg-type]  # the stubs do not know that it may return None
            require_client_authentication=paths.client_authorities is not None,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration, None if there is none; called by gRPC before each handshake."""
        current = self._current
        if current is self._fetched:
            return None
        self._fetched = current
        return current

    def next_expiry(self) -> float:
        """Return when the first certificate of the server's chain expires, in seconds since 1970."""
        return self._expires

    async def _reload(self) -> None:
        if await self._files.reload():
            self._current, self._expires = self._files.content


def _load(paths: TlsFiles) -> tuple[grpc.ServerCertificateConfiguration, float]:
    """Read and check the files; gRPC would accept any bytes here and then fail every handshake.

    Returns:
        The configuration, and when the first of its certificates expires, in seconds since 1970.

    Raises:
        AccessFileError: if a file cannot be used, or the key does not belong to the certificate.
    """
    certificate, key = files.read(paths.certificate), files.read(paths.key)
    if paths.key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("tls_key_readable", path=str(paths.key), advice="give it mode 0600")
    try:
        public = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: the key needs a password
        raise AccessFileError(f"{paths.key}: not a private key in PEM; expected an unencrypted one") from None
    try:
        chain = x509.load_pem_x509_certificates(certificate)
        own = chain[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise AccessFileError(f"{paths.certificate}: not a PEM certificate") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if own.public_bytes(*form) != public.public_bytes(*form):
        raise AccessFileError(f"{paths.key}: not the key of the certificate in {paths.certificate}")
    authorities = None
    if paths.client_authorities is not None:
        authorities = files.read(paths.client_authorities)
        try:
            ssl.create_default_context(cadata=authorities.decode("ascii"))
        except (ValueError, ssl.SSLError):
            raise AccessFileError(f"{paths.client_authorities}: not PEM certificates") from None
    expires = min(each.not_valid_after_utc for each in chain)
    if expires - utc_now() < _SOON:
        _log.warning("tls_expires", certificate=str(paths.certificate), expires=expires.isoformat())
    configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authorities)
    return configuration, expires.timestamp()
