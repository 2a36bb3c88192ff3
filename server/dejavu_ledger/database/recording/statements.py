"""Prepared queries of the recording of forecasts, built once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ClauseElement, ColumnElement, case, func, literal, select, union, union_all

from dejavu_ledger.database.recording.prepared import PreparedQuery
from dejavu_ledger.database.schema import entries, forecasts, ledger, markets, model_changes, outcomes
from dejavu_ledger.database.standing import NEWEST, is_void


def _position(_: Sequence[ColumnElement[str]]) -> ClauseElement:
    newest = select(func.max(entries.c.sequence)).scalar_subquery()
    return select(
        ledger.c.ledger_id,
        ledger.c.epoch,
        entries.c.sequence,
        entries.c.hash,
        select(func.max(model_changes.c.sequence)).scalar_subquery(),
    ).select_from(ledger.outerjoin(entries, entries.c.sequence == newest))


def _newest_of_keys(keys: Sequence[ColumnElement[str]]) -> ClauseElement:
    # Looked up once for each key: a subquery for each revision would walk all late revisions of its key again.
    of_keys = select(forecasts.c.key, func.max(forecasts.c.revision).label("revision")).where(forecasts.c.key.in_(keys))
    newest = union(
        *(each.group_by(forecasts.c.key) for each in (of_keys, of_keys.where(forecasts.c.late == "")))
    ).subquery("newest")
    return (
        select(forecasts.c.key, forecasts.c.pattern, entries.c.canonical)
        .join(newest, (forecasts.c.key == newest.c.key) & (forecasts.c.revision == newest.c.revision))
        .join(entries, entries.c.sequence == forecasts.c.sequence)
        .order_by(forecasts.c.revision)
    )


def _recorded_markets(sequences: Sequence[ColumnElement[int]]) -> ClauseElement:
    return (
        select(entries.c.canonical)
        .join(markets, markets.c.sequence == entries.c.sequence)
        .where(markets.c.forecast_sequence.in_(sequences))
    )


def _state(games: Sequence[ColumnElement[str]]) -> ClauseElement:
    other = forecasts.alias("other")
    # A single statement, since the write lock is held meanwhile.
    return union_all(
        select(
            outcomes.c.game_id,
            outcomes.c.horizon,
            outcomes.c.sequence,
            case((outcomes.c.withdrawn, 1), else_=0),
            literal(0),
            literal(""),
        ).where(outcomes.c.game_id.in_(games), NEWEST, ~is_void(outcomes)),
        select(
            forecasts.c.game_id,
            literal(""),
            forecasts.c.elapsed_s,
            func.min(forecasts.c.generated_us),
            select(func.min(other.c.generated_us)).where(other.c.game_id == forecasts.c.game_id).scalar_subquery(),
            literal(""),
        )
        .where(
            forecasts.c.game_id.in_(games),
            forecasts.c.elapsed_s
            == select(func.max(other.c.elapsed_s)).where(other.c.game_id == forecasts.c.game_id).scalar_subquery(),
        )
        .group_by(forecasts.c.game_id, forecasts.c.elapsed_s),
        select(forecasts.c.game_id, literal(""), func.count(), literal(0), literal(0), forecasts.c.recorded_by)
        .where(forecasts.c.game_id.in_(games))
        .group_by(forecasts.c.game_id, forecasts.c.recorded_by),
    )


POSITION: Final = PreparedQuery(_position)
"""Ledger id, epoch; sequence and hash of the newest entry, or NULL; sequence of the newest change of models, or NULL.
No list.
"""

NEWEST_OF_KEYS: Final = PreparedQuery(_newest_of_keys)
"""By keys: key, pattern and entry of the newest revision and of the newest recorded in time, the older one first."""

RECORDED_MARKETS: Final = PreparedQuery(_recorded_markets)
"""By sequences of forecasts: the entries of their markets."""

STATE_OF_GAMES: Final = PreparedQuery(_state)
"""By games: game, horizon and sequence of the newest revision of each outcome, unless it is void, and whether it is a
withdrawal. Also, with an empty horizon: the newest second of play, the time since which the ledger has it, and the time
of the first forecast; and the number of forecasts of each caller, with no time.
"""
