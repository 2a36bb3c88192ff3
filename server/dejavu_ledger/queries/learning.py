"""What models learn from and train on: the observations and the completed games of a ledger.

There is one observation per outcome, model version and quarter, in order of first report. A model learns from its
forecasts, and as a challenger from its shadows. Minute and margin of a shadow, and whether it was late or replaced, are
those of the shadowed forecast.

A corrected outcome keeps the sequence of its first report, so the online state is a function of the ledger alone: all
readers at the same position have the same state. A withdrawn outcome is left out; the next report of it is a first one.

Only competitive games of the NBA are learned from (`dejavu_feed.game_ids.COMPETITIVE`): no preseason or All-Star games,
and no replays. Games whose id is of another season than their date are left out too: ratings that have reached a later
season ignore every game of an earlier one.

A completed game is data to train on, minute by minute. The ledger stores differentials, the live inputs of a minute if
its forecast was requested with them, and the total points at the end if they were reported with the outcome. The scores
are the lowest ones with these differentials: the home score rises by each rise of the differential, the away score by
each fall.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

from dejavu_feed.game_ids import COMPETITIVE, is_league_id, is_replay, season_of
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_feed.pattern import REGULATION_MINUTES, Score
from dejavu_feed.teams import team_code
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import codec
from dejavu_models.scorecard.doubtful import MAX_CORRECTION
from dejavu_models.types import MAX_SLOTS, Horizon
from dejavu_models.uncertainty.adaptive import Observation, TrackerKey

PAGE: Final = 200
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


_IS_COMPETITIVE: Final = f"substr(o.game_id, 1, 3) IN {(*sorted(COMPETITIVE),)}"

_NEWEST: Final = f"SELECT MAX(o.sequence) FROM outcomes o WHERE {_IS_COMPETITIVE}"  # noqa: S608

_NEWEST_STANDING: Final = f"""
    SELECT o.sequence FROM outcomes o JOIN scores s ON s.game_id = o.game_id AND s.horizon = o.horizon
    WHERE {_IS_COMPETITIVE} AND s.outcome = o.sequence ORDER BY o.sequence DESC LIMIT 1"""  # noqa: S608

_PENDING: Final = f"SELECT COUNT(*) FROM outcomes o WHERE o.sequence > :sequence AND {_IS_COMPETITIVE}"  # noqa: S608

_CORRECTED: Final = f"""
    SELECT MIN(o.first_sequence) FROM outcomes o
    WHERE o.sequence > :sequence AND o.first_sequence <= :sequence AND {_IS_COMPETITIVE}"""  # noqa: S608

_GAMES: Final = """
    SELECT s.first_sequence, s.game_id, s.horizon, o.differential, o.home_team, o.away_team, s.day, s.observations,
        o.total_points, s.neutral_site, o.players
    FROM scores s JOIN outcomes o ON o.sequence = s.outcome
    WHERE s.first_sequence > :after AND s.learned = TRUE ORDER BY s.first_sequence LIMIT :most"""


def newest(connection: Connection) -> Newest:
    """Return the sequences of the newest outcomes to learn from."""
    return Newest(sql.value(connection, _NEWEST) or 0, sql.value(connection, _NEWEST_STANDING) or 0)


NOTHING_LEARNED: Final = b""
"""The `history` of a ledger without outcomes to learn from."""


def history(connection: Connection, reported: int) -> bytes:
    """Identify the ledger up to the newest report, which determines the learned state.

    Ledgers that diverged from one origin, such as a restored copy, differ in this even where the sequences are equal.
    """
    if not reported:
        return NOTHING_LEARNED
    digest = sql.value(connection, "SELECT hash FROM entries WHERE sequence = :sequence", sequence=reported)
    return b"%s/%d/%s" % (store.identity(connection).ledger_id.encode(), reported, digest)


def pending(connection: Connection, reported: int) -> int:
    """Return the number of reports, corrections and withdrawals to learn from after a sequence."""
    return int(sql.value(connection, _PENDING, sequence=reported))


def corrected_since(connection: Connection, sequence: int) -> int | None:
    """Return the lowest first-report sequence, up to a sequence, of outcomes corrected or withdrawn after it.

    None if there is none.
    """
    corrected: int | None = sql.value(connection, _CORRECTED, sequence=sequence)
    return corrected


def count(connection: Connection, sequence: int) -> int:
    """Return the number of standing outcomes to learn from that were first reported up to a sequence."""
    query = "SELECT COUNT(*) FROM scores WHERE first_sequence <= :sequence AND learned = TRUE"
    return int(sql.value(connection, query, sequence=sequence))


def settled_games_after(connection: Connection, sequence: int) -> Iterator[SettledGame]:
    """Yield the standing outcomes to learn from that were first reported after a sequence, in order.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    while rows := sql.rows(connection, _GAMES, after=sequence, most=PAGE):
        with store.decoding():
            games = [_game(row) for row in rows]
        yield from games
        sequence = games[-1].sequence


