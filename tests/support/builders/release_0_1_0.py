"""Ledgers of release 0.1.0, which had no attributions or expected margins and accepted any text as a team."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from dejavu_server.ledger import Durability
from dejavu_server.ledger.database import alembic_runner
from dejavu_server.ledger.database.sqlite import backend as sqlite
from dejavu_server.ledger.entries import canonical_json, codec, rows
from dejavu_server.records import IssuedForecast

ENTRY = (
    '{"kind":"forecast","payload":{"forecast":{"elapsed_minutes":3,"expires_us":1767323345678901,"explanation":'
    '{"baseline_prediction":-1.0,"dejavu_prediction":0.65,"dejavu_weight":0.4,"ensemble_forecast":1.25,'
    '"lstm_prediction":1.65,"lstm_weight":0.6,"similar_games":[{"away_team":"NYK","date":"2021-03-14",'
    '"differential_at_horizon":3.0,"distance":1.5,"games":4,"home_team":"BOS"}]},"generated_us":1767323045678901,'
    '"home_lead_probability":0.6,"interval_lower":-10.25,"interval_upper":13.25,"model_version":"v1",'
    '"point":1.25},"request":{"alpha":0.05,"away_team":"GSW","game_id":"0022300001","home_team":"Zürich",'
    '"horizon":"halftime","pattern":[0.0,2.0,-1.0],"pregame_margin":5.5}},"revision":2,"sequence":7}'
)
"""An entry of a ledger in canonical form."""


def make(database: Path) -> None:
    """Creates an empty ledger with the schema of that release."""
    database.touch()
    writing = sqlite.writing_engine(database, Durability.PROCESS)
    with writing.begin() as connection:
        alembic_runner.upgrade(connection, "ledger_0001")
    writing.dispose()


def record(database: Path, forecast: IssuedForecast) -> bytes:
    """Appends a forecast to a ledger as that release did; returns the entry's hash.

    Args:
        database: file of a ledger of that release or a later one.
        forecast: forecast with an explanation and its sequence.
    """
    draft = codec.prepare(forecast)
    payload = _pruned(json.loads(draft.payload), json.loads(ENTRY)["payload"])
    text = codec.encode_entry(codec.FORECAST, canonical_json.dumps(payload), forecast.revision, forecast.sequence)
    row = rows.forecast_row(forecast, draft)
    with closing(sqlite3.connect(database)) as connection, connection:
        [(ledger_id,)] = connection.execute("SELECT ledger_id FROM ledger")
        head = connection.execute("SELECT hash FROM entries ORDER BY sequence DESC").fetchone()
        hash_ = codec.chain_hash(codec.genesis_hash(ledger_id) if head is None else head[0], text)
        connection.execute("INSERT INTO entries VALUES (?, 'forecast', ?, ?)", (forecast.sequence, text, hash_))
        columns = "(sequence, key, revision, pattern, game_id, horizon, generated_us)"
        placeholders = ":" + columns[1:-1].replace(", ", ", :")
        connection.execute(f"INSERT INTO forecasts {columns} VALUES ({placeholders})", row)
    return hash_


def _pruned(value: Any, model: Any) -> Any:
    """Removes the keys that a model value does not have from a JSON value."""
    if isinstance(model, dict):
        return {key: _pruned(value[key], inner) for key, inner in model.items()}
    if isinstance(model, list) and model and isinstance(model[0], dict):
        return [_pruned(inner, model[0]) for inner in value]
    return value
