"""Numbers of examples of property tests."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("DEJAVU_NIGHTLY") == "1"
"""Set by `make nightly`."""

EXAMPLES = 200 if NIGHTLY else 15
"""Default number of examples, for fast property tests."""


def examples(count: int) -> int:
    """Return the number of examples of a slow property test: `count`, or eight times as many in nightly runs."""
    return 8 * count if NIGHTLY else count
