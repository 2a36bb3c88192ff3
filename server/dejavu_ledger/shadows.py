"""Appends the forecasts of challengers.

Shadows update the cache of the recorded state as forecasts do, so the cache stays valid, and the next forecast costs no
more than without shadows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.rows import Row
from dejavu_ledger.entries.shadows import ForecastRow, PreparedShadow, shadow_row
from dejavu_ledger.record import GameRecord
from dejavu_ledger.recording import Appended, KnownRecord
from dejavu_ledger.records import ShadowForecast, ShadowRefusal, ShadowsRecorded


def append_shadows(
    connection: Connection, drafts: Sequence[PreparedShadow], known: KnownRecord | None = None, *, full: bool = False
) -> ShadowsRecorded:
    """Record shadows in order, except inadmissible ones, which are left out and counted.

    No shadow is recorded with hindsight: the rule for forecasts (`record_forecasts`) is applied when it is recorded. A
    shadow of a forecast that was recorded late, or that a later revision replaced, is recorded, but counts no more than
    that forecast does.

    Args:
        connection: a connection in a transaction that holds the write lock.
        drafts: the shadows.
        known: knowledge of earlier calls about the same ledger; None to read everything.
        full: whether the disk has less space than its reserve, so that none are recorded.

    Raises:
        ValueError: if a value of a shadow is not a number.
    """
    known = KnownRecord() if known is None else known
    try:
        return _append(connection, drafts, known, full)
    except BaseException:
        known.forget()
        raise


def _append(
    connection: Connection, drafts: Sequence[PreparedShadow], known: KnownRecord, full: bool
) -> ShadowsRecorded:
    position = known.follow(connection)
    of = sorted({draft.shadow.forecast_sequence for draft in drafts})
    beside = {row[0]: ForecastRow(*row) for row in sql.rows(connection, _FORECASTS, sequences=of)}
    recorded = {(sequence, version) for sequence, version in sql.rows(connection, _SHADOWS, sequences=of)}
    games = known.games(connection, {row.game_id for row in beside.values()})
    sequence, hash_ = position.sequence, position.hash
    refused = Counter[ShadowRefusal]()
    added: list[ShadowForecast] = []
    entry_rows: list[Row] = []
    shadow_rows: list[Row] = []
    for draft in drafts:
        row = beside.get(draft.shadow.forecast_sequence)
        key = draft.shadow.forecast_sequence, draft.shadow.forecast.model_version
        refusal = ShadowRefusal.DISK_RESERVE if full else _refusal(draft, row, games, exists=key in recorded)
        if row is None or refusal is not None:
            refused[refusal or ShadowRefusal.NO_FORECAST] += 1
            continue
        sequence += 1
        recorded.add(key)
        shadow = replace(draft.shadow, sequence=sequence)
        text = codec.encode_entry(codec.SHADOW, draft.payload, 0, sequence)
        entry, hash_ = store.entry_row(codec.SHADOW, text, sequence, hash_)
        entry_rows.append(entry)
        shadow_rows.append(shadow_row(shadow, row))
        added.append(shadow)
    sql.insert(connection, "entries", entry_rows)
    sql.insert(connection, "shadows", shadow_rows)
    known.advance(position._replace(sequence=sequence, hash=hash_), Appended(position.sequence, (), sequence))
    return ShadowsRecorded(tuple(added), refused)


def _refusal(
    draft: PreparedShadow, row: ForecastRow | None, games: dict[str, GameRecord], *, exists: bool
) -> ShadowRefusal | None:
    """Return why a shadow is not recorded, given the row of its forecast, if there is one; None if it is recorded."""
    forecast = draft.shadow.forecast
    if row is None:
        return ShadowRefusal.NO_FORECAST
    if exists:
        return ShadowRefusal.RECORDED
    asked = forecast.horizon.value, forecast.elapsed_minutes, forecast.alpha
    if row.model_version == forecast.model_version or asked != (row.horizon, row.minute, row.alpha):
        return ShadowRefusal.OTHER_FORECAST
    game = games[row.game_id]
    if game.known_outcome(row.minute) is not None or game.was_withdrawn(row.minute):
        return ShadowRefusal.OUTCOME_KNOWN
    return None


_FORECASTS: Final = f"SELECT {', '.join(ForecastRow._fields)} FROM forecasts WHERE sequence IN :sequences"  # noqa: S608
_SHADOWS: Final = "SELECT forecast_sequence, model_version FROM shadows WHERE forecast_sequence IN :sequences"
