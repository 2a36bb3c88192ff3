"""Checks of parameters that several endpoints take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from dejavu_gateway.messages.decode import unknown_parameter
from dejavu_gateway.messages.errors import invalid, invalid_field

_GAME_ID: Final = re.compile(r"[0-9]{10}")


def check_names(given: Iterable[str], known: Sequence[str]) -> None:
    """Check the names of query parameters.

    Raises:
        RequestRefused: if one is not known.
    """
    for name in given:
        if name not in known:
            raise invalid([unknown_parameter(name, known)])


def check_game_id(text: str, field: str = "gameId") -> str:
    """Return a game id.

    Args:
        text: the id.
        field: name of the parameter.

    Raises:
        RequestRefused: if it is not ten digits.
    """
    if not _GAME_ID.fullmatch(text):
        raise invalid_field(field, f"{text[:60]!r}; expected ten digits")
    return text


def check_flag(text: str, field: str) -> bool:
    """Return whether a parameter is 1.

    Raises:
        RequestRefused: if it is neither 0 nor 1.
    """
    if text not in {"0", "1"}:
        raise invalid_field(field, f"{text[:60]!r}; expected 0 or 1")
    return text == "1"
