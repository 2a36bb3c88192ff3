"""Canonical form of a ledger entry: the text that is hashed, stored and read back.

    {"kind":"forecast","payload":{"forecast":{…},"request":{…}},"revision":0,"sequence":1}
    {"kind":"outcome","payload":{"differential":-3,"game_id":…,…},"revision":0,"sequence":2}
    {"kind":"market","payload":{"answer":{…},"forecast_sequence":1,"market":{…}},"revision":0,"sequence":3}

Parsing returns exactly what was written, except for what is not recorded of a forecast: the quantiles that a caller
requested, and the market, which has its own entry. Unknown keys, written by a later release, are ignored. Keys that an
earlier release did not write get their type's default. Ledgers outlive releases, and two releases share a ledger while
workers are replaced one by one.

An entry's hash covers the hash of the entry before it, so that no entry can be changed, removed or inserted later
without changing every hash after it.
"""

from __future__ import annotations

from dejavu_server.ledger.entries.encoding import (
    FORECAST,
    MARKET,
    OUTCOME,
    chain_hash,
    dumps,
    encode_entry,
    genesis_hash,
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
    "genesis_hash",
    "market_payload",
    "outcome_payload",
    "parse",
    "parse_market",
    "parse_outcome",
    "prepare",
]
