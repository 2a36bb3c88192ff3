"""Whether a market that is sent with a forecast is recorded."""

from __future__ import annotations

from dejavu_models.betting import Market
from dejavu_server.records import MarketRecording


def market_recording(
    market: Market, standing: Market | None, outcome_known: bool, late: bool, mismatched: bool
) -> MarketRecording:
    """Returns whether a market is the recorded one of its forecast, or is to be recorded.

    Args:
        market: the market.
        standing: the recorded market of the forecast; None if it has none.
        outcome_known: whether the outcome of the forecast is known.
        late: whether the forecast would now be late.
        mismatched: whether the two prices do not belong together.
    """
    if standing is not None:
        # The bankroll and the threshold are no part of a price: in the record, stakes are shares.
        same = all(getattr(standing, name) == getattr(market, name) for name in ("line", "home_odds", "away_odds"))
        return MarketRecording.RECORDED if same else MarketRecording.EARLIER_STANDS
    if outcome_known:
        return MarketRecording.OUTCOME_KNOWN
    if late:
        return MarketRecording.FORECAST_LATE
    # A mistyped price must not keep the right one out of the record.
    return MarketRecording.ODDS_MISMATCHED if mismatched else MarketRecording.RECORDED
