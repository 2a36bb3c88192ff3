"""Observations for the online state: one per outcome, model version and quarter, in order of first report.

A model learns from its forecasts, and as a challenger from its shadows. Minute and margin of a shadow, and whether it
was late or replaced, are those of the shadowed forecast.

A corrected outcome keeps the sequence of its first report, so the online state is a function of the ledger alone: all
readers at the same position have the same state. A withdrawn outcome is left out; the next report of it is a first one.

Only competitive games of the NBA are learned from (`dejavu_feed.game_ids.COMPETITIVE`): no preseason or All-Star games,
and no replays. Games whose id is of another season than their date are left out too: ratings that have reached a later
season ignore every game of an earlier one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import (
    Connection,
    LargeBinary,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    select,
    update,
)

from dejavu_feed.game_ids import COMPETITIVE, is_of_season
from dejavu_ledger.database import store
from dejavu_ledger.database.schema import entries, forecasts, outcomes, shadows, snapshots
from dejavu_ledger.database.standing import STANDS, in_time
from dejavu_ledger.entries import codec, total_values
from dejavu_ledger.entries.scored_values import BYTES_WITHOUT_QUANTILES
from dejavu_ledger.entries.shadows import parse_shadow
from dejavu_ledger.queries.predictions import canonical_forms, superseded
from dejavu_models.scorecard.doubtful import MAX_CORRECTION, contradictory_points
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import (
    QUARTER_MIDPOINTS,
    Observation,
    TrackerKey,
    quarter_of,
    static_score,
)

PAGE = 200
"""Outcomes per query."""


@dataclass(frozen=True, slots=True)
class SettledGame:
    """The outcome of a game and horizon, in its newest revision.

    Attributes:
        sequence: sequence of its first report.
        differential: home − away, in points.
        home_team, away_team: NBA codes; empty if not reported.
        day: local date of the game, by its first report: a correction may come weeks later.
        observations: scores of the forecasts to learn from: at most one for each model version and quarter.
        total_points: points of both teams; None if they were not reported.
        neutral_site: True if all its forecasts in time say that it is at a neutral site, so that no single one decides;
            otherwise None.
        players: its box score, see `entries.box_scores`; None if it was not reported.
    """

    sequence: int
    game_id: str
    horizon: Horizon
    differential: int
    home_team: str
    away_team: str
    day: date
    observations: tuple[Observation, ...]
    total_points: int | None = None
    neutral_site: bool | None = None
    players: str | None = None


class Newest(NamedTuple):
    """The newest outcomes to learn from: with withdrawn ones (`reported`) and without them (`standing`).

    Attributes:
        reported: sequence of the newest report, correction or withdrawal; 0 if there is none. It shows a reader whether
            there is anything new.
        standing: sequence of the newest current outcome; 0 if there is none. With the outcomes up to it, it identifies
            the learned state, as if withdrawn outcomes had never been reported.
    """

    reported: int
    standing: int


def newest(connection: Connection) -> Newest:
    """Return the sequences of the newest outcomes to learn from."""
    reported: int | None = connection.execute(_NEWEST).scalar_one()
    standing: int | None = connection.execute(_NEWEST_STANDING).scalar()
    return Newest(reported or 0, standing or 0)


NOTHING_LEARNED = b""
"""The `history` of a ledger without outcomes to learn from."""


def history(connection: Connection, reported: int) -> bytes:
    """Identify the ledger up to the newest report, which determines the learned state.

    Ledgers that diverged from one origin, such as a restored copy, differ in this even where the sequences are equal.
    """
    if not reported:
        return NOTHING_LEARNED
    digest: bytes = connection.execute(_HASH, {"sequence": reported}).scalar_one()
    return b"%s/%d/%s" % (store.identity(connection).ledger_id.encode(), reported, digest)


def pending(connection: Connection, reported: int) -> int:
    """Return the number of reports, corrections and withdrawals to learn from after a sequence."""
    number: int = connection.execute(_PENDING, {"sequence": reported}).scalar_one()
    return number


def corrected_since(connection: Connection, sequence: int) -> int | None:
    """Return the lowest first-report sequence, up to a sequence, of outcomes corrected or withdrawn after it.

    None if there is none.
    """
    corrected: int | None = connection.execute(_CORRECTED, {"sequence": sequence}).scalar_one()
    return corrected


def count(connection: Connection, sequence: int) -> int:
    """Return the number of standing outcomes to learn from that were first reported up to a sequence."""
    rows = connection.execute(_FIRST_REPORTS, {"place": sequence})
    return sum(is_of_season(row.game_id, date.fromordinal(row.day)) for row in rows)


def settled_games_after(
    connection: Connection, sequence: int, *, with_observations: bool = True
) -> Iterator[SettledGame]:
    """Yield the standing outcomes to learn from that were first reported after a sequence, in order.

    Args:
        connection: a read connection.
        sequence: where to start.
        with_observations: whether to read their observations, which takes most of the time.
    """
    while rows := connection.execute(_OUTCOMES, {"place": sequence, "limit": PAGE}).all():
        last = rows[-1].first_sequence
        observations = _observations(connection, sequence, last) if with_observations else {}
        for row in rows:
            day = date.fromordinal(row.first_day)
            if not is_of_season(row.game_id, day):
                continue
            yield SettledGame(
                sequence=row.first_sequence,
                game_id=row.game_id,
                horizon=Horizon(row.horizon),
                differential=row.differential,
                home_team=row.home_team,
                away_team=row.away_team,
                day=day,
                observations=tuple(observations.get(row.first_sequence, ())),
                total_points=None if row.total_points is None else int(row.total_points),
                neutral_site=True if row.is_neutral else None,
                players=row.players,
            )
        sequence = last


def read_snapshot(connection: Connection, before: int) -> tuple[int, bytes] | None:
    """Return sequence and state of the newest snapshot of the intervals before a sequence; None if there is none."""
    row = connection.execute(_SNAPSHOT, {"before": before}).one_or_none()
    return None if row is None else (row.sequence, row.state)


def write_snapshot(connection: Connection, sequence: int, state: bytes, *, read_at: int) -> None:
    """Write a snapshot of the adaptive intervals, the only online state that is stored.

    It is not written if an outcome that it includes was corrected or withdrawn after its input was read.

    A stored snapshot is replaced only if it differs, because it was damaged or written by another release.

    Args:
        connection: in a transaction that holds the write lock.
        sequence: sequence of the last outcome that it includes.
        state: the serialized state.
        read_at: `Newest.reported` when its input was read.
    """
    corrected = corrected_since(connection, read_at)
    if corrected is not None and corrected <= sequence:
        return
    stored = connection.execute(_SNAPSHOT_AT, {"at": sequence}).scalar()
    if stored is None:
        connection.execute(_ADD_SNAPSHOT, {"sequence": sequence, "state": state})
    elif stored != state:
        connection.execute(_REPLACE_SNAPSHOT, {"at": sequence, "new_state": state})


def drop_snapshots(connection: Connection, first_sequence: int) -> None:
    """Delete the snapshots that include a corrected outcome, given the sequence of its first report."""
    connection.execute(_DROP_SNAPSHOTS, {"place": first_sequence})


def _observations(connection: Connection, after: int, last: int) -> dict[int, list[Observation]]:
    """Return the observations of the outcomes that were first reported after a sequence, up to another, by outcome.

    There is one for each model version and quarter, of the first forecast, or shadow, in this order of preference: no
    pregame_margin in the request, nearest to the quarter's middle minute, earlier minute, recorded earlier. Nothing is
    learned from a forecast whose margin is not near that of the ratings. Nothing is learned from a minute whose
    forecasts have contradictory patterns, or total points that contradict other forecasts or the outcome, by more than
    feeds are corrected: at least one is wrong. Any caller with scope record could otherwise widen the intervals of all
    requests.
    """

    def order(row: Any) -> tuple[Any, ...]:
        quarter = quarter_of(row.minute)
        return (
            row.first_sequence,
            row.model_version,
            quarter,
            row.margin_given,
            abs(row.minute - QUARTER_MIDPOINTS[quarter]),
            row.minute,
            row.sequence,
        )

    def key(row: Any) -> tuple[int, TrackerKey]:
        return row.first_sequence, TrackerKey(row.model_version, Horizon(row.horizon), quarter_of(row.minute))

    between = {"after": after, "last": last}
    candidates = list(connection.execute(_SETTLED, between))
    contradictory = _contradictory(candidates) | _of_contradictory_points(candidates)
    if connection.execute(_ANY_SHADOW).first() is not None:
        candidates += connection.execute(_SETTLED_SHADOWS, between)
    told = (each for each in candidates if (each.first_sequence, each.minute) not in contradictory)
    chosen = [(key, next(group)) for key, group in groupby(sorted(told, key=order), key=key)]
    texts = canonical_forms(connection, [row.sequence for _, row in chosen])
    result: defaultdict[int, list[Observation]] = defaultdict(list)
    with store.decoding():
        for (first, tracker), row in chosen:
            text, horizon = texts[row.sequence], Horizon(row.horizon)
            forecast = (
                parse_shadow(text, horizon, row.alpha).forecast
                if row.shadow
                else codec.parse(text, explanation=False).forecast
            )
            score = static_score(forecast.distribution, forecast.static_scores, row.differential)
            result[first].append(Observation(tracker, score))
    return result


def _contradictory(rows: Iterable[Any]) -> set[tuple[int, int]]:
    """Return the outcomes and minutes with patterns that contradict one another."""
    patterns: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    for each in rows:
        patterns[each.first_sequence, each.minute].add(each.pattern)
    return {
        at
        for at, texts in patterns.items()
        if len(texts) > 1 and np.ptp([json.loads(text) for text in texts], axis=0).max() > MAX_CORRECTION
    }


def _of_contradictory_points(rows: Sequence[Any]) -> set[tuple[int, int]]:
    """Return the outcomes and minutes with points of both teams that fall, or exceed those of the outcome."""
    told = [each for each in rows if each.pace is not None]
    with store.decoding():
        minutes = [Horizon(each.horizon).minutes for each in told]
        points = total_values.told([each.pace for each in told], [each.minute for each in told], minutes)
    ends = {each.first_sequence: each for each in told if each.total_points is not None}
    at = [(each.first_sequence, each.minute) for each in told]
    at += [(first, Horizon(each.horizon).minutes) for first, each in ends.items()]
    points = np.append(points, [each.total_points for each in ends.values()])
    outcome, minute = np.array(at, dtype=np.int64).reshape(-1, 2).T
    found = contradictory_points(points, minute, outcome)
    return {at[index] for index in np.flatnonzero(found)}


_COMPETITIVE = func.substr(outcomes.c.game_id, 1, 3).in_(sorted(COMPETITIVE))

_NEWEST = select(func.max(outcomes.c.sequence)).where(_COMPETITIVE)

_HASH = select(entries.c.hash).where(entries.c.sequence == bindparam("sequence"))

_PENDING = select(func.count()).where(outcomes.c.sequence > bindparam("sequence"), _COMPETITIVE)

_NEWEST_STANDING = select(outcomes.c.sequence).where(_COMPETITIVE, STANDS).order_by(outcomes.c.sequence.desc()).limit(1)

_CORRECTED = select(func.min(outcomes.c.first_sequence)).where(
    outcomes.c.sequence > bindparam("sequence"),
    outcomes.c.first_sequence <= bindparam("sequence"),
    _COMPETITIVE,
)

_first = outcomes.alias("first")

_FIRST_REPORTS = (
    select(outcomes.c.game_id, _first.c.day)
    .join(_first, _first.c.sequence == outcomes.c.first_sequence)
    .where(
        outcomes.c.first_sequence <= bindparam("place"),
        _COMPETITIVE,
        STANDS,
    )
)

_told = forecasts.alias("told")
_OF_GAME = _told.c.game_id == outcomes.c.game_id
_ALL_SAY_NEUTRAL = (
    select(func.min(case((_told.c.neutral_site, 1), else_=0)))
    .where(_OF_GAME, in_time(_told, outcomes.c.first_sequence))
    .scalar_subquery()
)

_OUTCOMES = (
    select(
        outcomes,
        _first.c.day.label("first_day"),
        # Few games have a forecast that says so: the forecasts in time are looked up for these alone.
        case((exists().where(_OF_GAME, _told.c.neutral_site), _ALL_SAY_NEUTRAL)).label("is_neutral"),
    )
    .join(_first, _first.c.sequence == outcomes.c.first_sequence)
    .where(outcomes.c.first_sequence > bindparam("place"), _COMPETITIVE, STANDS)
    .order_by(outcomes.c.first_sequence)
    .limit(bindparam("limit"))
)


def _settled(made: Table, *, shadow: bool) -> Select[Any]:
    """Select the settled forecasts of minutes that were recorded in time and not replaced, or the shadows of these.

    The selection depends only on the reports up to the first report of the outcome, so no later report changes it.
    """
    selected = select(
        outcomes.c.first_sequence,
        outcomes.c.differential,
        made.c.sequence,
        made.c.model_version,
        literal(shadow).label("shadow"),
        forecasts.c.horizon,
        forecasts.c.minute,
        forecasts.c.alpha,
        forecasts.c.margin_given,
        forecasts.c.pattern,
        func.substr(forecasts.c.total_values, 1, total_values.PACE_BYTES, type_=LargeBinary).label("pace"),
        outcomes.c.total_points,
    ).join_from(
        outcomes,
        forecasts,
        and_(forecasts.c.game_id == outcomes.c.game_id, forecasts.c.horizon == outcomes.c.horizon),
    )
    if shadow:
        selected = selected.join(shadows, shadows.c.forecast_sequence == forecasts.c.sequence)
    return selected.where(
        outcomes.c.first_sequence > bindparam("after"),
        outcomes.c.first_sequence <= bindparam("last"),
        _COMPETITIVE,
        STANDS,
        forecasts.c.margin_plausible,
        forecasts.c.at_moment == false(),
        in_time(forecasts, outcomes.c.first_sequence),
        func.length(made.c.scored_values) > BYTES_WITHOUT_QUANTILES,
        ~superseded(outcomes.c.first_sequence),
    )


_SETTLED = _settled(forecasts, shadow=False)
_SETTLED_SHADOWS = _settled(shadows, shadow=True)
_ANY_SHADOW = select(shadows.c.sequence).limit(1)

_SNAPSHOT = (
    select(snapshots.c.sequence, snapshots.c.state)
    .where(snapshots.c.sequence < bindparam("before"))
    .order_by(snapshots.c.sequence.desc())
    .limit(1)
)

_ONE_SNAPSHOT = snapshots.c.sequence == bindparam("at")
_SNAPSHOT_AT = select(snapshots.c.state).where(_ONE_SNAPSHOT)
_ADD_SNAPSHOT = insert(snapshots)
_REPLACE_SNAPSHOT = update(snapshots).where(_ONE_SNAPSHOT).values(state=bindparam("new_state"))

_DROP_SNAPSHOTS = delete(snapshots).where(snapshots.c.sequence >= bindparam("place"))
