"""How many examples a law is tried on."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("DEJAVU_NIGHTLY") == "1"
"""Set by `make nightly`."""

EXAMPLES = 200 if NIGHTLY else 25
"""Of a law that is quick to try: hypothesis's default here."""


def examples(count: int) -> int:
    """The examples of a law that is slow to try: `count`, and eight times as many at night."""
    return 8 * count if NIGHTLY else count
