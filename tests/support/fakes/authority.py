"""A certificate authority for tests: issues certificates for TLS and keys for JSON Web Tokens, as files."""

from __future__ import annotations

import ipaddress
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dejavu_common.clock import utc_now


class Pair(NamedTuple):
    """Paths of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder.

    Attributes:
        certificate: path of its own certificate.
    """

    def __init__(self, folder: Path, name: str = "Test Authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._signed(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=0))
        self.certificate = folder / f"{name.replace(' ', '-').lower()}.pem"
        self.certificate.write_bytes(own.public_bytes(Encoding.PEM))

    def issue(self, name: str) -> Pair:
        """Writes a certificate for 127.0.0.1 and localhost, and its key; replaces those of the same name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        hosts = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        certificate = self._signed(subject, key.public_key(), hosts)
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for path, content in ((pair.key, private), (pair.certificate, certificate.public_bytes(Encoding.PEM))):
            new = path.with_suffix(".new")
            new.write_bytes(content)
            new.chmod(0o600)
            new.replace(path)
        return pair

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = utc_now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(self._key, hashes.SHA256())
        )


class TokenIssuer:
    """Signs JSON Web Tokens.

    Attributes:
        jwks: path of the file of its public keys.
    """

    ISSUER = "https://issuer.example"
    AUDIENCE = "dejavu"

    def __init__(self, folder: Path, key_id: str = "one") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = key_id
        self.jwks = folder / "jwks.json"
        self.publish()

    def publish(self) -> None:
        """Writes its public key to the JWKS file, in place of those in it."""
        key = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        new = self.jwks.with_suffix(".new")
        new.write_text(json.dumps({"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": "ES256"}]}))
        new.replace(self.jwks)

    def sign(self, subject: str = "alice", scope: str = "read", *, seconds: float = 600.0, **claims: Any) -> str:
        """Returns a token; `claims` replace or add claims, None removes one."""
        now = utc_now()
        content = {
            "sub": subject,
            "scope": scope,
            "iss": self.ISSUER,
            "aud": self.AUDIENCE,
            "exp": (now + timedelta(seconds=seconds)).timestamp(),
            **claims,
        }
        present = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(present, self._key, algorithm="ES256", headers={"kid": self._key_id})
