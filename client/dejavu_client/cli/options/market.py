"""Odds on the command line: the options of a market, which go together."""

from __future__ import annotations

from typing import Annotated

import typer

from dejavu.v1.market_pb2 import Market
from dejavu_client.requests import market

MarketLine = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Weigh a bet on the home team leading by more than this at the horizon, a multiple of 0.5: a home "
        "favourite's spread of −5.5 is 5.5, 0 is the bet on who leads. Needs both odds.",
    ),
]
HomeOdds = Annotated[
    float | None, typer.Option(metavar="PRICE", help="The price of the home side: decimal (1.91) or American (-110).")
]
AwayOdds = Annotated[
    float | None, typer.Option(metavar="PRICE", help="The price of the away side: decimal (1.91) or American (+120).")
]
Bankroll = Annotated[
    float | None, typer.Option(metavar="AMOUNT", help="What can be staked; stakes are shown as shares without it.")
]
Confidence = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="The least win probability at which a bet is worth considering; the server's by default."
    ),
]


def read_market(
    line: float | None,
    home_odds: float | None,
    away_odds: float | None,
    bankroll: float | None,
    confidence: float | None,
) -> Market | None:
    """The market that the options describe; None where there is none. What of it cannot be, the server says.

    Raises:
        typer.BadParameter: if only a part of it was given.
    """
    needed = {"--market-line": line, "--home-odds": home_odds, "--away-odds": away_odds}
    further = {"--bankroll": bankroll, "--confidence": confidence}
    given = [option for option, value in {**needed, **further}.items() if value is not None]
    if not given:
        return None
    if line is None or home_odds is None or away_odds is None:
        missing = [option for option, value in needed.items() if value is None]
        together = "--market-line, --home-odds and --away-odds go together"
        raise typer.BadParameter(f"{together}; {', '.join(missing)} not given", param_hint=given[0])
    return market(line, home_odds, away_odds, bankroll=bankroll, confidence_threshold=confidence)
