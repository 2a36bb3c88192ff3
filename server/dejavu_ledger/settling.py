"""Settles games: writes the scores of their forecasts, a pure function of the other rows of each game.

The rules of what counts stand here, for scorecards, comparisons and learning alike. After an outcome stands in the
ledger, nothing is recorded that it settles, so the scores of a game change only with another outcome of the game.

What models learn is chosen here too. The choice depends only on the reports up to the first report of the outcome, so
no later report changes it, except one of other sides; and only on forecasts of the game's owner: any other caller could
otherwise widen the intervals of all requests.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_common.clock import from_microseconds
from dejavu_feed.game_ids import COMPETITIVE, is_league_id, is_of_season
from dejavu_feed.pattern import OVERTIME_SECONDS
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import canonical_json, codec, scored_values
from dejavu_ledger.entries.rows import Row
from dejavu_ledger.entries.scored_values import Scored
from dejavu_ledger.records import LateReason
from dejavu_ledger.rules import GameRecord
from dejavu_models.arrays import Floats
from dejavu_models.betting import Market, MarketAnswer, MarketKind, fair_probability, is_implausible, spread_to_come
from dejavu_models.scorecard.doubtful import FEED_LAG_SECONDS, MAX_CORRECTION, MAX_MINUTE_SWING, contradictory_points
from dejavu_models.scorecard.settled import Exclusion, SettledMarket
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import QUARTER_MIDPOINTS, quarter_of, static_score

FORECASTS: Final = np.dtype(
    [
        *((name, "<i8") for name in ("sequence", "game", "minute", "made_us")),
        *((name, "<i8") for name in ("exclusion", "own_exclusion")),
        *((name, "<i4") for name in ("day", "home", "away", "model", "caller")),
        *((name, "<f8") for name in ("elapsed_s", "alpha", "confidence", "differential", "lead", "error", "width")),
        *((name, "<f8") for name in ("probability", "crps", "margin", "pregame_total", "neutral_site")),
        *((name, "<f8") for name in ("missing_players", "total_points", "total_error", "total_pace_error")),
        *((name, "<f8") for name in ("total_width", "total_crps")),
        *((name, "?") for name in ("covered", "total_covered", "total_open", "other_teams", "in_league", "in_time")),
        *((name, "?") for name in ("owned", "revised", "own_revised", "replay", "outcome_doubtful", "corrected")),
    ]
)
"""A settled forecast: the columns of `SettledForecasts` except markets and order, and sequence, model, caller and
confidence; `own_exclusion` and `own_revised` are those on the card of its caller. Model, caller and teams are indices
into the texts of its game."""

_NO_FLOATS: Final = {"on_total": "?", "late": "?", "implausible": "?", "side": "<i8", "sequence": "<i8"}

MARKETS: Final = np.dtype(
    [("forecast", "<i4"), *((name, _NO_FLOATS.get(name, "<f8")) for name in SettledMarket._fields)]
)
"""A settled market, and the index of its forecast in its game."""

SHADOWS: Final = np.dtype(
    [
        ("forecast", "<i4"),
        ("model", "<i4"),
        ("covered", "?"),
        *((name, "<f8") for name in ("crps", "probability", "width")),
    ]
)
"""A settled shadow of a forecast that counts, on any card."""


def codes(known: dict[str, int], texts: Iterable[str]) -> list[int]:
    """Return the integers that represent texts in columns, in order of appearance; add new texts to the known ones."""
    return [known.setdefault(text, len(known)) for text in texts]


# Rows as they are stored, by the names of their columns (database/schema.sql).
_Outcome = namedtuple(
    "_Outcome",
    "sequence first_sequence horizon differential home_team away_team observed_us day replay withdrawn"
    " total_points overtimes",
)
_Forecast = namedtuple(
    "_Forecast",
    "sequence key revision horizon generated_us day home_team away_team model_version minute elapsed_s at_moment alpha"
    " confidence pregame_margin margin_plausible pregame_total neutral_site missing_players late hindsight"
    " scored_values total_values recorded_by owned lease",
)
_Shadow = namedtuple("_Shadow", "sequence forecast_sequence model_version scored_values")
_Market = namedtuple("_Market", "sequence forecast_sequence hindsight canonical")

_OF_GAME: Final = "WHERE f.game_id = :game_id ORDER BY 1"
_GAME_QUERIES: Final = {
    _Outcome: f"SELECT {', '.join(_Outcome._fields)} FROM outcomes f {_OF_GAME}",  # noqa: S608
    _Forecast: f"SELECT {', '.join(_Forecast._fields)} FROM forecasts f {_OF_GAME}",  # noqa: S608
    _Shadow: f"""
        SELECT s.sequence, s.forecast_sequence, s.model_version, s.scored_values
        FROM forecasts f JOIN shadows s ON s.forecast_sequence = f.sequence {_OF_GAME}""",  # noqa: S608
    _Market: f"""
        SELECT m.sequence, m.forecast_sequence, m.hindsight, e.canonical FROM forecasts f
        JOIN markets m ON m.forecast_sequence = f.sequence JOIN entries e ON e.sequence = m.sequence {_OF_GAME}
    """,  # noqa: S608
}


class GameRows(NamedTuple):
    """Rows of a game, in the order of the ledger: its outcomes, and what was recorded before the newest one.

    Attributes:
        passed: `GameRecord.passed` after these forecasts.
    """

    outcomes: list[_Outcome]
    forecasts: list[_Forecast]
    shadows: list[_Shadow]
    markets: list[_Market]
    passed: int

    @classmethod
    def read(cls, connection: Connection, game_id: str) -> GameRows:
        """Read the rows of a game."""
        outcomes, *others = [
            [kind(*row) for row in sql.rows(connection, query, game_id=game_id)]
            for kind, query in _GAME_QUERIES.items()
        ]
        newest = outcomes[-1].sequence if outcomes else 0
        forecasts, shadows, markets = ([each for each in rows if each.sequence < newest] for rows in others)
        game = GameRecord(game_id)
        for each in forecasts:
            made, late = from_microseconds(each.generated_us), LateReason(each.late) if each.late else None
            game.add_forecast(each.sequence, each.recorded_by, each.lease, each.elapsed_s, made, late)
        return cls(outcomes, forecasts, shadows, markets, game.passed)


def in_time(forecast: _Forecast, up_to: float = math.inf) -> bool:
    """Return whether a forecast is not late, by the entries up to a sequence."""
    return not forecast.late and (forecast.hindsight is None or forecast.hindsight > up_to)


def superseded(
    forecasts: Sequence[_Forecast], up_to: float = math.inf, *, key: Callable[[_Forecast], object] = attrgetter("key")
) -> set[int]:
    """Return the sequences of the forecasts that a later one in time replaces, by the entries up to a sequence.

    Args:
        forecasts: forecasts of a game and horizon, in the order of the ledger.
        up_to: the sequence.
        key: what a forecast has in common with those that it replaces.
    """
    newest = {key(each): each.sequence for each in forecasts if in_time(each, up_to)}
    return {each.sequence for each in forecasts if each.sequence < newest.get(key(each), 0)}


_OF_CALLER: Final = attrgetter("elapsed_s", "recorded_by")
"""What revisions of one caller have in common, in a game and horizon."""

_MOST_OVERTIMES: Final = 6
"""The most overtimes that an NBA game has had."""

_SECOND_US: Final = 1_000_000

_EXCLUSIONS: Final = {
    LateReason.LATER_SECOND.value: Exclusion.LATER_SECOND,
    LateReason.CLOCK.value: Exclusion.CLOCK,
    LateReason.TIME.value: Exclusion.LATE_TIME,
    LateReason.REPORTED.value: Exclusion.REPORTED,
    LateReason.GAME_DATE.value: Exclusion.GAME_DATE,
}


def settle(connection: Connection, game_id: str) -> None:
    """Write the scores of a game, after an outcome of it was recorded, corrected or withdrawn.

    Args:
        connection: a connection in a transaction that holds the write lock.
        game_id: the game.

    Raises:
        LedgerCorrupt: if a row of the game cannot be read back.
    """
    sql.run_each(connection, "DELETE FROM scores WHERE game_id = :game_id", [{"game_id": game_id}])
    sql.insert(connection, "scores", settled_rows(connection, game_id))


def settled_rows(connection: Connection, game_id: str) -> list[Row]:
    """Return the rows of `scores` of a game: one for each horizon with a report.

    Raises:
        LedgerCorrupt: if a row of the game cannot be read back.
    """
    rows = GameRows.read(connection, game_id)
    reported = {each.horizon for each in rows.outcomes}
    with store.decoding():
        return [_Settling(game_id, each, rows).row(connection) for each in Horizon if each.value in reported]


_GIVEN: Final = {
    **{name: name for name in ("sequence", "day", "elapsed_s", "alpha", "confidence", "pregame_total", "neutral_site")},
    **{name: name for name in ("missing_players", "owned")},
    "made_us": "generated_us",
    "margin": "pregame_margin",
}
_NAMED: Final = {
    "model": ("models", "model_version"),
    "caller": ("callers", "recorded_by"),
    "home": ("teams", "home_team"),
    "away": ("teams", "away_team"),
}
"""Columns of a forecast's row by those of `FORECASTS`: numbers, and texts with the kind of each."""

