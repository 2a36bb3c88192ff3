"""URLs of ledgers. Checks that need the database's driver follow when the ledger is opened."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

POSTGRES_SCHEMES = ("postgresql", "postgres")

EXPECTED = "sqlite:///PATH or postgresql://USER@HOST/DATABASE"


def is_postgres(url: str) -> bool:
    """Return whether a URL is one of PostgreSQL."""
    return url.partition("://")[0] in POSTGRES_SCHEMES


def file_url(path: Path) -> str:
    """Return the URL of the ledger in a file."""
    return f"sqlite:///{quote(str(path.resolve()))}"


def check_ledger_url(url: str) -> str:
    """Return a URL if it can name a ledger.

    A URL with a password is refused, because all users of the machine could see it in the list of processes. Accepted
    URLs can therefore be logged and shown. The message does not repeat the password.

    Raises:
        ValueError: if it cannot name a ledger; the message names the expected form.
    """
    if is_postgres(url):
        _check_postgres_url(url)
    elif not url.startswith("sqlite:///") or url in {"sqlite:///", "sqlite:///:memory:"} or "?" in url:
        shown = without_password(url)
        hint = f"; for this file: sqlite:///{shown}" if url and "://" not in url else ""
        raise ValueError(f"{shown!r} can name no ledger; expected {EXPECTED}, PATH without '?'{hint}")
    return url


def without_password(text: str) -> str:
    """Return a text for a message, with `…` in place of a possible password: between a colon and the last @."""
    before, at, after = text.rpartition("@")
    place = before.find("://") + len("://") if "://" in before else 0
    user, colon, _ = before[place:].partition(":")
    return f"{before[:place]}{user}:…@{after}" if at and colon else text


def _check_postgres_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        password = parts.password
    except ValueError:
        raise ValueError("the URL cannot be parsed; expected postgresql://USER@HOST/DATABASE") from None
    if password is not None or options.keys() & {"password", "sslpassword"}:
        raise ValueError(
            "the URL contains a password, which the list of processes would show; expected it in PGPASSWORD or in the "
            "file that PGPASSFILE or ?passfile= names"
        )
    if parts.path in {"", "/"} and not options.get("dbname") and "service" not in options:
        raise ValueError(f"{url!r} names no database; expected postgresql://USER@HOST/DATABASE")
    if parts.fragment or "\0" in url:
        raise ValueError(f"{url!r} contains '#' or NUL, which is not allowed; expected postgresql://USER@HOST/DATABASE")
