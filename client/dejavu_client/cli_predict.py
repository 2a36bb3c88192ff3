"""`dejavu predict`: one forecast."""

from __future__ import annotations

import enum
import json
import sys
from typing import Annotated

import typer

from dejavu_client.cli_options import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
from dejavu_client.render import print_forecast, print_json
from dejavu_client.requests import FINAL, HALFTIME

HINT = "PATTERN"


class HorizonName(enum.StrEnum):
    """The horizons as one types them."""

    HALFTIME = "halftime"
    FINAL = "final"


HORIZONS = {HorizonName.HALFTIME: HALFTIME, HorizonName.FINAL: FINAL}


def predict(
    pattern: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATTERN]...",
            help="The home team's lead at the end of each minute so far, in points: 0 2 -3 …; - reads a JSON array "
            "from standard input.",
        ),
    ] = None,
    *,
    pattern_json: Annotated[
        str | None, typer.Option(metavar="ARRAY", help="The pattern as a JSON array; - reads it from standard input.")
    ] = None,
    game_id: Annotated[
        str, typer.Option(help="The NBA's id of the game, ten digits: the forecast is then recorded.")
    ] = "",
    alpha: Annotated[
        float | None,
        typer.Option(help="How often the interval may miss, between 0 and 1; the server's default is 0.05."),
    ] = None,
    horizon: Annotated[
        HorizonName, typer.Option(case_sensitive=False, help="The moment to forecast.")
    ] = HorizonName.HALFTIME,
    home: Annotated[str, typer.Option(help="Label of the home team.")] = "",
    away: Annotated[str, typer.Option(help="Label of the away team.")] = "",
    pregame_margin: Annotated[
        float | None, typer.Option(help="The home team's expected final lead before the game, in points.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="VERSION", help="The model to ask; the active one by default.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Show what the forecast rests on.")] = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Forecast one game from the course of its score so far."""
    values = _pattern(pattern or [], pattern_json)
    with connect(target, timeout) as client:
        forecast = client.predict(
            values,
            game_id=game_id,
            alpha=alpha,
            horizon=HORIZONS[horizon],
            home_team=home,
            away_team=away,
            pregame_margin=pregame_margin,
            model_version=model,
            explain=explain,
        )
    if as_json:
        print_json(forecast)
    else:
        print_forecast(forecast, last=values[-1])


def _pattern(arguments: list[str], text: str | None) -> list[float]:
    """The pattern, however it was given.

    Raises:
        typer.BadParameter: if it was given twice or not at all, or is not made of numbers.
    """
    if arguments == ["-"]:
        arguments, text = [], "-" if text is None else text
    if text is not None and arguments:
        raise typer.BadParameter("give the pattern either as numbers or as JSON, not both", param_hint=HINT)
    if text is not None:
        return _from_json(sys.stdin.read() if text == "-" else text)
    values = [_number(part) for argument in arguments for part in argument.replace(",", " ").split()]
    if not values:
        raise typer.BadParameter("give the lead at the end of each minute, for instance 0 2 -3 …", param_hint=HINT)
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except (ValueError, OverflowError):
        # Options that are not known end up here, since negative numbers have to.
        known = "is no option and no number" if text.startswith("-") else "is not a number"
        raise typer.BadParameter(f"{text!r} {known}", param_hint=HINT) from None


def _from_json(text: str) -> list[float]:
    try:
        values = json.loads(text)
    except RecursionError:
        raise typer.BadParameter("not an array of numbers", param_hint="--pattern-json") from None
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--pattern-json") from None
    if not isinstance(values, list) or not values or not all(type(value) in (int, float) for value in values):
        raise typer.BadParameter("expected an array of numbers, for instance [0, 2, -3]", param_hint="--pattern-json")
    try:
        return [float(value) for value in values]
    except OverflowError:
        raise typer.BadParameter("a number is too large", param_hint="--pattern-json") from None
