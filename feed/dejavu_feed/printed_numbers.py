"""Numbers as people type them and sportsbooks print them: −5½, +110, 1,91, 5/2, EVEN, PK."""

from __future__ import annotations

import math
import re
from typing import Final

LEAST_AMERICAN: Final = 100
"""Minimum absolute value of American odds, which are whole numbers. A whole number this large is read as American, so
decimal odds need a fractional part."""

MINUS: Final = str.maketrans("−–", "--")
"""Translates the dashes that are printed as a minus sign."""

_FRACTIONS: Final = {"¼": 0.25, "½": 0.5, "¾": 0.75}
# float() also accepts 1_0, Arabic digits, nan and inf.
_NUMBER: Final = re.compile(
    r"(?P<sign>[+-]?) ?(?P<whole>[0-9]*)(?:[.,](?P<decimals>[0-9]+)|(?P<fraction>[¼½¾]))?", re.ASCII
)
_THOUSANDS: Final = re.compile(r"[+-]?[0-9]+,[0-9]{3,}")
_QUOTIENT: Final = re.compile(r"(?P<win>[0-9]{1,4})/(?P<stake>[0-9]{1,4})", re.ASCII)
_MOST_DIGITS: Final = 16
_EVEN: Final = frozenset({"EVEN", "EVENS", "EV"})
_LEVEL: Final = frozenset({"PK", "PICK", "PICK'EM", "PICKEM", *_EVEN})


def number(text: str) -> float:
    """Return a number: a sign, digits, and decimals after a point or a comma, or a half or a quarter (5½).

    Raises:
        ValueError: if the text is anything else, or has a comma that may separate thousands.
    """
    typed = text.strip().translate(MINUS)
    match = _NUMBER.fullmatch(typed)
    if match is None or not re.search(r"[0-9¼½¾]", typed):
        raise ValueError(f"{text!r} is not a number; expected digits, such as 5.5, 5½ or -3")
    if _THOUSANDS.fullmatch(typed):
        raise ValueError(f"{text!r} is ambiguous; expected a point before decimals, and no comma in thousands")
    value = float(f"{match['whole'] or 0}.{match['decimals'] or 0}") + _FRACTIONS.get(match["fraction"] or "", 0.0)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]!r}… is too large")
    return -value if match["sign"] == "-" else value


def whole(value: object) -> int:
    """Return a whole number of a table, also from a text or a float, of at most 16 digits; -1 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return -1
    text = str(value).strip().removesuffix(".0")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else -1


def price(text: str) -> float | None:
    """Return the price of a bet: decimal odds (1.91), fractional ones (5/2) as decimal, or American ones (-110, EVEN).

    A sign means American odds, which have a gap from −100 to +100; the server checks the maximum.

    Returns:
        Decimal odds above 1, or American odds as a whole number; None for an empty text.

    Raises:
        ValueError: if the text is no price.
    """
    if not text:
        return None
    typed = text.strip().translate(MINUS)
    if typed.upper() in _EVEN:
        return float(LEAST_AMERICAN)
    if quotient := _QUOTIENT.fullmatch(typed):
        if not int(quotient["win"]) or not int(quotient["stake"]):
            raise ValueError(f"{text}; expected fractional odds above 0, such as 5/2")
        decimal = 1 + int(quotient["win"]) / int(quotient["stake"])
        if decimal >= LEAST_AMERICAN:  # a whole number from 100 on means American odds
            raise ValueError(f"{text}; expected fractional odds below 99/1")
        return decimal
    try:
        value = number(typed)
    except ValueError:
        expected = "expected decimal odds such as 1.91, American odds such as -110 or EVEN, or a fraction such as 5/2"
        raise ValueError(f"{text!r} is not a price; {expected}") from None
    if typed[0] in "+-" and not is_american(value):
        expected = (
            "expected American odds of +100 or more, or -100 or less, in whole numbers; decimal odds have no sign"
        )
        raise ValueError(f"{text}; {expected}")
    if typed[0] not in "+-" and not value > 1:
        raise ValueError(f"{text}; expected decimal odds above 1, or American odds: -110")
    return value


def is_american(price: float) -> bool:
    """Return whether a price is American odds: a whole number that is at least 100 without its sign."""
    return abs(price) >= LEAST_AMERICAN and price.is_integer()


def decimal_of(american: float) -> float:
    """Return American odds as decimal ones."""
    return 1 + american / 100 if american > 0 else 1 - 100 / american


def spread(text: str) -> float:
    """Return a spread: a number, or PK, PICK or EVEN for 0.

    Raises:
        ValueError: if the text is no spread.
    """
    return 0.0 if text.strip().upper() in _LEVEL else number(text)
