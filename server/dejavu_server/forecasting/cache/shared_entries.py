"""What one answer looks like in a cache that servers share: its key, and a value that others cannot make up or move.

Whoever may write to that cache could otherwise choose what servers answer. The value carries a message authentication
code (keyed BLAKE2b) over key and answer, so with a secret that only the servers have, bytes of others count as missing.
Without a secret the code is a checksum: it recognizes damage and foreign data, not intent.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from dejavu_server.forecasting.cache.memory import MAX_ANSWER

PREFIX: Final = b"dejavu:what-if:"

TOKEN_KEY: Final = b"dejavu:cache:token"
"""Key of the token that names the content of the cache."""

_MAGIC: Final = b"DJV1"
_CODE_BYTES: Final = 32
_KEY_PERSON: Final = b"dejavu-wi-key"
_CODE_PERSON: Final = b"dejavu-wi-mac"


class SharedEntries:
    """Makes and reads entries.

    Args:
        fingerprint: what determines the answers of this server; see `fingerprint`.
        secret: secret of the servers that share the cache, at most 64 bytes; empty for none.
    """

    def __init__(self, fingerprint: bytes, secret: bytes) -> None:
        self._fingerprint = fingerprint
        self._secret = secret

    def key(self, request: bytes, *parts: bytes) -> bytes:
        """Returns the key of the answer to a request while the parts, which also determine it, are these."""
        digest = hashlib.blake2b(key=self._secret, digest_size=24, person=_KEY_PERSON)
        for part in (self._fingerprint, *parts, request):
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
        return PREFIX + digest.hexdigest().encode()

    def value(self, key: bytes, answer: bytes) -> bytes:
        """Returns the value for a key."""
        return _MAGIC + self._code(key, answer) + answer

    def answer(self, key: bytes, value: bytes) -> bytes:
        """Returns the answer of a value.

        Raises:
            ValueError: if it was not made by `value` for that key with this secret.
        """
        start = len(_MAGIC) + _CODE_BYTES
        code, answer = value[len(_MAGIC) : start], value[start:]
        if not value.startswith(_MAGIC) or len(answer) > MAX_ANSWER:
            raise ValueError("not an answer of this release")
        if not hmac.compare_digest(code, self._code(key, answer)):
            raise ValueError("the code does not match: damaged, moved, or made with another secret")
        return answer

    def _code(self, key: bytes, answer: bytes) -> bytes:
        digest = hashlib.blake2b(key, key=self._secret, digest_size=_CODE_BYTES, person=_CODE_PERSON)
        digest.update(answer)
        return digest.digest()
