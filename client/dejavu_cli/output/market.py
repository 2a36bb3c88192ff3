"""Prints the evaluation of a betting market, and a risk score, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dejavu.v1 import market_pb2 as pb
from dejavu.v1.forecast_pb2 import Forecast, WarningReason
from dejavu.v1.prediction_service_pb2 import RiskAssessment, RiskFactor, RiskFactorKind, RiskResult
from dejavu_cli.output.forecast import print_warnings
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, titled_table
from dejavu_client.formatting import chance, enum_word, horizon_label, percent, risk_value, signed, warning_label
from dejavu_common.rich_console import Console

_HEADERS: Final = ("side", "odds", "break-even", "model", "market", "used", "stake")


def print_market(answer: pb.MarketAnswer, market: pb.Market, forecast: Forecast) -> None:
    """Print both sides of a market and the recommended bet; without prices, the probabilities of its line."""
    console, has_prices = Console(), market.HasField("above")
    named = "points of both teams" if market.kind == pb.MARKET_KIND_TOTAL else "the market"
    headers = _HEADERS if has_prices else ("side", "model", "odds worth taking")
    table = titled_table(f"{named}, at the {horizon_label(forecast.horizon)}", *headers, no_wrap=has_prices)
    priced = ((market.above, answer.above), (market.below, answer.below))
    for name, (price, side) in zip(sides(market, forecast), priced, strict=True):
        if has_prices:
            table.add_row(name, *_side_cells(price, side, market, answer.push_probability))
        else:
            least = f"above {side.minimum_odds:.2f}" if side.HasField("minimum_odds") else "–"
            table.add_row(name, chance(side.win_probability), least)
    console.print(table)
    notes = [f"margin of the odds {percent(answer.overround)}".replace("-", "−")] if has_prices else []
    notes += [f"a push {chance(answer.push_probability)}"] if answer.push_probability else []
    if notes:
        console.print(" · ".join(notes), style="dim", highlight=False)
    for line in _stake_rules(answer.staking, market) if has_prices else ():
        console.print(line, style="dim", highlight=False)
    console.print(bet(answer, market, forecast) if has_prices else _notice(answer), highlight=False)
    if has_prices and (told := recording(answer, forecast)):
        console.print(f"bet: {told}", highlight=False)
    print_warnings(console, answer.warnings)


def _stake_rules(staking: pb.Staking, market: pb.Market) -> tuple[str, ...]:
    """Describe where the stakes of a market come from, in lines."""
    on_game = market.game_staked
    on_evening = market.evening_staked if market.HasField("evening_staked") else on_game
    staked = "nothing stated, so this counts as the evening's first bet"
    if on_evening:
        bankroll = _bankroll(market)
        staked = f"{amount(on_game, bankroll)} on this game, {amount(on_evening, bankroll)} this evening"
    caps = f"{percent(staking.game_cap)} of the bankroll a game, {percent(staking.evening_cap)} an evening"
    return (
        f"used: the market's probability, moved {percent(staking.model_share)} of the way to the model's",
        f"stake: {percent(staking.kelly_fraction)} of Kelly's; at most {caps}",
        f"staked before: {staked}",
    )


def _notice(answer: pb.MarketAnswer) -> str:
    return f"The model is {answer.notice}."


def _side_cells(price: pb.Odds, side: pb.MarketSideAnswer, market: pb.Market, push: float) -> tuple[str, ...]:
    """Return the cells of a side; the verdict says why there is no stake."""
    return (
        _price(price),
        chance(break_even(side, push)),
        chance(side.win_probability),
        chance(side.fair_probability),
        chance(side.staking_probability),
        amount(side.stake, _bankroll(market)) if side.stake_fraction > 0.0 else "–",
    )


def break_even(side: pb.MarketSideAnswer, push: float) -> float:
    """Return the win probability above which a price has a positive expected value; a push returns the stake."""
    return (1.0 - push) / side.decimal_odds if side.decimal_odds else 0.0


def _beside_break_even(side: pb.MarketSideAnswer, push: float) -> str:
    """Compare the probability behind a stake with the break-even of its price.

    Both have one decimal if they would round to the same whole percent.
    """
    least = break_even(side, push)
    wins, needed = chance(side.staking_probability), chance(least)
    if wins == needed:
        wins, needed = f"{100 * side.staking_probability:.1f} %", f"{100 * least:.1f} %"
    profit = f"expected profit of 1 staked {signed(side.expected_value, 2)}"
    return f"used {wins}; at this price {needed} breaks even; {profit}"


_WITHOUT_STAKE: Final = (
    WarningReason.WARNING_REASON_RATINGS_OUTDATED,
    WarningReason.WARNING_REASON_RATINGS_AHEAD,
    WarningReason.WARNING_REASON_TEAMS_UNKNOWN,
    WarningReason.WARNING_REASON_TEAM_LITTLE_KNOWN,
    WarningReason.WARNING_REASON_IMPLAUSIBLE_DIFFERENCE,
    WarningReason.WARNING_REASON_ODDS_MISMATCHED,
    WarningReason.WARNING_REASON_MARKETS_OWN_LINE,
    WarningReason.WARNING_REASON_LATE_MOMENT,
)
"""Warnings that rule out a stake on either side."""


def no_stake_reason(answer: pb.MarketAnswer) -> str:
    """Return why neither side of a market has a stake."""
    both = answer.above, answer.below
    warned = next((each.reason for each in answer.warnings if each.reason in _WITHOUT_STAKE), None)
    if warned == WarningReason.WARNING_REASON_RATINGS_OUTDATED and answer.kind == pb.MARKET_KIND_TOTAL:
        reason = "ratings of total points outdated"  # the margin can be given, or its ratings usable
    elif warned is not None:
        reason = warning_label(warned)
    elif any(side.kelly_fraction > 0.0 for side in both):
        reason = "the stakes so far leave no room below the caps"
    elif any(side.win_probability > break_even(side, answer.push_probability) for side in both):
        reason = "at the blended probability, neither side breaks even"
    else:
        reason = "neither wins more often than its price breaks even"
    return reason


_MEASURED: Final = "How unsettled the game has been so far, beside past games. It forecasts nothing."


def print_risks(results: Sequence[RiskResult]) -> None:
    """Print the scores of several games: of each the percentiles of its factors, or the reason why there is none."""
    console = Console()
    console.print(_MEASURED, style="dim", highlight=False)
    rows = [(number, result.assessment) for number, result in enumerate(results, 1) if result.HasField("assessment")]
    if rows:
        console.print(ResponsiveTable(_RISKS, rows))
    for number, result in enumerate(results, 1):
        if result.HasField("error"):
            console.print(f"game {number}: {result.error.message}", highlight=False, markup=False, soft_wrap=True)


def _factor_name(factor: RiskFactor) -> str:
    return enum_word(RiskFactorKind.DESCRIPTOR, factor.kind) or "unknown"


def _level(assessment: RiskAssessment) -> str:
    return enum_word(pb.RiskLevel.DESCRIPTOR, assessment.level) or "unknown"


_RISKS: Final[Sequence[Column[tuple[int, RiskAssessment]]]] = (
    Column("game", "right", 9, lambda row: f"{row[0]}"),
    Column("risk", "right", 9, lambda row: f"{row[1].score:.0f}", "bold"),
    Column("level", "left", 8, lambda row: _level(row[1])),
    Column(
        "percentiles",
        "left",
        5,
        lambda row: ", ".join(f"{_factor_name(factor)} {factor.score:.0f}" for factor in row[1].factors),
    ),
)


def print_risk(answer: RiskAssessment) -> None:
    """Print the score, its factors and the warnings."""
    headers = ("factor", "value", "percentile", "weight", "contribution")
    table = titled_table(f"{answer.score:.0f} of 100: {_level(answer)}", *headers, no_wrap=True)
    for factor in answer.factors:
        table.add_row(
            _factor_name(factor),
            risk_value(factor),
            f"{factor.score:.0f} %",
            f"{100 * factor.weight:.0f} %",
            f"{factor.contribution:.1f}",
        )
    table.add_section()
    table.add_row("risk", "", "", "", f"{answer.score:.1f}")
    console = Console()
    console.print(_MEASURED, style="dim", highlight=False)
    console.print(table)
    for warning in answer.warnings:
        console.print(f"· {warning}", highlight=False, soft_wrap=True)


ABOVE: Final = (pb.MARKET_SIDE_HOME, pb.MARKET_SIDE_OVER)
"""Sides that win above the line."""


def bet(answer: pb.MarketAnswer, market: pb.Market, forecast: Forecast) -> str:
    """Describe the verdict of the forecast on the market, with the reason: an estimate, not advice.

    The reason compares the probability with the break-even of the price. A confidence threshold changes no stake; it is
    shown if the request has one.
    """
    of_total = market.kind == pb.MARKET_KIND_TOTAL
    model = f"The model, for the {'points' if of_total else horizon_label(forecast.horizon)}"
    if answer.side == pb.MARKET_SIDE_UNSPECIFIED:
        return f"{model}: no stake on either side.\nreason: {no_stake_reason(answer)}\n{_notice(answer)}"
    above, below = sides(market, forecast)
    name, side = (above, answer.above) if answer.side in ABOVE else (below, answer.below)
    verdict = (
        f"{model}: {name}, {amount(side.stake, _bankroll(market))}\n{_beside_break_even(side, answer.push_probability)}"
    )
    if of_total:
        return f"{verdict}\n{_notice(answer)}"
    loses = 1.0 - side.staking_probability - answer.push_probability
    level = enum_word(pb.RiskLevel.DESCRIPTOR, answer.risk_level) or "unknown"
    threshold = ""
    if market.staking.HasField("confidence_threshold"):
        reached = "reached" if answer.confidence_met else "not reached"
        wins = chance(side.win_probability)
        if wins == chance(answer.staking.confidence_threshold):
            wins = f"{100 * side.win_probability:.1f} %"
        limit = percent(answer.staking.confidence_threshold)
        threshold = f"\nthe model gives it {wins}: your threshold of {limit} is {reached}"
    return (
        f"{verdict}{threshold}\n"
        f"stake × P(loss): {100 * side.stake_fraction * loses:.2f} % of the bankroll ({level})\n"
        f"{_notice(answer)}"
    )


def recording(answer: pb.MarketAnswer, forecast: Forecast) -> str:
    """Describe whether the bet is recorded, with the reason if not; "" if the server does not say."""
    if answer.recording == pb.MarketRecording.MARKET_RECORDING_RECORDED:
        return "recorded" if answer.side else "none; the market is recorded"
    if answer.recording == pb.MarketRecording.MARKET_RECORDING_EARLIER_STANDS:
        standing = answer.standing_market
        name, above, below = sides(standing, forecast)[0], _price(standing.above), _price(standing.below)
        return f"not recorded: the first price, {name} at {above} against {below}, stands"
    reason = _NOT_RECORDED.get(answer.recording)
    return f"not recorded: {reason}" if reason else ""


_NOT_RECORDED: Final = {
    pb.MarketRecording.MARKET_RECORDING_FORECAST_LATE: "it comes too late for this forecast",
    pb.MarketRecording.MARKET_RECORDING_OUTCOME_KNOWN: "the outcome is known",
    pb.MarketRecording.MARKET_RECORDING_ODDS_MISMATCHED: "the two prices do not belong together",
    pb.MarketRecording.MARKET_RECORDING_NO_PRICES: "it has no prices",
    pb.MarketRecording.MARKET_RECORDING_WHAT_IF: "a what-if; --game-id names a game",
}


def _price(odds: pb.Odds) -> str:
    return signed(odds.american, 0) if odds.HasField("american") else f"{odds.decimal:.2f}"


def sides(market: pb.Market, forecast: Forecast) -> tuple[str, str]:
    """Return both sides as books print them: over and under, or home and away with their spreads.

    A spread is negative for the favorite; there is none at a line of 0.
    """
    if market.kind == pb.MARKET_KIND_TOTAL:
        line = f"{market.line:.1f}".removesuffix(".0")
        return f"over {line}", f"under {line}"
    names = forecast.home_team or "home", forecast.away_team or "away"
    if not market.line:
        return names
    digits = 0 if market.line == round(market.line) else 1
    return f"{names[0]} {signed(-market.line, digits)}", f"{names[1]} {signed(market.line, digits)}"


def amount(staked: float, bankroll: float) -> str:
    """Format a part of the bankroll; with a bankroll of 1, as of a market without one, as a share of it."""
    return f"{100 * staked:.2f} %" if bankroll == 1.0 else f"{staked:,.2f}"


def _bankroll(market: pb.Market) -> float:
    return market.bankroll if market.HasField("bankroll") else 1.0


def profit_text(profit: float, market: pb.Market) -> str:
    """Format a profit that is given as a share of the bankroll: as an amount of money if the bankroll is known."""
    if (bankroll := _bankroll(market)) != 1.0:
        return f"{signed(profit * bankroll, 2)} of a bankroll of {bankroll:,.2f}"
    return f"{signed(100 * profit, 2)} % of the bankroll"
