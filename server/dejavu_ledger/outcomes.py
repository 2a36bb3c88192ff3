"""Records outcomes in the ledger, and withdraws them.

An outcome is one entry, however many forecasts it settles; their scores are computed again with it.

The connection's transaction must hold the write lock from its start, as for all writes (see `store`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_feed.game_ids import is_replay
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec, rows
from dejavu_ledger.errors import GameFull, InvalidDifferential, InvalidTime, OutcomeStands, UnknownOutcome
from dejavu_ledger.queries import learning
from dejavu_ledger.recording import load_game
from dejavu_ledger.records import ReportedOutcome
from dejavu_ledger.rules import DecidingReport, GameRecord, OutcomeRevisions, agree, completed, values_of
from dejavu_ledger.settling import settle
from dejavu_models.errors import InvalidInput, InvalidLiveInput, InvalidTeam
from dejavu_models.results import Failed, Result
from dejavu_models.scorecard.doubtful import FEED_LAG_SECONDS
from dejavu_models.types import Horizon

MAX_REVISIONS: Final = 100
"""Maximum number of revisions of an outcome by one caller: every read of its game walks all revisions. The limit is per
caller, so that a caller who reaches it keeps nobody else from correcting the outcome."""

MAX_SWING: Final = 100
"""Largest plausible change of a differential from the half to the end, in points; none in the NBA came near it."""

FEED_LAG: Final = timedelta(seconds=FEED_LAG_SECONDS)
"""Longest usual delay between a minute of play and its forecast."""

_PLACES: Final = {Horizon.HALFTIME: "at the half", Horizon.FINAL: "at the end"}


def record_outcome(
    connection: Connection, reported: ReportedOutcome, now: datetime, *, correct: bool = True
) -> Result[tuple[ReportedOutcome, int]]:
    """Record an outcome, unless it is the current one already. It settles every forecast of its game and horizon.

    A report without teams, total points or players agrees with an outcome that has them. A revision without teams keeps
    those of the current outcome; one without total points, overtimes or players keeps these, too, if it has the same
    differential. A report that only adds some of these is recorded as a revision, but corrects nothing. Different
    overtimes alone change nothing, nor does a different time. The next report after a withdrawal counts as a first
    report: online updates apply it at its own place in the order.

    Args:
        connection: a connection in a transaction that holds the write lock.
        reported: the outcome; its sequence, revision and recorded time are ignored.
        now: the current time, UTC.
        correct: whether the report may correct the current outcome.

    Returns:
        The outcome as recorded, and the number of forecasts that it settles. Fails with an InvalidInput if it
        contradicts the record of the game: the differential (`MAX_SWING`) or the total points at the other horizon, the
        teams of every forecast or of an outcome, or the minutes of the forecasts before its time (`_too_early`).
        Another differential or team probably belongs to another game, and swapped teams give the differential the wrong
        sign. Fails with an OutcomeStands if it would correct the outcome and `correct` is false; with a GameFull if
        this caller has already made MAX_REVISIONS of it, which can then still be withdrawn.
    """
    revisions = _revisions(connection, reported.game_id, reported.horizon)
    game, before = load_game(connection, reported.game_id), revisions.standing
    if before is not None and agree(before, reported):
        return before, _count(connection, before)
    contradiction = _contradiction(connection, reported, before, game.owner)
    # Only the first report decides which forecasts were made with hindsight.
    if contradiction is None and reported.horizon not in game.deciding:
        contradiction = _too_early(connection, reported)
    if contradiction is not None:
        return Failed(contradiction)
    outcome = reported if before is None else completed(reported, before)
    if before is not None and not correct and not _only_adds(before, outcome):
        return Failed(OutcomeStands(_difference(before, reported), before))
    if _revised(connection, reported) >= MAX_REVISIONS:
        found = f"{reported.game_id} {_PLACES[reported.horizon]}"
        limit = f"{MAX_REVISIONS} revisions by this caller, which is the limit; another caller can correct it"
        return Failed(GameFull(f"the outcome of {found} has {limit}"))
    return _add(connection, replace(outcome, recorded_time=now, withdrawn=False), revisions, game)


def withdraw_outcome(
    connection: Connection, game_id: str, horizon: Horizon, now: datetime, recorded_by: str = ""
) -> Result[tuple[ReportedOutcome, int]]:
    """Withdraw the outcome of a game and horizon, unless it is withdrawn already.

    From then on, answers are as if it had never been reported: its forecasts have no outcome, and online updates leave
    it out. Further forecasts are recorded: as late, unless the withdrawal is void (`rules.GameRecord.add_outcome`).

    Args:
        connection: a connection in a transaction that holds the write lock.
        game_id: the game.
        horizon: the horizon.
        now: the current time, UTC.
        recorded_by: identity of the caller; empty if it is not known.

    Returns:
        The revision that withdraws it, and the number of forecasts of the game and horizon. Fails with an
        UnknownOutcome if none was ever reported.
    """
    revisions = _revisions(connection, game_id, horizon)
    newest, before = revisions.newest, revisions.standing
    if newest is None:
        return Failed(UnknownOutcome(game_id, _PLACES[horizon]))
    if before is None:
        return newest, _count(connection, newest)
    withdrawal = replace(before, recorded_time=now, withdrawn=True, recorded_by=recorded_by)
    return _add(connection, withdrawal, revisions, load_game(connection, game_id))


def _add(
    connection: Connection, outcome: ReportedOutcome, before: OutcomeRevisions, game: GameRecord
) -> tuple[ReportedOutcome, int]:
    """Add the next revision of an outcome; return it and the number of forecasts of its horizon."""
    head = store.head(connection)
    outcome = replace(outcome, sequence=head.sequence + 1, revision=before.next_number, created=True)
    first_sequence = before.after(outcome).first_sequence
    learning.drop_snapshots(connection, first_sequence)
    entry = codec.Entry(codec.OUTCOME, outcome.revision, outcome.sequence, outcome.recorded_by)
    sql.insert(connection, "entries", [store.entry_row(entry, codec.outcome_payload(outcome), head.hash)])
    sql.insert(connection, "outcomes", [rows.outcome_row(outcome, first_sequence)])
    game.add_outcome(outcome.horizon, outcome.sequence, outcome.observed_time, withdrawn=outcome.withdrawn)
    report = game.deciding.get(outcome.horizon)
    if report is not None and report.sequence == outcome.sequence:
        mark_hindsight(connection, outcome.game_id, outcome.horizon, report)
    settle(connection, outcome.game_id)
    return outcome, _count(connection, outcome)


def mark_hindsight(connection: Connection, game_id: str, horizon: Horizon, report: DecidingReport) -> None:
    """Mark what the deciding report of an outcome shows to have been made with hindsight (`GameRecord.hindsight`).

    These are the forecasts of its game, and the markets sent after them, that are recorded before the report and were
    made after its observed time; with an outcome of the half, only those from before the half.

    Args:
        connection: a connection in a transaction that holds the write lock.
        game_id: the game; nothing of a replay is marked.
        horizon: the horizon.
        report: the report.
    """
    if is_replay(game_id):
        return
    sequence, observed_us = report.sequence, microseconds(report.observed)
    values = {"game_id": game_id, "last": horizon.last_slot, "sequence": sequence, "observed_us": observed_us}
    for statement in (_MARK_FORECASTS, _MARK_MARKETS):
        sql.run_each(connection, statement, [values])


def _revisions(connection: Connection, game_id: str, horizon: Horizon) -> OutcomeRevisions:
    row = sql.row(connection, _NEWEST, game_id=game_id, horizon=horizon.value)
    if row is None:
        return OutcomeRevisions()
    first_sequence, text = row
    with store.decoding():
        return OutcomeRevisions(codec.parse_outcome(text), first_sequence)


def _revised(connection: Connection, outcome: ReportedOutcome) -> int:
    """Return the number of revisions of an outcome by its caller, without the first report."""
    of_caller = {"game_id": outcome.game_id, "horizon": outcome.horizon.value, "caller": outcome.recorded_by}
    return int(sql.value(connection, _REVISED, **of_caller))


def _count(connection: Connection, outcome: ReportedOutcome) -> int:
    """Return the number of forecasts of the game and horizon of an outcome."""
    return int(sql.value(connection, _COUNT, game_id=outcome.game_id, horizon=outcome.horizon.value))


def _only_adds(stored: ReportedOutcome, revised: ReportedOutcome) -> bool:
    """Return whether a revision has all that an outcome has, and teams, total points or players that it lacks."""
    pairs = zip(values_of(stored), values_of(revised), strict=True)
    return all(before in {after, None, (), ("", "")} for before, after in pairs)


def _difference(stored: ReportedOutcome, reported: ReportedOutcome) -> str:
    """Describe the current outcome, and a report that would correct it."""
    recorded = f"revision {stored.revision}, recorded {stored.recorded_time:%Y-%m-%d %H:%M} UTC"
    is_other = reported.players and stored.players and reported.players != stored.players
    box_score = ", another box score" if is_other else ""
    stands = f"another outcome stands {_PLACES[stored.horizon]}: {_words(stored)}, {recorded}"
    return f"{stands}; this report has {_words(reported)}{box_score}"


def _words(outcome: ReportedOutcome) -> str:
    teams = f"{outcome.home_team} against {outcome.away_team}: " if outcome.home_team else "home team "
    points = "" if outcome.total_points is None else f", {outcome.total_points} points"
    return f"{teams}{outcome.differential:+d}{points}"


def _contradiction(
    connection: Connection, reported: ReportedOutcome, before: ReportedOutcome | None, owner: str | None
) -> InvalidInput | None:
    """Return the error of a report that contradicts the record of its game, otherwise None.

    What others have reported does not contradict the owner of the game, nor anybody while nobody has forecast it:
    otherwise anybody could keep its report out.

    Args:
        connection: a connection in a transaction that holds the write lock.
        reported: the report.
        before: the outcome that it would correct; None if it is the first.
        owner: the owner of the game; None if it is not forecast.
    """
    [other_horizon] = {*Horizon} - {reported.horizon}
    other = _revisions(connection, reported.game_id, other_horizon).standing
    if owner in {None, reported.recorded_by}:
        both = (before, other)
        before, other = (each if each and each.recorded_by == reported.recorded_by else None for each in both)
    if other is not None and abs(reported.differential - other.differential) > MAX_SWING:
        found = f"{reported.differential} {_PLACES[reported.horizon]}"
        recorded = f"{other.differential}, recorded {_PLACES[other.horizon]}"
        return InvalidDifferential(found, f"at most {MAX_SWING} points from {recorded}; correct the wrong one first")
    if other is not None and _loses_points(reported, other):
        found = f"{reported.total_points} {_PLACES[reported.horizon]}"
        recorded = f"{other.total_points}, recorded {_PLACES[other.horizon]}"
        expected = f"points that fit {recorded}; correct the wrong one first"
        return InvalidLiveInput(found, expected, "total_points")
    if not reported.home_team:
        return None
    teams, named = (reported.home_team, reported.away_team), _named_teams(connection, reported.game_id, owner)
    if named and teams not in named:
        return _other_teams(reported, *named[-1], "in the forecasts of this game")
    if before is not None and before.home_team:
        # Forecasts that came after the outcome may name other teams: it can be corrected to theirs.
        standing = None if named else before
    else:
        standing = other if other is not None and other.home_team else None
    if standing is None:
        return None
    place = f"in the outcome that is recorded {_PLACES[standing.horizon]}"
    return _other_teams(reported, standing.home_team, standing.away_team, place)


def _named_teams(connection: Connection, game_id: str, owner: str | None) -> list[tuple[str, str]]:
    """Return the pairs of teams in the forecasts of a game that count, the newest one last.

    One of them is enough: otherwise a single forecast with other teams would keep the outcome of its game from being
    reported. Scorecards count a game with several pairs of teams as doubtful. Late forecasts are used only if all are
    late: they count nowhere, and are made when the result may be known.
    """
    rows = sql.rows(connection, _TEAMS, game_id=game_id, owner=owner)
    counts = any(in_time for *_, in_time in rows)
    return [(home, away) for home, away, in_time in rows if in_time or not counts]


def _too_early(connection: Connection, reported: ReportedOutcome) -> InvalidTime | None:
    """Return the error of a first report whose time is after some forecasts, before others, and too early for the play.

    Forecasts made after that time count as late, so a time that is too early, on purpose or by a wrong time zone, could
    exclude the minutes that went badly. The minutes left to play after each earlier forecast must fit before the time.
    A time before all forecasts is allowed: the game was over, and all its forecasts are late.
    """
    rows_ = sql.rows(connection, _MADE, game_id=reported.game_id, last=reported.horizon.last_slot)
    made = [(from_microseconds(time_us), minute) for time_us, minute in rows_]
    if not any(time > reported.observed_time for time, _ in made):
        return None
    over = (
        (time + timedelta(minutes=reported.horizon.last_slot + 1 - minute) - FEED_LAG, time, minute)
        for time, minute in made
        if time <= reported.observed_time
    )
    earliest, time, minute = max(over, default=(reported.observed_time, reported.observed_time, 0))
    if earliest <= reported.observed_time:
        return None
    forecast = f"the game's forecast after minute {minute} was made at {time:%Y-%m-%dT%H:%M:%SZ}"
    expected = f"{earliest:%Y-%m-%dT%H:%M:%SZ} or later: {forecast}, and others were made after this time"
    return InvalidTime(f"{reported.observed_time:%Y-%m-%dT%H:%M:%SZ}", expected)


def _loses_points(reported: ReportedOutcome, other: ReportedOutcome) -> bool:
    """Return whether there would be fewer points at the end than at the half."""
    points = {each.horizon: each.total_points for each in (reported, other)}
    half, final = points[Horizon.HALFTIME], points[Horizon.FINAL]
    return half is not None and final is not None and final < half


def _other_teams(reported: ReportedOutcome, home_team: str, away_team: str, place: str) -> InvalidTeam | None:
    """Return an error that names each team of a report that differs from the known one; None if neither does."""
    sides = (("home", reported.home_team, home_team), ("away", reported.away_team, away_team))
    errors = [
        InvalidTeam(found, f"{known}, the {side} team {place}", field=f"{side}_team")
        for side, found, known in sides
        if found != known
    ]
    if not errors:
        return None
    errors[0].others = tuple(errors[1:])
    return errors[0]


_NEWEST: Final = """
SELECT o.first_sequence, e.canonical FROM outcomes o JOIN entries e ON e.sequence = o.sequence
WHERE o.game_id = :game_id AND o.horizon = :horizon ORDER BY o.revision DESC LIMIT 1"""

_REVISED: Final = """
SELECT COUNT(*) FROM outcomes
WHERE game_id = :game_id AND horizon = :horizon AND revision > 0 AND recorded_by = :caller"""

_COUNT: Final = "SELECT COUNT(*) FROM forecasts WHERE game_id = :game_id AND horizon = :horizon"

_TEAMS: Final = """
SELECT home_team, away_team, MAX(CASE WHEN late = '' THEN 1 ELSE 0 END) FROM forecasts
WHERE game_id = :game_id AND home_team <> '' AND away_team <> '' AND owned AND recorded_by = :owner
GROUP BY home_team, away_team ORDER BY MAX(CASE WHEN late = '' THEN sequence ELSE 0 END), MAX(sequence)"""

_MADE: Final = """
SELECT generated_us, minute FROM forecasts
WHERE game_id = :game_id AND minute <= :last AND replay = FALSE AND late = '' AND owned"""

_MARK_FORECASTS: Final = """
    UPDATE forecasts SET hindsight = :sequence
    WHERE game_id = :game_id AND minute <= :last AND sequence < :sequence AND generated_us > :observed_us
        AND hindsight IS NULL"""

_MARK_MARKETS: Final = """
    UPDATE markets SET hindsight = :sequence
    WHERE forecast_sequence IN (SELECT sequence FROM forecasts WHERE game_id = :game_id AND minute <= :last)
        AND sequence < :sequence AND sent_us > :observed_us AND hindsight IS NULL"""