def _game(row: sql.Row) -> SettledGame:
    sequence, game_id, horizon, differential, home, away, day, observations, total_points, neutral_site, players = row
    place, on, neutral = Horizon(horizon), date.fromordinal(day), True if neutral_site else None
    observed = tuple(Observation(TrackerKey(model, place, of), score) for model, of, score in json.loads(observations))
    return SettledGame(sequence, game_id, place, differential, home, away, on, observed, total_points, neutral, players)


def read_snapshot(connection: Connection, before: int) -> tuple[int, bytes] | None:
    """Return sequence and state of the newest snapshot of the intervals before a sequence; None if there is none."""
    query = "SELECT sequence, state FROM snapshots WHERE sequence < :before ORDER BY sequence DESC LIMIT 1"
    row = sql.row(connection, query, before=before)
    return None if row is None else (row[0], row[1])


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
    snapshot = {"sequence": sequence, "state": state}
    stored = sql.value(connection, "SELECT state FROM snapshots WHERE sequence = :sequence", sequence=sequence)
    if stored is None:
        sql.insert(connection, "snapshots", [snapshot])
    elif stored != state:
        sql.run_each(connection, "UPDATE snapshots SET state = :state WHERE sequence = :sequence", [snapshot])


def drop_snapshots(connection: Connection, first_sequence: int) -> None:
    """Delete the snapshots that include a corrected outcome, given the sequence of its first report."""
    sql.run_each(connection, "DELETE FROM snapshots WHERE sequence >= :place", [{"place": first_sequence}])


MIN_MINUTES = 37
"""Minimum minutes of a pattern, so that it reaches the last quarter: games with an empty quarter don't count."""

MAX_SCORE = 400
"""Highest score of one team in a file of plays, in points."""

