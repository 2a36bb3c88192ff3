"""How to install an extra of the package."""

from __future__ import annotations


def install(extra: str) -> str:
    """Return the command that installs an extra, from the package index and in a clone."""
    return f"pip install 'dejavu-forecast[{extra}]', in a clone: pip install '.[{extra}]'"
