"""An issuer of JSON Web Tokens for tests, with its JWKS file."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from dejavu_common.clock import utc_now


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
        """Write its public key to the JWKS file, in place of those in it."""
        key = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        new = self.jwks.with_suffix(".new")
        new.write_text(json.dumps({"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": "ES256"}]}))
        new.replace(self.jwks)

    def sign(self, subject: str = "alice", scope: str = "read", *, seconds: float = 600.0, **claims: Any) -> str:
        """Return a token; `claims` replace or add claims, None removes one."""
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
