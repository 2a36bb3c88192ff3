"""The canonical form of a ledger's entry: the text that is hashed, stored and read back.

    {"kind":"forecast","payload":{"forecast":{…},"request":{…}},"revision":0,"sequence":1}
    {"kind":"outcome","payload":{"differential":-3,"game_id":…,…},"revision":0,"sequence":2}
    {"kind":"market","payload":{"answer":{…},"forecast_sequence":1,"market":{…}},"revision":0,"sequence":3}

Reading it gives exactly what was written, but for what is not recorded of a forecast: quantiles that a caller asked
for, and the market, which is an entry of its own. Keys that only a later release knows are passed over, and those that
an earlier one did not write read as what their types have by default: ledgers live longer than releases, and while
workers are replaced one by one, two releases share one.

An entry's hash covers the hash of the entry before it, so that nothing can be changed, removed or put in between later
without changing every hash that follows.
"""

from __future__ import annotations

from dejavu_server.ledger.entries.encoding import (
    FORECAST,
    MARKET,
    OUTCOME,
    chain_hash,
    dumps,
    encode_entry,
    from_microseconds,
    genesis_hash,
    microseconds,
)
from dejavu_server.ledger.entries.forecast import PreparedForecast, parse, prepare
from dejavu_server.ledger.entries.market import market_payload, parse_market
from dejavu_server.ledger.entries.outcome import outcome_payload, parse_outcome

__all__ = [
    "FORECAST",
    "MARKET",
    "OUTCOME",
    "PreparedForecast",
    "chain_hash",
    "dumps",
    "encode_entry",
    "from_microseconds",
    "genesis_hash",
    "market_payload",
    "microseconds",
    "outcome_payload",
    "parse",
    "parse_market",
    "parse_outcome",
    "prepare",
]