_ENTRIES: Final = "SELECT sequence, canonical FROM entries WHERE sequence IN :sequences"


class _Settling:
    """The scores of the forecasts of a game and horizon with a report."""

    def __init__(self, game_id: str, horizon: Horizon, of_game: GameRows) -> None:
        self._game_id, self._horizon, self._of_game = game_id, horizon, of_game
        self._outcomes = [each for each in of_game.outcomes if each.horizon == horizon.value]
        self._outcome = self._outcomes[-1]
        self._first = next(each for each in self._outcomes if each.sequence == self._outcome.first_sequence)
        # Anybody could record a game before its poller does, with any pattern: nothing is learned from that.
        self._since = of_game.passed if of_game.passed < self._outcome.first_sequence else 0
        made = [each for each in of_game.forecasts if each.horizon == horizon.value]
        self._made = [each for each in made if each.sequence < self._outcome.sequence]  # later ones were never settled
        self._place = {each.sequence: place for place, each in enumerate(self._made)}
        self._beside = [each for each in of_game.shadows if each.forecast_sequence in self._place]
        self._priced = [each for each in of_game.markets if each.forecast_sequence in self._place]
        self._texts: dict[str, dict[str, int]] = {"models": {}, "callers": {}, "teams": {}}

    def row(self, connection: Connection) -> Row:
        """Return its row of `scores`."""
        outcome, made = self._outcome, self._made
        scored = scored_values.unpack([each.scored_values for each in made])
        forecasts = self._forecasts(scored, scored_values.unpack([each.total_values for each in made]))
        counts = (forecasts["exclusion"] == Exclusion.NONE) | (forecasts["own_exclusion"] == Exclusion.NONE)
        counted = {*forecasts["sequence"][counts].tolist()}
        shadows = [each for each in self._beside if each.forecast_sequence in counted]
        of_shadows = scored_values.unpack([each.scored_values for each in shadows])
        days = [each.day for each in made]
        reported = date.fromordinal(self._first.day)
        is_competitive = self._game_id[:3] in COMPETITIVE and is_of_season(self._game_id, reported)
        learned = is_competitive and not outcome.withdrawn
        observed = self._observations(connection, forecasts["total_points"]) if learned else []
        markets, packed = self._markets(), self._shadows(shadows, of_shadows)
        return {
            "game_id": self._game_id,
            "horizon": self._horizon.value,
            "sequence": self._of_game.outcomes[-1].sequence,
            "first_report": self._outcomes[0].sequence,
            "first_sequence": outcome.first_sequence,
            "outcome": None if outcome.withdrawn else outcome.sequence,
            "since": self._since,
            "replay": bool(outcome.replay),
            "first_day": min(days, default=None),
            "last_day": max(days, default=None),
            "learned": learned,
            "day": self._first.day,
            "neutral_site": self._neutral_site(),
            "observations": canonical_json.dumps(observed),
            "texts": canonical_json.dumps({name: [*texts] for name, texts in self._texts.items()}),
            "forecasts": forecasts.tobytes(),
            "markets": markets.tobytes(),
            "shadows": packed.tobytes(),
            "quantiles": np.concatenate((scored.quantiles.T, of_shadows.quantiles.T)).astype("<f4").tobytes(),
        }

    def _neutral_site(self) -> bool | None:
        """Return True if all forecasts to learn from, of both horizons, before the first report, say so."""
        first, made = self._outcome.first_sequence, self._of_game.forecasts
        told = [each.neutral_site for each in made if each.sequence < first and self._teaches(each)]
        return True if told and all(told) else None

    def _teaches(self, forecast: _Forecast) -> bool:
        """Return whether a forecast is of the owner and the right sides, and in time up to the first report."""
        owned = forecast.owned and forecast.sequence >= self._since
        return owned and in_time(forecast, self._first.sequence) and not _exchanges_sides(forecast, self._outcome)

    def _observations(self, connection: Connection, total_points: Floats) -> list[tuple[str, int, float]]:
        """Return model, quarter and score of the forecasts to learn from, in this order.

        There is one for each model version and quarter, of the first forecast, or shadow, in this order of preference:
        no pregame_margin in the request, nearest to the quarter's middle minute, earlier minute, recorded earlier.
        Nothing is learned from a forecast whose margin is not near that of the ratings, nor from a minute whose total
        points fall, or exceed those of the outcome, by more than feeds are corrected: at least one is wrong.

        Args:
            connection: a connection.
            total_points: points of both teams with which each total was forecast; NaN without one.

        Raises:
            ValueError: if an entry cannot be read back.
        """
        first = self._outcome.first_sequence
        replaced = superseded(self._made, first)
        usable = {
            each.sequence: each
            for each in self._made
            if self._teaches(each) and each.sequence not in replaced
            if each.margin_plausible and not each.at_moment
        }
        made: list[tuple[Any, _Forecast]] = [(each, each) for each in usable.values()]
        made += [(each, usable[of]) for each in self._beside if (of := each.forecast_sequence) in usable]
        quantiles = scored_values.unpack([each.scored_values for each, _ in made]).quantiles
        made = [pair for pair, lowest in zip(made, quantiles[0], strict=True) if not math.isnan(lowest)]
        wrong = self._contradictory([of for each, of in made if each is of], total_points)
        chosen: dict[tuple[str, int], tuple[Any, ...]] = {}
        for each, of in made:
            if of.minute not in wrong:
                quarter = quarter_of(of.minute)
                far = abs(of.minute - QUARTER_MIDPOINTS[quarter])
                choice = (of.pregame_margin is not None, far, of.minute, each.sequence, of)
                chosen[each.model_version, quarter] = min(chosen.get((each.model_version, quarter), choice), choice)
        entries: dict[int, str] = dict(sql.rows(connection, _ENTRIES, sequences=[each[3] for each in chosen.values()]))
        found: list[tuple[str, int, float]] = []
        for (model, quarter), (*_, sequence, of) in sorted(chosen.items()):
            if sequence not in entries:
                raise ValueError(f"no entry with sequence {sequence}")
            if sequence == of.sequence:
                forecast = codec.parse(entries[sequence], explanation=False).forecast
            else:
                forecast = codec.parse_shadow(entries[sequence], self._horizon, of.alpha).forecast
            score = static_score(forecast.distribution, forecast.static_scores, self._outcome.differential)
            found.append((model, quarter, score))
        return found

    def _contradictory(self, forecasts: Sequence[_Forecast], total_points: Floats) -> set[int]:
        """Return the minutes with total points that contradict those of other forecasts, or of the outcome."""
        told = [(each.minute, total_points[self._place[each.sequence]]) for each in forecasts]
        points = [(minute, total) for minute, total in told if not math.isnan(total)]
        if points and self._outcome.total_points is not None:
            points.append((self._horizon.minutes, float(self._outcome.total_points)))
        minutes, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
        return set(minutes[contradictory_points(values, minutes, np.zeros(len(points), dtype=np.int64))].tolist())

    def _forecasts(self, scored: Scored, totals: Scored) -> NDArray[Any]:
        """Return the array of the forecasts, given their scored values and those of their totals."""
        outcome, made = self._outcome, self._made
        differential = float(outcome.differential)
        points = math.nan if outcome.total_points is None else float(outcome.total_points)
        packed = np.zeros(len(made), dtype=FORECASTS)
        for column, name in _GIVEN.items():
            packed[column] = np.array([getattr(each, name) for each in made], dtype=np.float64)  # None becomes NaN
        packed["game"] = self._outcomes[0].sequence
        packed["minute"] = packed["elapsed_s"] // 60
        for column, (kind, name) in _NAMED.items():
            packed[column] = codes(self._texts[kind], (getattr(each, name) for each in made))
        packed["differential"] = differential
        packed["lead"], packed["probability"], packed["width"] = scored.rival, scored.probability, scored.width
        packed["error"], packed["crps"] = scored.point - differential, scored.crps(differential)
        packed["covered"] = scored.covered(differential)
        packed["total_error"] = totals.point - points
        packed["total_pace_error"] = totals.rival - points
        packed["total_width"] = np.where(math.isnan(points), np.nan, totals.width)
        packed["total_crps"], packed["total_covered"] = totals.crps(points), totals.covered(points)
        packed["total_open"] = ~np.isnan(totals.point) & math.isnan(points)
        minutes = np.array([each.minute for each in made], dtype=np.int64)
        packed["total_points"] = np.round(totals.rival * minutes / self._horizon.minutes)
        packed["revised"] = [each.revision > 0 for each in made]
        first: dict[tuple[float, str], int] = {}
        for each in made:
            first.setdefault(_OF_CALLER(each), each.sequence)
        packed["own_revised"] = [first[_OF_CALLER(each)] != each.sequence for each in made]
        packed["replay"], packed["in_league"] = bool(outcome.replay), is_league_id(self._game_id)
        packed["corrected"] = any(map(self._is_corrected, self._outcomes))
        packed["other_teams"] = [self._has_other_teams(each) for each in made]
        packed["in_time"] = [in_time(each) for each in made]
        packed["exclusion"] = self._exclusions(superseded(made))
        # On the card of a caller nobody else's forecast of the moment replaces its own, whoever owned the game.
        own = superseded(made, key=_OF_CALLER)
        packed["own_exclusion"] = self._exclusions(own)
        packed["outcome_doubtful"] = self._doubtful(packed, points, minutes)
        return packed

    def _exclusions(self, replaced: set[int]) -> list[Exclusion]:
        """Return why each forecast does not count, given the sequences of those that others replace."""
        if self._outcome.withdrawn:
            return [Exclusion.WITHDRAWN] * len(self._made)

        def exclusion(each: _Forecast) -> Exclusion:
            if each.late:
                return _EXCLUSIONS[each.late]
            if each.hindsight is not None:
                return Exclusion.OBSERVED
            if _exchanges_sides(each, self._outcome):
                return Exclusion.SIDES
            return Exclusion.SUPERSEDED if each.sequence in replaced else Exclusion.NONE

        try:
            return [exclusion(each) for each in self._made]
        except KeyError as error:
            raise ValueError(f"late is {error}; expected one of {[*_EXCLUSIONS]}") from None

    def _is_corrected(self, report: _Outcome) -> bool:
        """Return whether a report differs from the outcome: in the differential, or in the total, if it has one."""
        outcome = self._outcome
        other_total = report.total_points is not None and report.total_points != outcome.total_points
        return bool(report.differential != outcome.differential or other_total)

    def _has_other_teams(self, forecast: _Forecast) -> bool:
        """Return whether the outcome names another team than a forecast."""
        outcome = self._outcome
        sides = (outcome.home_team, forecast.home_team), (outcome.away_team, forecast.away_team)
        return any(reported and named and reported != named for reported, named in sides)

    def _doubtful(self, packed: NDArray[Any], points: float, minute: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return `SettledForecasts.outcome_doubtful`, given the total of the outcome and the minutes of regulation."""
        minutes, played = self._horizon.minutes, packed["minute"]
        left = np.where(played < minutes, minutes - played, OVERTIME_SECONDS // 60)
        too_far = np.abs(packed["lead"] - packed["differential"]) > MAX_CORRECTION + MAX_MINUTE_SWING * left
        too_few = packed["total_points"] - points > MAX_CORRECTION
        least_us = (60 * (minutes - minute) - FEED_LAG_SECONDS) * _SECOND_US
        too_soon = self._outcome.observed_us - packed["made_us"] < least_us
        doubtful: NDArray[np.bool_] = too_far | too_few | too_soon | self._never_played(packed) | self._was_void()
        return doubtful

    def _was_void(self) -> bool:
        """Return whether an outcome of the game was withdrawn before its first forecast, or before it passed.

        Such a withdrawal makes no forecast late: `GameRecord.add_outcome`.
        """
        first = next((each.sequence for each in self._of_game.forecasts), 0)
        begins = self._of_game.passed or first
        return any(each.withdrawn and each.sequence < begins for each in self._of_game.outcomes)

    def _never_played(self, packed: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which forecasts are of an overtime that the game, by its report, did not have.

        A report without overtimes, or with too many, gives none. A forecast at the very end of a period is of the
        overtime that follows.
        """
        overtimes = self._outcome.overtimes
        played = -1 if overtimes is None or overtimes > _MOST_OVERTIMES else overtimes
        end = float(Horizon.FINAL.seconds)
        in_overtime: NDArray[np.bool_] = packed["elapsed_s"] >= end
        return in_overtime & ((played < 0) | (packed["elapsed_s"] >= end + OVERTIME_SECONDS * played))

    def _markets(self) -> NDArray[Any]:
        """Return the array of the markets."""
        packed = []
        for recorded in self._priced:
            place = self._place[recorded.forecast_sequence]
            sent = codec.parse_market(recorded.canonical)
            outcome = self._outcome
            points = outcome.total_points if sent.market.kind is MarketKind.TOTAL else outcome.differential
            minutes_left = self._horizon.minutes - self._made[place].elapsed_s / 60.0
            settled = _settled_market(sent.market, sent.answer, points, minutes_left, self._horizon)
            late = recorded.hindsight is not None
            packed.append((place, *settled._replace(sequence=recorded.sequence, late=late)))
        return np.array(packed, dtype=MARKETS)

    def _shadows(self, shadows: Sequence[_Shadow], scored: Scored) -> NDArray[Any]:
        """Return the array of some shadows, given their scored values."""
        differential = self._outcome.differential
        packed = np.zeros(len(shadows), dtype=SHADOWS)
        packed["forecast"] = [self._place[each.forecast_sequence] for each in shadows]
        packed["model"] = codes(self._texts["models"], (each.model_version for each in shadows))
        packed["covered"] = scored.covered(differential)
        packed["crps"], packed["width"] = scored.crps(differential), scored.width
        packed["probability"] = scored.probability
        return packed


def _exchanges_sides(forecast: _Forecast, outcome: _Outcome) -> bool:
    """Return whether the home and away teams of a forecast are those of an outcome, exchanged."""
    home, away = outcome.home_team, outcome.away_team
    return bool(home and away) and (forecast.home_team, forecast.away_team) == (away, home)


def _settled_market(
    market: Market, answer: MarketAnswer, points: int | None, minutes_left: float, horizon: Horizon
) -> SettledMarket:
    """Return a market at an outcome: a differential or total; None if it was not reported."""
    chosen, decided, on_total = answer.chosen, 1.0 - answer.push_probability, market.kind is MarketKind.TOTAL
    side = 0 if chosen is None or answer.side is None else 1 if answer.side.is_above else -1
    odds, stake = (0.0, 0.0) if chosen is None else (chosen.decimal_odds or 0.0, chosen.stake_fraction)
    prices = market.prices
    if prices is None:
        raise ValueError("a market without prices")
    model, fair = answer.above.win_probability / decided if decided > 0.0 else math.nan, fair_probability(*prices)
    home_won = math.nan if points is None or points == market.line else float(points > market.line)
    profit = math.nan if points is None else 0.0  # on a push, and without a bet
    if side and not math.isnan(home_won):
        profit = stake * (odds - 1.0) if (side > 0) == (home_won > 0.0) else -stake
    return SettledMarket(
        on_total=on_total,
        line=market.line,
        spread=spread_to_come(minutes_left, market.kind, horizon),
        model_probability=model,
        fair_probability=fair,
        home_won=home_won,
        side=side,
        odds=odds,
        stake=stake,
        profit=profit,
        expected_profit=0.0 if chosen is None else chosen.stake_fraction * (chosen.expected_value or 0.0),
        game_cap=market.policy.game_cap,
        evening_cap=market.policy.evening_cap,
        implausible=is_implausible(model - fair),
    )
