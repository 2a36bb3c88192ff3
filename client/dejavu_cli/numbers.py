"""Reads numbers of the command line, as people type them and sportsbooks print them."""

from __future__ import annotations

import typer

from dejavu_feed import printed_numbers
from dejavu_feed.printed_numbers import MINUS

__all__ = ["MINUS", "number", "price"]


def number(text: str) -> float:
    """Return a number; see `printed_numbers.number`.

    Raises:
        typer.BadParameter: if the text is no number.
    """
    try:
        return printed_numbers.number(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def price(text: str, option: str) -> float | None:
    """Return the price of a bet; see `printed_numbers.price`.

    Raises:
        typer.BadParameter: if the text is no price; names the option.
    """
    try:
        return printed_numbers.price(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
