"""Prints an evening's prices, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.market_pb2 import MarketAnswer
from dejavu_cli.output.market import ABOVE, amount, break_even, no_stake_reason
from dejavu_cli.output.responsive_table import ResponsiveTable, named_column
from dejavu_client.formatting import chance, price_text, signed
from dejavu_common.rich_console import Console
from dejavu_feed.files.prices import PricedMarket


@dataclass(frozen=True, slots=True)
class WeighedMarket:
    """A priced market and its evaluation.

    Attributes:
        priced: the market.
        forecast: the newest forecast of its game; None without one.
        answer: the evaluation; None if it was not weighed.
        reason: why it was not weighed.
    """

    priced: PricedMarket
    forecast: Forecast | None
    answer: MarketAnswer | None
    reason: str = ""


_COLUMNS: Final = (
    named_column("game", "left", 8),
    named_column("min", "right", 5),
    named_column("bet", "left", 9),
    named_column("price", "right", 7),
    named_column("model", "right", 4),
    named_column("market", "right", 3),
    named_column("used", "right", 5),
    named_column("break-even", "right", 6),
    named_column("stake", "right", 9),
)


def print_bets(weighed: Sequence[WeighedMarket], bankroll: float) -> None:
    """Print a row for each market, its reasons below the table, and the sum of the stakes."""
    console = Console()
    console.print(ResponsiveTable(_COLUMNS, [_cells(each, bankroll) for each in weighed]))
    staked = sum(each.answer.stake for each in weighed if each.answer is not None)
    for each in weighed:
        if reason := _reason(each):
            console.print(f"line {each.priced.row}: {reason}", style="dim", highlight=False)
    console.print(f"stakes together: {amount(staked, bankroll)}", highlight=False)
    notice = next((each.answer.notice for each in weighed if each.answer is not None), "")
    if notice:
        console.print(f"The model is {notice}.", highlight=False)


def _chosen(answer: MarketAnswer) -> int:
    """Return the side with a stake, 0 or 1; without one, the side with the higher expected value."""
    if answer.side:
        return int(answer.side not in ABOVE)
    return int(answer.below.expected_value > answer.above.expected_value)


def _reason(each: WeighedMarket) -> str:
    if each.answer is None:
        return each.reason
    if each.answer.side:
        return ""
    if each.priced.traded:
        return "no stake: the price of a trade, which nobody offers"
    warnings = "; ".join(warning.text for warning in each.answer.warnings)
    return f"no stake: {warnings or no_stake_reason(each.answer)}"


def _cells(each: WeighedMarket, bankroll: float) -> dict[str, str | Text]:
    priced, forecast, answer = each.priced, each.forecast, each.answer
    home = priced.home if forecast is None else forecast.home_team
    away = priced.away if forecast is None else forecast.away_team
    place = 0 if answer is None else _chosen(answer)
    cells: dict[str, str | Text] = {
        "game": f"{away} @ {home}" if home else priced.game_id,
        "min": "" if forecast is None else f"{forecast.elapsed_minutes}",
        "bet": _bet(priced, home, away)[place],
        "price": price_text((priced.first, priced.second)[place]),
        "stake": "–",
    }
    if answer is not None:
        side = (answer.above, answer.below)[place]
        cells |= {
            "model": chance(side.win_probability),
            "market": chance(side.fair_probability),
            "used": chance(side.staking_probability),
            "break-even": chance(break_even(side, answer.push_probability)),
            "stake": amount(side.stake, bankroll) if answer.side else "–",
        }
    return cells


def _bet(priced: PricedMarket, home: str, away: str) -> tuple[str, str]:
    digits = 0 if priced.line.is_integer() else 1
    match priced.kind:
        case "total":
            return f"over {priced.line:.{digits}f}", f"under {priced.line:.{digits}f}"
        case "moneyline":
            return f"{home or 'home'} wins", f"{away or 'away'} wins"
        case _:
            return f"{home or 'home'} {signed(-priced.line, digits)}", f"{away or 'away'} {signed(priced.line, digits)}"