_GAMES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class CompletedGame:
    """A game with forecasts and a final outcome.

    Attributes:
        game_id: NBA game id, or that of a replay.
        season: year in which the season ends.
        day: local date of the game.
        phase: RS (regular season), PI (play-in) or PO (playoffs); RS for replays.
        home, away: NBA codes.
        scores: at tip-off, at the end of each known minute, and the final score, dated at the end of regulation.
        live: minute → live inputs at its end, of the minutes for which any was recorded. The total points of the last
            minute of regulation are those of the whole game.
    """

    game_id: str
    season: int
    day: date
    phase: str
    home: str
    away: str
    scores: tuple[Score, ...]
    live: Mapping[int, LiveInputs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkippedGame:
    """A game that ended but can't be used for training."""

    game_id: str
    reason: str


def completed_games(
    connection: Connection, *, min_minutes: int = MAX_SLOTS, include_replays: bool = False
) -> Iterator[CompletedGame | SkippedGame]:
    """Yield the games with a final outcome, in the order in which these outcomes were first reported.

    Uses the pattern of the game's forecast that covers the most minutes; among those, the last one recorded. A reported
    halftime outcome replaces the pattern's differential at the half.

    Args:
        connection: a read connection.
        min_minutes: minutes that a pattern must cover, MIN_MINUTES to 47; later minutes are carried forward.
        include_replays: also yield games of replays and simulated seasons.
    """
    bounds = {"half": Horizon.HALFTIME.value, "final": Horizon.FINAL.value, "most": _GAMES_AT_ONCE}
    after = 0
    while page := [_Final(*row) for row in sql.rows(connection, _FINALS, **bounds, after=after)]:
        for final in page:
            if include_replays or not is_replay(final.game_id):
                game = _completed(final, min_minutes)
                yield game if isinstance(game, SkippedGame) else _with_live_inputs(connection, game, final)
        after = page[-1].first_sequence


class _Final(NamedTuple):
    """A standing final outcome, the halftime outcome, and the forecast that covers the most minutes; None if none."""

    first_sequence: int
    game_id: str
    differential: int
    total_points: int | None
    home_team: str
    away_team: str
    half: int | None
    pattern: str | None
    day: int | None
    forecast_home: str | None
    forecast_away: str | None


def _completed(row: _Final, min_minutes: int) -> CompletedGame | SkippedGame:
    def skipped(reason: str) -> SkippedGame:
        return SkippedGame(row.game_id, reason)

    if row.pattern is None or row.day is None:
        return skipped("it was not forecast")
    if not is_replay(row.game_id) and not is_league_id(row.game_id):
        return skipped("the NBA gives no game such an id")
    phase = "RS" if is_replay(row.game_id) else COMPETITIVE.get(row.game_id[:3])
    if phase is None:
        return skipped("it is of no regular season, play-in or playoffs")
    teams = row.home_team or row.forecast_home, row.away_team or row.forecast_away
    try:
        home, away = (team_code(team or "") for team in teams)
    except ValueError:
        return skipped("its teams are not known")
    differentials: list[float] = json.loads(row.pattern)
    if len(differentials) < min_minutes:
        return skipped(f"its minutes are known up to {len(differentials)}; expected {min_minutes}")
    if row.half is not None:
        differentials[Horizon.HALFTIME.minutes - 1] = row.half
    if any(value != int(value) for value in differentials):
        return skipped("a differential of it is not a whole number of points")
    scores = _lowest_scores([int(value) for value in differentials], row.differential)
    if max(scores[-1].home, scores[-1].away) > MAX_SCORE:
        return skipped(f"its differentials move by more than {MAX_SCORE} points")
    day = date.fromordinal(row.day)
    # The ids of replays have no season: take that of the date, from September on the next one.
    season = season_of(row.game_id) or day.year + (day.month >= 9)
    return CompletedGame(row.game_id, season, day, phase, home, away, scores)


def _with_live_inputs(connection: Connection, game: CompletedGame, row: _Final) -> CompletedGame | SkippedGame:
    """Add the newest recorded inputs of each minute, from forecasts with the differential of the game's scores.

    Skips a game if a forecast of it has other differentials: then one of the callers describes another game.
    """
    differentials = [score.home - score.away for score in game.scores[1:-1]]
    found: dict[int, LiveInputs] = {}
    for minute, text_of_pattern, canonical in sql.rows(connection, _REQUESTS, game_id=game.game_id):
        live, pattern = codec.parse(canonical, explanation=False).live, json.loads(text_of_pattern)
        for number, pair in enumerate(zip(pattern, differentials, strict=False), 1):
            if abs(pair[0] - pair[1]) > MAX_CORRECTION:
                told = f"{pair[0]:+g} and {pair[1]:+g}"
                return SkippedGame(game.game_id, f"its forecasts differ about minute {number}: {told}")
        if live != NO_LIVE_INPUTS and pattern[-1:] == differentials[minute - 1 : minute]:
            found[minute] = live
    if row.total_points is not None:
        found[REGULATION_MINUTES] = LiveInputs(total_points=row.total_points)
    return replace(game, live=found)


def _lowest_scores(differentials: list[int], final: int) -> tuple[Score, ...]:
    scores = [Score(0.0, 0, 0)]
    minutes = [*range(1, len(differentials) + 1), REGULATION_MINUTES]
    for minute, (before, after) in zip(minutes, pairwise([0, *differentials, final]), strict=True):
        _, home, away = scores[-1]
        scores.append(Score(60.0 * minute, home + max(after - before, 0), away + max(before - after, 0)))
    return tuple(scores)


_REQUESTS: Final = """
    SELECT f.minute, f.pattern, e.canonical FROM forecasts f JOIN entries e ON e.sequence = f.sequence
    WHERE f.game_id = :game_id AND f.owned AND f.late = '' AND f.at_moment = FALSE
    ORDER BY f.sequence
"""

_FINALS: Final = """
    SELECT s.first_sequence, o.game_id, o.differential, o.total_points, o.home_team, o.away_team,
      (SELECT CASE WHEN h.withdrawn THEN NULL ELSE h.differential END FROM outcomes h
        WHERE h.game_id = o.game_id AND h.horizon = :half ORDER BY h.revision DESC LIMIT 1),
      f.pattern, f.day, f.home_team, f.away_team
    FROM scores s JOIN outcomes o ON o.sequence = s.outcome LEFT JOIN forecasts f ON f.sequence = (
      SELECT b.sequence FROM forecasts b WHERE b.game_id = o.game_id AND b.owned AND b.late = ''
      ORDER BY b.minute DESC, b.sequence DESC LIMIT 1)
    WHERE s.first_sequence > :after AND s.horizon = :final ORDER BY s.first_sequence LIMIT :most
"""
