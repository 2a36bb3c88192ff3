"""Parses a pattern (the lead at the end of each minute) from numbers or a JSON array."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

HINT = "PATTERN"

Pattern = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PATTERN]...",
        help="The home team's lead in points at the end of each minute so far, 1 to 47 numbers: 0 2 -3 …; - reads "
        "a JSON array from standard input.",
    ),
]
PatternJson = Annotated[
    str | None, typer.Option(metavar="ARRAY", help="The pattern as a JSON array; - reads it from standard input.")
]


def read_pattern(arguments: list[str], text: str | None) -> list[float]:
    """Returns the pattern from the arguments or the JSON option.

    Raises:
        typer.BadParameter: if it was given twice, not at all, or contains something other than numbers.
    """
    if arguments == ["-"]:
        arguments, text = [], "-" if text is None else text
    if text is not None and arguments:
        raise typer.BadParameter("give the pattern either as numbers or as JSON, not both", param_hint=HINT)
    if text is not None:
        return _from_json(sys.stdin.read() if text == "-" else text)
    values = [_number(part) for argument in arguments for part in argument.replace(",", " ").split()]
    if not values:
        raise typer.BadParameter("give the lead at the end of each minute, for example 0 2 -3 …", param_hint=HINT)
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except (ValueError, OverflowError):
        # Unknown options end up here because negative numbers must.
        problem = "is neither an option nor a number" if text.startswith("-") else "is not a number"
        raise typer.BadParameter(f"{text!r} {problem}", param_hint=HINT) from None


def _from_json(text: str) -> list[float]:
    try:
        values = json.loads(text)
        if isinstance(values, list) and values and all(type(value) in (int, float) for value in values):
            return [float(value) for value in values]
        problem = "expected an array of numbers, for example [0, 2, -3]"
    except RecursionError:
        problem = "not an array of numbers"
    except OverflowError:
        problem = "a number is too large"
    except ValueError as error:
        problem = f"not JSON: {error}"
    raise typer.BadParameter(problem, param_hint="--pattern-json")
