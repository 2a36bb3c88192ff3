"""Location of the cache of what-ifs: the values of --cache."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlsplit

_REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
_REDIS_OPTIONS: Final = {"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}


def check_location(text: str) -> str:
    """Return the text if it is a valid location of the cache.

    Raises:
        ValueError: if it is not; the message names the expected form.
    """
    # The messages do not repeat the URL: it may contain a password.
    if text in {"off", "memory"}:
        return text
    url = urlsplit(text)
    if url.scheme not in _REDIS_SCHEMES:
        raise ValueError("expected off, memory, redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH")
    if url.scheme == "unix":
        if url.hostname or len(url.path) < 2:
            raise ValueError("expected unix:///PATH?db=DB, with the path of a socket")
    elif not url.hostname or (url.path.strip("/") and not url.path.strip("/").isdigit()):
        raise ValueError(f"expected {url.scheme}://HOST:PORT/DB, DB a number")
    try:
        _ = url.port
    except ValueError:
        raise ValueError("the port is not a number from 0 to 65535") from None
    given = {name for name, _ in parse_qsl(url.query, keep_blank_values=True)}
    if unknown := sorted(given - _REDIS_OPTIONS):
        raise ValueError(
            f"unknown options of the URL: {', '.join(unknown)}; expected {', '.join(sorted(_REDIS_OPTIONS))}"
        )
    return text
