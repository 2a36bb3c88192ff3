"""The user's folder for data that programs keep between runs: the default ledger, its key, a refreshed bundle."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def state_folder() -> Path:
    """Return the folder dejavu/ in XDG_STATE_HOME, by default in ~/.local/state; it may not exist."""
    home = Path(os.environ.get("XDG_STATE_HOME", "").strip() or "~/.local/state")
    with suppress(RuntimeError):  # a user without a home, as in some containers, where paths are set explicitly
        home = home.expanduser()
    return home / "dejavu"
