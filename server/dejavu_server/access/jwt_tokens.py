"""Verifies JSON Web Tokens (RFC 7519) with the public keys of a JWKS file (RFC 7517)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt

from dejavu_server.access import files
from dejavu_server.access.caller import AccessScope, Principal, Unauthenticated
from dejavu_server.access.files import AccessFileError

ALGORITHMS: Final = ("ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
"""Algorithms with a public key. Algorithms with a shared secret are excluded: anybody who reads the server's file could
sign tokens."""

LEEWAY_SECONDS: Final = 30.0
"""Tolerated difference of the issuer's clock."""

MAX_SUBJECT: Final = 128
"""Maximum length of a subject; the ledger records the subject with the entries of its caller."""


class JwtVerifier:
    """Verifies tokens.

    Args:
        path: the JWKS file.
        issuer: the `iss` that tokens must have.
        audience: the `aud` that tokens must name.

    Raises:
        AccessFileError: if the file cannot be used.

    Attributes:
        keys: its keys, by id.
    """

    def __init__(self, path: Path, issuer: str, audience: str) -> None:
        self.keys = _keys(path)
        self._issuer = issuer
        self._audience = audience

    def verify(self, token: str, credential: bytes) -> Principal:
        """Return the caller that a token names.

        Args:
            token: the token; its claims `sub` and `exp` are required. `scope` (RFC 8693) lists its scopes; unknown ones
                are ignored.
            credential: SHA-256 of the token.

        Raises:
            Unauthenticated: if the token is not valid; the message says why, without the token.
        """
        try:
            key = self._key(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],  # the algorithm that the key names, never the one that the token names
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
            expires = float(claims["exp"]) + LEEWAY_SECONDS
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired") from None
        except jwt.InvalidSignatureError:
            raise Unauthenticated("the token is not signed by its key", forged=True) from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise Unauthenticated(f"the token is not valid: {type(error).__name__}") from None
        subject = claims["sub"]
        if not (subject.isprintable() and subject.isascii() and 0 < len(subject) <= MAX_SUBJECT):
            raise Unauthenticated(f"the subject of the token is not 1 to {MAX_SUBJECT} printable ASCII characters")
        return Principal(f"jwt:{subject}", _scopes(claims.get("scope")), expires, credential, self.keys)

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        name = header.get("kid")
        if name is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys[str(name)]


def _keys(path: Path) -> dict[str, jwt.PyJWK]:
    """Return the keys of a JWKS file by their id; keys that are not for signatures with a public key are left out.

    A set without keys is valid too (RFC 7517): the issuer has withdrawn all of its keys.
    """
    try:
        listed = json.loads(files.read(path))["keys"]
        keys = {}
        for each in listed:
            if each.get("use", "sig") != "sig" or each.get("kty") == "oct":
                continue
            key = jwt.PyJWK(each)
            if key.algorithm_name in ALGORITHMS:
                keys[str(key.key_id)] = key
    except (ValueError, TypeError, KeyError, AttributeError, jwt.PyJWTError, RecursionError) as error:
        raise AccessFileError(f"{path}: not a JWKS file: {type(error).__name__}") from None
    return keys


def _scopes(claim: object) -> frozenset[AccessScope]:
    named = set(claim.split()) if isinstance(claim, str) else set()
    return frozenset(scope for scope in AccessScope if scope.value in named)
