"""Certificates of an authority that exists for one test."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dejavu_common.files import atomic_replace


@dataclass(frozen=True)
class KeyPair:
    """Files of a certificate and its key, in PEM format."""

    certificate: Path
    key: Path

    def contents(self) -> tuple[bytes, bytes]:
        """Return key and certificate, in the order in which gRPC takes them."""
        return self.key.read_bytes(), self.certificate.read_bytes()


class Authority:
    """Signs certificates for `localhost` and 127.0.0.1; writes all files into a folder.

    Attributes:
        certificate: file of the authority's own certificate.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(own)

    def issue(self, name: str, valid: timedelta = timedelta(hours=1)) -> KeyPair:
        """Issue a certificate, for a server or a client; replace the files of an earlier one of this name.

        Args:
            name: its name, and that of its files.
            valid: time from now until it expires; negative: it has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        local = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        pair = KeyPair(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signed = self._signed(subject, key.public_key(), local, valid)
        for path, content in ((pair.key, private), (pair.certificate, signed)):
            with atomic_replace(path) as new:
                new.touch(mode=0o600)
                new.write_bytes(content)
        return pair

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extension: x509.ExtensionType,
        valid: timedelta = timedelta(hours=1),
    ) -> bytes:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + valid)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)
