"""Reads the settled forecasts of a scorecard from the ledger and scores them, column by column.

The scores are those of `entries.settlement.settle`, computed here for thousands of forecasts at a time.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    cast,
    exists,
    false,
    func,
    or_,
    select,
    true,
)

from dejavu_feed.game_ids import is_league_id
from dejavu_feed.pattern import OVERTIME_SECONDS
from dejavu_feed.teams import TEAMS
from dejavu_ledger.database import store
from dejavu_ledger.database.canonical_value import canonical_number
from dejavu_ledger.database.schema import entries, forecasts, markets, outcomes
from dejavu_ledger.database.standing import (
    FIRST_REPORT,
    NEWEST,
    in_time,
    is_void,
    observed_before,
    sent_after,
)
from dejavu_ledger.entries import codec, scored_values, total_values
from dejavu_ledger.entries.settlement import Bet
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.queries.filters import KEPT_FILTERS, CommonFilter, unindexed
from dejavu_ledger.records import LateReason
from dejavu_models.arrays import Floats
from dejavu_models.betting import Market, MarketAnswer, MarketKind, fair_probability, spread_to_come
from dejavu_models.scorecard.doubtful import FEED_LAG_SECONDS, MAX_CORRECTION, MAX_MINUTE_SWING
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts, SettledMarket
from dejavu_models.types import Horizon

_PARTITION_ROWS = 5000
"""Rows held as Python objects at a time: as objects they take twenty times the memory that they take in arrays."""


SMALL_READ = 5000
"""Maximum number of forecasts that a small read goes through: some 50 ms of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFilter(CommonFilter):
    """Selects settled forecasts of one horizon.

    Attributes:
        min_minutes, max_minutes: bounds of the minute of play.
        recorded_by: identity of the caller who recorded them; empty: any.
    """

    horizon: Horizon = Horizon.HALFTIME
    min_minutes: int | None = None
    max_minutes: int | None = None
    recorded_by: str = ""

    def parameters(self) -> dict[str, object]:
        """See `CommonFilter.parameters`."""
        own = {
            "min_minutes": self.min_minutes,
            "max_minutes": self.max_minutes,
            "recorded_by": self.recorded_by or None,
        }
        # Not super(), which a dataclass with slots does not have.
        return CommonFilter.parameters(self) | {name: value for name, value in own.items() if value is not None}


class SettledByModel(NamedTuple):
    """Settled forecasts with their model versions, in order of their outcomes; includes forecasts that do not count.

    Attributes:
        forecasts: the settled forecasts.
        model: (n,), index of each forecast's model version in `models`.
        models: the model versions.
    """

    forecasts: SettledForecasts
    model: NDArray[np.int64]
    models: list[str]


class Position(NamedTuple):
    """Identity of a scorecard's inputs: equal positions on one evening mean equal inputs.

    After an outcome stands in the ledger, neither forecasts nor markets of its game and horizon are recorded (see
    `store.append`). A scorecard therefore changes only with another outcome, with the withdrawal of one, and at the end
    of an evening, when its games start to count as unsettled.

    Attributes:
        ledger: the identity of the ledger.
        outcome: sequence of the newest outcome; 0 if there is none.
    """

    ledger: store.Identity
    outcome: int


def position(connection: Connection) -> Position:
    """Return the position of the ledger."""
    with store.snapshot_read(connection):
        return read_position(connection)


def read_position(connection: Connection) -> Position:
    """Return the position of the ledger; call it within `store.snapshot_read`."""
    return Position(store.identity(connection), connection.execute(_NEWEST_OUTCOME).scalar() or 0)


TEAM_CODES: Final = {"": 0, **{team: 1 + index for index, team in enumerate(sorted(TEAMS))}}
"""Integers that represent teams in columns; 0 for none."""


class Codes:
    """Integers that represent texts in columns, numbered in order of appearance.

    Attributes:
        models: codes of model versions.
        callers: codes of callers.
    """

    def __init__(self) -> None:
        self.models: defaultdict[str, int] = defaultdict(lambda: len(self.models))
        self.callers: defaultdict[str, int] = defaultdict(lambda: len(self.callers))

    def copy(self) -> Codes:
        """Return a copy, which gets codes of its own from then on."""
        copy = Codes()
        copy.models.update(self.models)
        copy.callers.update(self.callers)
        return copy


Columns = dict[str, NDArray[Any]]
"""Columns of `SettledForecasts`, and model, caller (codes) and confidence: equal in length."""


