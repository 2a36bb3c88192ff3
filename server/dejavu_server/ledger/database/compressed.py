"""Compressed parts of snapshots. Their size is bounded, since anybody who can write to the ledger can choose them."""

from __future__ import annotations

import zlib
from typing import Final

from dejavu_server.ledger.errors import LedgerCorrupt

MOST_BYTES: Final = 64 * 2**20
"""Maximum size of a decompressed part. Removed outcomes take up to 400 bytes each, and 1 MB a season."""


def decompress(state: bytes, what: str) -> bytes:
    """Return a part of a snapshot that `zlib.compress` made.

    Args:
        state: the part.
        what: its content, for the error: "pruned outcomes".

    Raises:
        LedgerCorrupt: if it cannot be decompressed, or is then larger than MOST_BYTES.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(state, MOST_BYTES)
    except (zlib.error, TypeError) as error:
        raise LedgerCorrupt(f"the ledger is damaged: the snapshot of {what} cannot be read") from error
    if not stream.eof:
        expected = f"expected a complete one of at most {MOST_BYTES // 2**20} MiB"
        raise LedgerCorrupt(f"the ledger is damaged: the snapshot of {what} is cut off or too large; {expected}")
    return content
