"""`dejavu predict`: requests one forecast."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

import typer

from dejavu.v1.market_pb2 import Market
from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_client.cli.options.common import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
from dejavu_client.cli.options.market import AwayOdds, Bankroll, Confidence, HomeOdds, MarketLine, read_market
from dejavu_client.cli.options.pattern import Pattern, PatternJson, read_pattern
from dejavu_client.output.forecast import print_forecast, show
from dejavu_client.output.market import print_market
from dejavu_client.requests import FINAL, HALFTIME, PredictOptions

HorizonName = Literal["half", "halftime", "final"]
"""Horizons as typed on the command line."""
HORIZONS: Final = {"half": HALFTIME, "halftime": HALFTIME, "final": FINAL}


def predict(
    pattern: Pattern = None,
    *,
    pattern_json: PatternJson = None,
    game_id: Annotated[
        str, typer.Option(help="NBA game id, ten digits; the forecast is then recorded in the ledger.")
    ] = "",
    alpha: Annotated[
        float | None,
        typer.Option(help="Miscoverage rate of the interval, between 0 and 1; the server's default is 0.05."),
    ] = None,
    horizon: Annotated[
        HorizonName,
        typer.Option(case_sensitive=False, help="Horizon: the half (or halftime, the same), or the end of the game."),
    ] = "half",
    home: Annotated[str, typer.Option(metavar="TEAM", help="Home team: NBA code such as BOS, or a common alias.")] = "",
    away: Annotated[
        str, typer.Option(metavar="TEAM", help="Away team; with both teams the forecast uses their ratings.")
    ] = "",
    pregame_margin: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Expected final lead of the home team before the game; replaces the teams' ratings.",
        ),
    ] = None,
    quantiles: Annotated[
        str, typer.Option(metavar="LEVELS", help="Quantile levels to show, comma-separated: 0.1,0.5,0.9.")
    ] = "",
    model: Annotated[str, typer.Option(metavar="VERSION", help="Model version; the active one by default.")] = "",
    market_line: MarketLine = None,
    home_odds: HomeOdds = None,
    away_odds: AwayOdds = None,
    bankroll: Bankroll = None,
    confidence: Confidence = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show how the forecast was computed.")] = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Forecast one game from its score differentials so far; with odds, evaluate a bet too."""
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
            answer = client.quote(values, market, **options)
            show(answer, partial(_print_quote, market=market, pattern=values), as_json=as_json)
            return
        forecast = client.predict(values, **options)
    show(forecast, partial(print_forecast, pattern=values), as_json=as_json)


def _print_quote(answer: PredictResponse, market: Market, pattern: list[float]) -> None:
    """Prints a forecast and the evaluation of a market."""
    print_forecast(answer.forecast, pattern=pattern)
    if answer.HasField("market"):
        print_market(answer.market, market, answer.forecast)
    else:
        typer.echo("The server does not evaluate odds: it runs an earlier release.")


def _levels(text: str) -> list[float]:
    """Parses the quantile levels of an option. The server checks their range.

    Raises:
        typer.BadParameter: if a level is not a number.
    """
    levels = []
    for part in text.replace(",", " ").split():
        try:
            levels.append(float(part))
        except ValueError:
            message = f"{part!r} is not a number; expected levels such as 0.1,0.5,0.9"
            raise typer.BadParameter(message, param_hint="--quantiles") from None
    return levels