def is_small(connection: Connection, filter_: ScoreFilter) -> bool:
    """Return whether an index leads to at most SMALL_READ forecasts that match a filter."""
    given = filter_.parameters().keys()
    values = {"first_day": 0, "last_day": _LAST_DAY, **filter_.parameters(), "most": SMALL_READ + 1}
    counts = (_COUNTS[name] for name in _COUNTS if name in given or (name == "all" and not given & _SELECTIVE))
    return any(connection.execute(count, values).scalar_one() <= SMALL_READ for count in counts)


def settled(connection: Connection, filter_: ScoreFilter) -> SettledByModel:
    """Return the settled forecasts that match a filter, in order of their outcomes.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    codes = Codes()
    with store.snapshot_read(connection):
        columns = read_columns(connection, filter_, codes)
    return by_model(columns, codes)


def by_model(columns: Columns, codes: Codes) -> SettledByModel:
    """Return the settled forecasts in columns."""
    forecasts = SettledForecasts(**{each.name: columns[each.name] for each in fields(SettledForecasts)})
    return SettledByModel(forecasts, columns["model"], list(codes.models))


def read_columns(connection: Connection, filter_: ScoreFilter, codes: Codes) -> Columns:
    """Read the settled forecasts that match a filter, in order of their outcomes.

    Args:
        connection: a read connection, within `store.snapshot_read`.
        filter_: the filter.
        codes: codes of texts; new texts get new codes.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    values = filter_.parameters()
    statements = _statements(frozenset({*values, *(["real"] if filter_.real_only else [])}))
    parts: dict[str, list[NDArray[Any]]] = {
        name: [column] for name, column in _scored([], codes, filter_.horizon).items()
    }
    # Not an option of the connection, which its later statements would have too.
    streamed = {"yield_per": _PARTITION_ROWS}
    with connection.execute(statements.forecasts, values, execution_options=streamed) as result:
        for rows in result.partitions():
            for name, column in _scored(rows, codes, filter_.horizon).items():
                parts[name].append(column)
    superseded = connection.execute(statements.superseded, values).scalars().all()

    def joined(name: str) -> NDArray[Any]:
        """Return a column as one array and free its parts, so that memory holds it only once."""
        return np.concatenate(parts.pop(name))

    sequence, first = joined("sequence"), joined("first_report")
    # Sort, since a sum of floats depends on the order, and the database's is arbitrary.
    order = np.lexsort((sequence, first))
    sequence, game = sequence[order], first[order]  # one outcome per game, since there is one horizon
    columns = {name: joined(name)[order] for name in [*parts]}
    outcomes_ = columns["differential"], columns.pop("outcome_total")
    exclusion = columns["exclusion"]
    exclusion[(exclusion == Exclusion.NONE) & np.isin(sequence, superseded)] = Exclusion.SUPERSEDED
    with connection.execute(statements.markets, values, execution_options=streamed) as markets_:
        of_markets = _markets(markets_, sequence, columns["elapsed_s"], outcomes_, filter_.horizon)
    return columns | {"markets": of_markets, "sequence": sequence, "game": game, "order": game}


_LATE = {
    "": Exclusion.NONE,
    LateReason.LATER_MINUTE.value: Exclusion.LATER_MINUTE,
    LateReason.TIME.value: Exclusion.LATE_TIME,
    LateReason.REPORTED.value: Exclusion.REPORTED,
    LateReason.GAME_DATE.value: Exclusion.GAME_DATE,
}


