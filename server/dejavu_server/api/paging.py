"""Pages of lists: the size of a page, and tokens of lists ordered by a key.

Lists of the ledger's entries have tokens bound to the ledger (dejavu_ledger.queries.pages).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from dejavu_ledger.queries.pages import InvalidPageToken
from dejavu_models.errors import InvalidInput, quoted

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 500
"""Number of items on a page: without a page_size, and at most."""

ItemT = TypeVar("ItemT")

Key = tuple[int | str, ...]
"""Where an item stands in the order of its list."""

_EXPECTED: Final = "a next_page_token from an earlier response"


class InvalidPageSize(InvalidInput, reason="INVALID_PAGE_SIZE", field="page_size"):
    """A page size is negative."""


def page_size(asked: int) -> int:
    """Return the size of a page: DEFAULT_PAGE for 0, never more than MAX_PAGE.

    Raises:
        InvalidPageSize: if it is negative.
    """
    if asked < 0:
        raise InvalidPageSize(f"{asked}", f"1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}")
    return min(asked, MAX_PAGE) or DEFAULT_PAGE


def page_of(of: str, items: Sequence[ItemT], key: Callable[[ItemT], Key], size: int) -> tuple[Sequence[ItemT], str]:
    """Return a page, and the token of the next one; empty if there is none. The token has the key of the last item.

    Args:
        of: name of the list.
        items: the items from the first one of the page on; more than `size` if there is a next page.
        key: returns the key of an item.
        size: size of a page.
    """
    page = items[:size]
    if len(items) <= size:
        return page, ""
    return page, base64.urlsafe_b64encode(json.dumps([of, *key(page[-1])]).encode()).decode()


def decode_key(of: str, token: str, like: Key) -> Key:
    """Decode a token, or return `like` if it is empty.

    Args:
        of: name of the list.
        token: the token.
        like: the key before the first item; a token's key has values of the same types.

    Raises:
        InvalidPageToken: if `page_of` does not write such a token for this list.
    """
    if not token:
        return like
    try:
        name, *key = json.loads(base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise InvalidPageToken(quoted(token), _EXPECTED) from None
    if name != of or [type(each) for each in key] != [type(each) for each in like] or not all(map(_is_storable, key)):
        raise InvalidPageToken(quoted(token), _EXPECTED)
    return tuple(key)


def _is_storable(value: int | str) -> bool:
    """Return whether a database takes the value; no key has another one."""
    return value.isascii() and value.isprintable() if isinstance(value, str) else abs(value) < 1 << 63
