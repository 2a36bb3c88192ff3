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

    HALF = "half"
    HALFTIME = "halftime"
    FINAL = "final"


HORIZONS = {HorizonName.HALF: HALFTIME, HorizonName.HALFTIME: HALFTIME, HorizonName.FINAL: FINAL}


def predict(
    pattern: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATTERN]...",
            help="The home team's lead at the end of each minute so far, 1 to 47 of them, in points: 0 2 -3 …; - reads "
            "a JSON array from standard input.",
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
        HorizonName,
        typer.Option(case_sensitive=False, help="The moment to forecast: the half (halftime is the same), or the end."),
    ] = HorizonName.HALF,
    home: Annotated[
        str, typer.Option(metavar="TEAM", help="The home team: its NBA code, such as BOS, or a common alias.")
    ] = "",
    away: Annotated[
        str, typer.Option(metavar="TEAM", help="The away team; with both the forecast counts their strength.")
    ] = "",
    pregame_margin: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="The home team's expected final lead before the game; takes the place of the teams' strength.",
        ),
    ] = None,
    quantiles: Annotated[
        str, typer.Option(metavar="LEVELS", help="Levels of quantiles to show, with commas: 0.1,0.5,0.9.")
    ] = "",
    model: Annotated[str, typer.Option(metavar="VERSION", help="The model to ask; the active one by default.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Show what the forecast rests on.")] = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Forecast one game from the course of its score so far."""
    values = _pattern(pattern or [], pattern_json)
    levels = _levels(quantiles)
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
            quantile_levels=levels,
        )
    if as_json:
        print_json(forecast)
    else:
        print_forecast(forecast, pattern=values)


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


def _levels(text: str) -> list[float]:
    """The levels of an option; which of them can be, the server says.

    Raises:
        typer.BadParameter: if one is not a number.
    """
    levels = []
    for part in text.replace(",", " ").split():
        try:
            levels.append(float(part))
        except ValueError:
            wanted = f"{part!r} is not a number; expected levels such as 0.1,0.5,0.9"
            raise typer.BadParameter(wanted, param_hint="--quantiles") from None
    return levels


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
