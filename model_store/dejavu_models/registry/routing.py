"""A/B routing: which of several models answers for a game, by a hash of its id, the same on every server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def arm(shares: Sequence[tuple[str, float]], game_id: str) -> str | None:
    """Returns the model in whose share a game lies; None if it lies in none of them.

    A share that grows takes no game from another model: a game moves to or from an arm once at most.

    Args:
        shares: model and its share of games, each in (0, 1), at most 1 in all.
        game_id: the game.
    """
    digest = hashlib.sha256(f"dejavu arm {game_id}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2.0**64
    for model, share in shares:
        if place < share:
            return model
        place -= share
    return None
