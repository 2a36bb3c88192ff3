"""Version and revision of this build, and how to install its extras."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def release() -> str:
    """Return the version of the installed package, such as 1.0.0, or 1.0.1.dev3+g12345678 between releases."""
    from importlib.metadata import version  # noqa: PLC0415 - it loads the parser of emails

    return version("dejavu-forecast")


@cache
def revision() -> str:
    """Return the commit from which the package was built; "unknown" without the history."""
    try:
        return Path(__file__).with_name("revision.txt").read_text().strip()  # written by hatch_build.py
    except OSError:
        return "unknown"


def described(program: str) -> str:
    """Return the line of `PROGRAM --version`."""
    return f"{program} {release()} (revision {revision()[:12]})"


def install(extra: str) -> str:
    """Return the command that installs an extra, from the package index and in a clone."""
    return f"pip install 'dejavu-forecast[{extra}]', in a clone: pip install '.[{extra}]'"
