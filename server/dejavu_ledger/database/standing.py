"""Current outcomes, and forecasts made with hindsight: after their outcome was observed."""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, and_, case, exists, false, func, or_, select

from dejavu_ledger.database.schema import forecasts as _forecasts
from dejavu_ledger.database.schema import outcomes
from dejavu_models.types import Horizon

_later = outcomes.alias("later_revision")

NEWEST: ColumnElement[bool] = ~exists().where(
    _later.c.game_id == outcomes.c.game_id,
    _later.c.horizon == outcomes.c.horizon,
    _later.c.revision > outcomes.c.revision,
)
"""Whether a row of `outcomes` is the newest revision of its game and horizon, a withdrawal or not."""

STANDS: ColumnElement[bool] = and_(outcomes.c.withdrawn.is_(False), NEWEST)
"""Whether a row of `outcomes` is the outcome of its game and horizon: its newest revision, and not a withdrawal."""


def is_void(of: FromClause) -> ColumnElement[bool]:
    """Return whether a row of `outcomes`, or of an alias of it, withdraws a report before any forecast of its game.

    Such a report counts as never made, and makes no forecast late: otherwise anybody who may report could make all
    forecasts of future games late, permanently. Scorecards count the game as doubtful. Forecasts are removed only
    together with the outcomes of their game, so the answer does not change.
    """
    earlier = _forecasts.alias("earlier")
    any_earlier = exists().where(earlier.c.game_id == of.c.game_id, earlier.c.sequence < of.c.sequence)
    return and_(of.c.withdrawn, ~any_earlier.correlate(of))


_any = outcomes.alias("any_revision")

FIRST_REPORT: ColumnElement[int] = case(
    (outcomes.c.revision == 0, outcomes.c.sequence),
    else_=select(func.min(_any.c.sequence))
    .where(_any.c.game_id == outcomes.c.game_id, _any.c.horizon == outcomes.c.horizon)
    .scalar_subquery(),
)
"""Sequence of the first report of a row of `outcomes`, regardless of later corrections and withdrawals.

It orders the games in a track record. Online updates use `first_sequence`, which restarts after a withdrawal; in a
record that would let a caller choose a game's place by reporting it again.
"""

_report = outcomes.alias("first_report")
_void = outcomes.alias("void_revision")

_FIRST_REVISION = (
    select(func.coalesce(func.max(_void.c.revision) + 1, 0))
    .where(_void.c.game_id == _report.c.game_id, _void.c.horizon == _report.c.horizon, is_void(_void))
    .correlate(_report)
    .scalar_subquery()
)
"""Revision of the first report of an outcome that is not void."""


def observed_before(forecasts: FromClause, up_to: ColumnElement[int] | None = None) -> ColumnElement[bool]:
    """Return whether a row of `forecasts`, or of an alias of it, was made after its outcome was observed.

    A final outcome applies to all forecasts, a halftime outcome to those from before halftime. The first report of
    each outcome that is not void counts, even if corrected or withdrawn: no later report undoes hindsight or creates
    it. Replays are exempt, since their games are over.

    Args:
        forecasts: the table or alias.
        up_to: sequence up to which reports count; None for all.
    """
    of = forecasts.c
    conditions = () if up_to is None else (_report.c.sequence <= up_to,)
    return _reported(forecasts, _report.c.observed_us < of.generated_us, *conditions)


def sent_after(forecasts: FromClause, requested_us: ColumnElement[float]) -> ColumnElement[bool]:
    """Return whether a forecast's market was sent after its outcome was observed, as in `observed_before`.

    Args:
        forecasts: the table or alias.
        requested_us: when it was sent, in microseconds since 1970; NULL if it came with the request for the forecast.
    """
    return _reported(forecasts, _report.c.observed_us < requested_us)


def _reported(forecasts: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    of = forecasts.c
    preceded = or_(_report.c.horizon == Horizon.FINAL.value, of.minute <= Horizon.HALFTIME.last_slot)
    is_first = _report.c.revision == _FIRST_REVISION
    report = exists().where(_report.c.game_id == of.game_id, preceded, is_first, *conditions)
    return and_(of.replay == false(), report.correlate_except(_report))


def in_time(forecasts: FromClause, up_to: ColumnElement[int] | None = None) -> ColumnElement[bool]:
    """Return whether a row of `forecasts`, or of an alias of it, is not late; see `observed_before`."""
    return and_(forecasts.c.late == "", ~observed_before(forecasts, up_to))
