"""`dejavu predict`: one forecast."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from dejavu.v1.market_pb2 import Market
from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_client.cli.options.common import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
from dejavu_client.cli.options.market import AwayOdds, Bankroll, Confidence, HomeOdds, MarketLine, read_market
from dejavu_client.cli.options.pattern import Pattern, PatternJson, read_pattern
from dejavu_client.output.forecast import print_forecast, print_json
from dejavu_client.output.market import print_market
from dejavu_client.requests import FINAL, HALFTIME, PredictOptions


class HorizonName(enum.StrEnum):
    """The horizons as one types them."""

    HALF = "half"
    HALFTIME = "halftime"
    FINAL = "final"


HORIZONS = {HorizonName.HALF: HALFTIME, HorizonName.HALFTIME: HALFTIME, HorizonName.FINAL: FINAL}


def predict(
    pattern: Pattern = None,
    *,
    pattern_json: PatternJson = None,
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
    market_line: MarketLine = None,
    home_odds: HomeOdds = None,
    away_odds: AwayOdds = None,
    bankroll: Bankroll = None,
    confidence: Confidence = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what the forecast rests on.")] = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Forecast one game from the course of its score so far; with odds, weigh a bet on it too."""
    values = read_pattern(pattern or [], pattern_json)
    options: PredictOptions = {
        "game_id": game_id,
        "alpha": alpha,
        "horizon": HORIZONS[horizon],
        "home_team": home,
        "away_team": away,
        "pregame_margin": pregame_margin,
        "model_version": model,
        "explain": explain,
        "quantile_levels": _levels(quantiles),
    }
    market = read_market(market_line, home_odds, away_odds, bankroll, confidence)
    with connect(target, timeout) as client:
        if market is not None:
            _print_quote(client.quote(values, market, **options), market, values, as_json)
            return
        forecast = client.predict(values, **options)
    if as_json:
        print_json(forecast)
    else:
        print_forecast(forecast, pattern=values)


def _print_quote(answer: PredictResponse, market: Market, pattern: list[float], as_json: bool) -> None:
    """A forecast and what it says of a market; as JSON one object of both."""
    if as_json:
        print_json(answer)
        return
    print_forecast(answer.forecast, pattern=pattern)
    if answer.HasField("market"):
        print_market(answer.market, market, answer.forecast)
    else:
        typer.echo("The server does not weigh odds: it is of an earlier release.")


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