def _scored(rows: Sequence[Any], codes: Codes, horizon: Horizon) -> Columns:
    """Return `Columns` for some rows, without markets, but with sequence, first_report and both results."""
    raw: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * 28
    sequence, first_report, differentials, minute, elapsed, alpha, late, version, values, *attributes = raw
    home, away, day, confidence, replay, total_values_, total_points, *standing = attributes
    observed, withdrawn, corrected, game_id, other_teams, made_us, too_early, margin_key, *told_before = standing
    caller, pregame_total, neutral_site, missing_players = told_before
    differential = np.array(differentials, dtype=np.float64)
    try:
        exclusion = np.array([_LATE[reason] for reason in late], dtype=np.int64)
        scored = scored_values.unpack(values)
        totals = total_values.scores(total_values_, total_points)
        told = total_values.told(total_values_, minute, horizon.minutes)
    except (KeyError, ValueError) as error:
        raise LedgerCorrupt("the ledger is damaged: a forecast cannot be scored") from error
    exclusion[np.array(observed, dtype=np.bool_) & (exclusion == Exclusion.NONE)] = Exclusion.OBSERVED
    in_time = exclusion == Exclusion.NONE
    elapsed_s = np.array(elapsed, dtype=np.float64)
    minutes = (elapsed_s // 60).astype(np.int64)
    left = np.where(minutes < horizon.minutes, horizon.minutes - minutes, OVERTIME_SECONDS // 60)
    too_far = np.abs(scored.last_known - differential) > MAX_CORRECTION + MAX_MINUTE_SWING * left
    too_few = told - np.array(total_points, dtype=np.float64) > MAX_CORRECTION  # None becomes NaN
    exclusion[np.array(withdrawn, dtype=np.bool_)] = Exclusion.WITHDRAWN
    return {
        "sequence": np.array(sequence, dtype=np.int64),
        "first_report": np.array(first_report, dtype=np.int64),
        "differential": differential,
        "outcome_total": np.array(total_points, dtype=np.float64),
        "model": np.array([codes.models[name] for name in version], dtype=np.int64),
        "home": np.array([TEAM_CODES[name] for name in home], dtype=np.int32),
        "away": np.array([TEAM_CODES[name] for name in away], dtype=np.int32),
        "day": np.array(day, dtype=np.int32),
        "confidence": np.array(confidence, dtype=np.float64),
        "replay": np.array(replay, dtype=np.bool_),
        "caller": np.array([codes.callers[name] for name in caller], dtype=np.int32),
        "minute": minutes,
        "elapsed_s": elapsed_s,
        "error": scored.point - differential,
        "lead": scored.last_known,
        "covered": scored.covered(differential),
        "alpha": np.array(alpha, dtype=np.float64),
        "width": scored.upper - scored.lower,
        "probability": scored.probability,
        "crps": scored.crps(differential),
        "exclusion": exclusion,
        "corrected": np.array(corrected, dtype=np.bool_),
        "other_teams": np.array(other_teams, dtype=np.bool_),
        "in_league": np.array([is_league_id(game) for game in game_id], dtype=np.bool_),
        "in_time": in_time,
        "margin": np.array([np.nan if key is None else json.loads(key)[5] for key in margin_key], dtype=np.float64),
        "pregame_total": np.array(pregame_total, dtype=np.float64),  # None becomes NaN
        "neutral_site": np.array(neutral_site, dtype=np.float64),
        "missing_players": np.array(missing_players, dtype=np.float64),
        "made_us": np.array(made_us, dtype=np.int64),
        "outcome_doubtful": np.array(too_early, dtype=np.bool_) | too_far | too_few,
        "total_points": told,
        **totals,
    }


def _markets(
    rows: Iterable[Any],
    sequence: NDArray[np.int64],
    elapsed_s: Floats,
    outcomes_: tuple[Floats, Floats],
    horizon: Horizon,
) -> NDArray[np.object_]:
    """Return the settled markets of n forecasts, (n,); see `SettledForecasts.markets`.

    Args:
        rows: of each market its forecast_sequence, whether it was sent after the outcome was observed, and its entry.
        sequence: (n,), the forecasts.
        elapsed_s: (n,), seconds of play at each.
        outcomes_: their differentials and totals, (n,) each; NaN for a total that was not reported.
        horizon: the horizon.

    Raises:
        LedgerCorrupt: if an entry cannot be read back.
    """
    settled_markets = np.full(len(sequence), None, dtype=np.object_)
    place: dict[int, int] | None = None
    for forecast, late, number, text in rows:
        if place is None:  # few ledgers have markets
            place = {each: index for index, each in enumerate(sequence.tolist())}
        if (index := place.get(forecast)) is None:
            continue
        try:
            _, market, answer = codec.parse_market(text)
        except ValueError as error:
            raise LedgerCorrupt("the ledger is damaged: a market cannot be scored") from error
        points = float(outcomes_[market.kind is MarketKind.TOTAL][index])
        one = _settled_market(market, answer, points, horizon.minutes - float(elapsed_s[index]) / 60.0, horizon)
        others = settled_markets[index] or ()
        settled_markets[index] = (*others, one._replace(sequence=number, late=bool(late)))
    return settled_markets


def _settled_market(
    market: Market, answer: MarketAnswer, points: float, minutes_left: float, horizon: Horizon
) -> SettledMarket:
    bet, chosen, on_total = Bet.from_market(market, answer), answer.chosen, market.kind is MarketKind.TOTAL
    decided = 1.0 - answer.push_probability
    return SettledMarket(
        on_total=on_total,
        line=market.line,
        spread=spread_to_come(minutes_left, final=horizon is Horizon.FINAL, on_total=on_total),
        model_probability=answer.above.win_probability / decided if decided > 0.0 else math.nan,
        fair_probability=fair_probability(market.above_odds, market.below_odds),
        home_won=math.nan if math.isnan(points) or points == market.line else float(points > market.line),
        side=0 if bet.side is None else 1 if bet.side.is_above else -1,
        odds=bet.decimal_odds,
        stake=bet.stake_fraction,
        profit=math.nan if math.isnan(points) else bet.profit(int(points)),
        expected_profit=0.0 if chosen is None else chosen.stake_fraction * chosen.expected_value,
        game_cap=answer.policy.game_cap,
        evening_cap=answer.policy.evening_cap,
        implausible=answer.implausible,
    )


CONDITIONS: dict[str, ColumnElement[bool]] = {
    "game": forecasts.c.game_id == bindparam("game"),
    "team": (forecasts.c.home_team == bindparam("team")) | (forecasts.c.away_team == bindparam("team")),
    "confidence": forecasts.c.confidence >= bindparam("confidence"),
    "horizon": forecasts.c.horizon == bindparam("horizon"),
    "model": forecasts.c.model_version == bindparam("model"),
    "first_day": forecasts.c.day >= bindparam("first_day"),
    "last_day": forecasts.c.day <= bindparam("last_day"),
    "min_minutes": forecasts.c.minute >= bindparam("min_minutes"),
    "max_minutes": forecasts.c.minute <= bindparam("max_minutes"),
    "real": forecasts.c.replay == false(),
    "recorded_by": forecasts.c.recorded_by == bindparam("recorded_by"),
}

_SELECTIVE = frozenset({"game", "team", "model", "first_day", "last_day"})
"""Conditions with an index that leads to fewer forecasts than the outcomes of a horizon do."""

_LAST_DAY = 10_000_000  # beyond any date

_NEWEST_OUTCOME = select(func.max(outcomes.c.sequence))


def _count(*conditions: ColumnElement[bool]) -> Select[int]:
    """Count forecasts, in an index that covers the conditions, up to a number."""
    return select(func.count()).select_from(
        select(forecasts.c.sequence).where(*conditions).limit(bindparam("most")).subquery()
    )


_days = _count(forecasts.c.day >= bindparam("first_day"), forecasts.c.day <= bindparam("last_day"))
_COUNTS: dict[str, Select[int]] = {
    "game": _count(CONDITIONS["game"]),
    "first_day": _days,
    "last_day": _days,
    "team": _count(CONDITIONS["team"]),
    "model": _count(CONDITIONS["model"]),
    "all": _count(),
}
"""Queries that count the forecasts that a condition leads to; `all` is for filters without such a condition."""

LATER: Final = forecasts.alias("later")
_other = outcomes.alias("other_revision")
_CORRECTED = exists().where(
    _other.c.game_id == outcomes.c.game_id,
    _other.c.horizon == outcomes.c.horizon,
    (_other.c.differential != outcomes.c.differential)
    | (_other.c.total_points != func.coalesce(outcomes.c.total_points, -1)),
)
"""Whether some other report of an outcome has another differential, or a total that is not the outcome's."""

_OTHER_TEAMS = or_(
    *(
        and_(reported != "", named != "", reported != named)
        for reported, named in (
            (outcomes.c.home_team, forecasts.c.home_team),
            (outcomes.c.away_team, forecasts.c.away_team),
        )
    )
)
"""Whether an outcome names another team than a forecast."""


_MINUTES_LEFT = case({each.value: each.minutes for each in Horizon}, value=outcomes.c.horizon) - forecasts.c.minute

_LEAST_US = cast(_MINUTES_LEFT, BigInteger) * 60_000_000 - FEED_LAG_SECONDS * 1_000_000
"""Minimum microseconds of the play after a forecast; without the cast, an integer of PostgreSQL would overflow."""

_TOO_SOON = outcomes.c.observed_us - forecasts.c.generated_us < _LEAST_US
"""Whether an outcome was observed sooner after a forecast than the play in between takes."""

_outcome_entry = entries.alias("outcome_entry")
_OVERTIMES = (
    select(canonical_number(_outcome_entry.c.canonical, "payload", "overtimes"))
    .where(_outcome_entry.c.sequence == outcomes.c.sequence)
    .scalar_subquery()
)
_REGULATION_S = float(Horizon.FINAL.seconds)
_MOST_OVERTIMES: Final = 6
"""The most overtimes that an NBA game has had."""
_NO_SUCH_OVERTIME = case(
    (
        forecasts.c.elapsed_s >= _REGULATION_S,  # few are: the entry is read for these alone
        # A forecast at the very end of a period is of the overtime that follows.
        func.coalesce(
            or_(
                forecasts.c.elapsed_s >= _REGULATION_S + OVERTIME_SECONDS * _OVERTIMES,
                _OVERTIMES > _MOST_OVERTIMES,
            ),
            true(),
        ),
    ),
    else_=false(),
)
"""Whether a forecast is of an overtime that the game did not have, or whose report names none, or too many."""

_withdrawn = outcomes.alias("withdrawn_revision")
_REPORTED_EARLY = exists().where(_withdrawn.c.game_id == outcomes.c.game_id, is_void(_withdrawn))
"""Whether an outcome of the game was reported and withdrawn before its first forecast."""


class _Statements(NamedTuple):
    """Statements that read the forecasts, their markets, and which of them are superseded.

    Joined into one statement, they would look for a market and a later revision of each forecast, which few have.
    """

    forecasts: Select[Any]
    markets: Select[Any]
    superseded: Select[Any]


@lru_cache(KEPT_FILTERS)
def _statements(conditions: frozenset[str]) -> _Statements:
    where = [condition for name, condition in CONDITIONS.items() if name in conditions]

    def driving(column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a column; without a selective condition, one without an index, so that its table is read first."""
        return column if conditions & _SELECTIVE else unindexed(column)

    settled_forecasts = (
        select(
            forecasts.c.sequence,
            FIRST_REPORT,
            outcomes.c.differential,
            forecasts.c.minute,
            forecasts.c.elapsed_s,
            forecasts.c.alpha,
            forecasts.c.late,
            forecasts.c.model_version,
            forecasts.c.scored_values,
            forecasts.c.home_team,
            forecasts.c.away_team,
            forecasts.c.day,
            forecasts.c.confidence,
            forecasts.c.replay,
            forecasts.c.total_values,
            outcomes.c.total_points,
            observed_before(forecasts),
            outcomes.c.withdrawn,
            _CORRECTED,
            forecasts.c.game_id,
            _OTHER_TEAMS,
            forecasts.c.generated_us,
            or_(_TOO_SOON, _REPORTED_EARLY, _NO_SUCH_OVERTIME),
            case((forecasts.c.margin_given, forecasts.c.key)),  # its sixth part; see `codec.prepare`
            forecasts.c.recorded_by,
            forecasts.c.pregame_total,
            forecasts.c.neutral_site,
            forecasts.c.missing_players,
        )
        .join_from(
            forecasts,
            outcomes,
            and_(driving(outcomes.c.game_id) == forecasts.c.game_id, outcomes.c.horizon == forecasts.c.horizon),
        )
        .where(
            outcomes.c.horizon == bindparam("horizon"),
            NEWEST,
            # Those recorded after a withdrawal were never settled.
            outcomes.c.withdrawn.is_(False) | (forecasts.c.sequence < outcomes.c.sequence),
            *where,
        )
    )
    requested = canonical_number(entries.c.canonical, "payload", "requested_us")
    with_market = (
        select(forecasts.c.sequence, sent_after(forecasts, requested), markets.c.sequence, entries.c.canonical)
        .join_from(forecasts, markets, driving(markets.c.forecast_sequence) == forecasts.c.sequence)
        .join(entries, entries.c.sequence == markets.c.sequence)
        .where(*where)
    )
    replaced = superseded_by_key() if not conditions & _SELECTIVE else _superseded_one_by_one()
    return _Statements(settled_forecasts, with_market, replaced.where(*where))


def superseded_by_key(*of_later: ColumnElement[bool]) -> Select[Any]:
    """Select the forecasts that a later revision in time replaces, each once, even if it has thousands of them.

    It begins with the keys that have such a revision, which are few.

    Args:
        of_later: conditions of the later revisions, rows of LATER.
    """
    newest = (
        select(LATER.c.key, func.max(LATER.c.revision).label("revision"))
        .where(LATER.c.revision > 0, in_time(LATER), *of_later)
        .group_by(LATER.c.key)
        .subquery()
    )
    return select(forecasts.c.sequence).join_from(
        newest, forecasts, and_(forecasts.c.key == newest.c.key, forecasts.c.revision < newest.c.revision)
    )


def _superseded_one_by_one() -> Select[Any]:
    """Select the same as `superseded_by_key`, except late forecasts, in a way that is fast if few forecasts match."""
    replaced = exists().where(LATER.c.key == forecasts.c.key, LATER.c.revision > forecasts.c.revision, in_time(LATER))
    return select(forecasts.c.sequence).where(in_time(forecasts), replaced.correlate_except(LATER))
