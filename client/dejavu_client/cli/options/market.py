"""Options that describe a betting market. They must be given together."""

from __future__ import annotations

from typing import Annotated

import typer

from dejavu.v1.market_pb2 import Market
from dejavu_client.requests import market

MarketLine = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Evaluate a bet that the home team leads by more than this at the horizon, a multiple of 0.5: a home "
        "favorite's spread of −5.5 is 5.5; 0 bets on who leads. Requires both odds.",
    ),
]
HomeOdds = Annotated[
    float | None, typer.Option(metavar="PRICE", help="The price of the home side: decimal (1.91) or American (-110).")
]
AwayOdds = Annotated[
    float | None, typer.Option(metavar="PRICE", help="The price of the away side: decimal (1.91) or American (+120).")
]
Bankroll = Annotated[
    float | None, typer.Option(metavar="AMOUNT", help="Bankroll; without it stakes are shown as shares.")
]
Confidence = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", help="Minimum win probability for considering a bet; the server's setting by default."
    ),
]


def read_market(
    line: float | None,
    home_odds: float | None,
    away_odds: float | None,
    bankroll: float | None,
    confidence: float | None,
) -> Market | None:
    """Returns the market described by the options; None if none was given. The server validates the values.

    Raises:
        typer.BadParameter: if only some of the required options were given.
    """
    needed = {"--market-line": line, "--home-odds": home_odds, "--away-odds": away_odds}
    optional = {"--bankroll": bankroll, "--confidence": confidence}
    given = [option for option, value in {**needed, **optional}.items() if value is not None]
    if not given:
        return None
    if line is None or home_odds is None or away_odds is None:
        missing = [option for option, value in needed.items() if value is None]
        together = "--market-line, --home-odds and --away-odds must be given together"
        raise typer.BadParameter(f"{together}; {', '.join(missing)} missing", param_hint=given[0])
    return market(line, home_odds, away_odds, bankroll=bankroll, confidence_threshold=confidence)
