"""Settles games: writes the scores of their forecasts, a pure function of the other rows of each game.

The rules of what counts stand here, for scorecards, comparisons and learning alike. After an outcome stands in the
ledger, nothing is recorded that it settles, so the scores of a game change only with another outcome of the game.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.game_ids import COMPETITIVE, is_league_id, is_of_season
from dejavu_feed.pattern import OVERTIME_SECONDS
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.entries import canonical_json, codec, scored_values
from dejavu_ledger.entries.rows import Row
from dejavu_ledger.entries.scored_values import Scored
from dejavu_ledger.records import LateReason
from dejavu_ledger.scores import lessons
from dejavu_ledger.scores.game_rows import Forecast, GameRows, Outcome, Shadow, in_time, superseded
from dejavu_ledger.scores.packed import FORECASTS, MARKETS, SHADOWS
from dejavu_models.betting import Market, MarketAnswer, MarketKind, fair_probability, spread_to_come
from dejavu_models.scorecard.doubtful import FEED_LAG_SECONDS, MAX_CORRECTION, MAX_MINUTE_SWING
from dejavu_models.scorecard.settled import Exclusion, SettledMarket
from dejavu_models.types import Horizon

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
    with store.decoding():
        games = [_Settling(game_id, horizon, rows) for horizon in Horizon]
        return [game.row(connection) for game in games if game.rows.outcomes]


class _Settling:
    """The scores of the forecasts of a game and horizon.

    Attributes:
        rows: its rows.
    """

    def __init__(self, game_id: str, horizon: Horizon, of_game: GameRows) -> None:
        self.rows = of_game.settled(horizon.value)
        self._game_id, self._horizon, self._of_game = game_id, horizon, of_game
        self._place = {each.sequence: place for place, each in enumerate(self.rows.forecasts)}
        self._texts: dict[str, dict[str, int]] = {"models": {}, "callers": {}, "teams": {}}

    def row(self, connection: Connection) -> Row:
        """Return its row of `scores`."""
        outcome = self.rows.outcomes[-1]
        first = next(each for each in self.rows.outcomes if each.sequence == outcome.first_sequence)
        scored, totals = (
            scored_values.unpack([getattr(each, name) for each in self.rows.forecasts])
            for name in ("scored_values", "total_values")
        )
        forecasts = self._forecasts(scored, totals)
        counted = {each for each, of in zip(self._place, forecasts["exclusion"], strict=True) if not of}
        shadows = [each for each in self.rows.shadows if each.forecast_sequence in counted]
        of_shadows = scored_values.unpack([each.scored_values for each in shadows])
        days = [each.day for each in self.rows.forecasts]
        is_competitive = self._game_id[:3] in COMPETITIVE and is_of_season(self._game_id, date.fromordinal(first.day))
        learned = is_competitive and not outcome.withdrawn
        told = zip(self._place, forecasts["total_points"].tolist(), strict=True)
        with_total = {sequence: points for sequence, points in told if not math.isnan(points)}
        observed = lessons.observations(connection, self.rows, self._horizon, with_total) if learned else []
        markets, packed = self._markets(), self._shadows(shadows, of_shadows)
        return {
            "game_id": self._game_id,
            "horizon": self._horizon.value,
            "sequence": self._of_game.outcomes[-1].sequence,
            "first_report": self.rows.outcomes[0].sequence,
            "first_sequence": outcome.first_sequence,
            "outcome": None if outcome.withdrawn else outcome.sequence,
            "void": bool(outcome.void),
            "replay": bool(outcome.replay),
            "first_day": min(days, default=None),
            "last_day": max(days, default=None),
            "learned": learned,
            "day": first.day,
            "neutral_site": lessons.neutral_site(self._of_game.forecasts, outcome.first_sequence),
            "observations": canonical_json.dumps(observed),
            "texts": canonical_json.dumps({name: [*texts] for name, texts in self._texts.items()}),
            "forecasts": forecasts.tobytes(),
            "markets": markets.tobytes(),
            "shadows": packed.tobytes(),
            "quantiles": np.concatenate((scored.quantiles.T, of_shadows.quantiles.T)).astype("<f4").tobytes(),
        }

    def _codes(self, kind: str, texts: Iterable[str]) -> list[int]:
        known = self._texts[kind]
        return [known.setdefault(text, len(known)) for text in texts]

    def _forecasts(self, scored: Scored, totals: Scored) -> NDArray[Any]:
        """Return the array of the forecasts, given their scored values and those of their totals."""
        outcome, made = self.rows.outcomes[-1], self.rows.forecasts
        differential = float(outcome.differential)
        points = math.nan if outcome.total_points is None else float(outcome.total_points)
        packed = np.zeros(len(made), dtype=FORECASTS)
        for name in ("sequence", "day", "alpha", "confidence", "pregame_total", "neutral_site", "missing_players"):
            packed[name] = np.array([getattr(each, name) for each in made], dtype=np.float64)  # None becomes NaN
        packed["game"] = self.rows.outcomes[0].sequence
        packed["made_us"] = [each.generated_us for each in made]
        packed["elapsed_s"] = [each.elapsed_s for each in made]
        packed["minute"] = packed["elapsed_s"] // 60
        packed["margin"] = np.array([each.pregame_margin for each in made], dtype=np.float64)
        for column, kind, name in (
            ("model", "models", "model_version"),
            ("caller", "callers", "recorded_by"),
            ("home", "teams", "home_team"),
            ("away", "teams", "away_team"),
        ):
            packed[column] = self._codes(kind, (getattr(each, name) for each in made))
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
        packed["owned"] = [bool(each.owned) for each in made]
        packed["revised"] = [each.revision > 0 for each in made]
        packed["replay"], packed["in_league"] = bool(outcome.replay), is_league_id(self._game_id)
        packed["corrected"] = any(map(self._is_corrected, self.rows.outcomes))
        packed["other_teams"] = [self._has_other_teams(each) for each in made]
        packed["in_time"] = [in_time(each) for each in made]
        packed["exclusion"] = self._exclusions()
        packed["outcome_doubtful"] = self._doubtful(packed, points, minutes)
        return packed

    def _exclusions(self) -> list[Exclusion]:
        """Return why each forecast does not count."""
        if self.rows.outcomes[-1].withdrawn:
            return [Exclusion.WITHDRAWN] * len(self.rows.forecasts)
        replaced = superseded(self.rows.forecasts)

        def exclusion(each: Forecast) -> Exclusion:
            if each.late:
                return _EXCLUSIONS[each.late]
            if each.hindsight is not None:
                return Exclusion.OBSERVED
            return Exclusion.SUPERSEDED if each.sequence in replaced else Exclusion.NONE

        try:
            return [exclusion(each) for each in self.rows.forecasts]
        except KeyError as error:
            raise ValueError(f"late is {error}; expected one of {[*_EXCLUSIONS]}") from None

    def _is_corrected(self, report: Outcome) -> bool:
        """Return whether a report differs from the outcome: in the differential, or in a total that is not that."""
        outcome = self.rows.outcomes[-1]
        other_total = report.total_points is not None and report.total_points != outcome.total_points
        return bool(report.differential != outcome.differential or other_total)

    def _has_other_teams(self, forecast: Forecast) -> bool:
        """Return whether the outcome names another team than a forecast."""
        outcome = self.rows.outcomes[-1]
        sides = (outcome.home_team, forecast.home_team), (outcome.away_team, forecast.away_team)
        return any(reported and named and reported != named for reported, named in sides)

    def _doubtful(self, packed: NDArray[Any], points: float, minute: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return `SettledForecasts.outcome_doubtful`, given the total of the outcome and the minutes of regulation."""
        minutes, played = self._horizon.minutes, packed["minute"]
        left = np.where(played < minutes, minutes - played, OVERTIME_SECONDS // 60)
        too_far = np.abs(packed["lead"] - packed["differential"]) > MAX_CORRECTION + MAX_MINUTE_SWING * left
        too_few = packed["total_points"] - points > MAX_CORRECTION
        least_us = (60 * (minutes - minute) - FEED_LAG_SECONDS) * _SECOND_US
        too_soon = self.rows.outcomes[-1].observed_us - packed["made_us"] < least_us
        withdrawn_before = any(each.void for each in self._of_game.outcomes)
        doubtful: NDArray[np.bool_] = too_far | too_few | too_soon | self._never_played(packed) | withdrawn_before
        return doubtful

    def _never_played(self, packed: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which forecasts are of an overtime that the game, by its report, did not have.

        A report without overtimes, or with too many, gives none. A forecast at the very end of a period is of the
        overtime that follows.
        """
        overtimes = self.rows.outcomes[-1].overtimes
        played = -1 if overtimes is None or overtimes > _MOST_OVERTIMES else overtimes
        end = float(Horizon.FINAL.seconds)
        in_overtime: NDArray[np.bool_] = packed["elapsed_s"] >= end
        return in_overtime & ((played < 0) | (packed["elapsed_s"] >= end + OVERTIME_SECONDS * played))

    def _markets(self) -> NDArray[Any]:
        """Return the array of the markets."""
        packed = []
        for recorded in self.rows.markets:
            place = self._place[recorded.forecast_sequence]
            _, market, answer = codec.parse_market(recorded.canonical)
            outcome = self.rows.outcomes[-1]
            points = outcome.total_points if market.kind is MarketKind.TOTAL else outcome.differential
            minutes_left = self._horizon.minutes - self.rows.forecasts[place].elapsed_s / 60.0
            settled = _settled_market(market, answer, points, minutes_left, self._horizon)
            late = recorded.hindsight is not None
            packed.append((place, *settled._replace(sequence=recorded.sequence, late=late)))
        return np.array(packed, dtype=MARKETS)

    def _shadows(self, shadows: Sequence[Shadow], scored: Scored) -> NDArray[Any]:
        """Return the array of some shadows, given their scored values."""
        differential = self.rows.outcomes[-1].differential
        packed = np.zeros(len(shadows), dtype=SHADOWS)
        packed["forecast"] = [self._place[each.forecast_sequence] for each in shadows]
        packed["model"] = self._codes("models", (each.model_version for each in shadows))
        packed["covered"] = scored.covered(differential)
        packed["crps"], packed["width"] = scored.crps(differential), scored.width
        packed["probability"] = scored.probability
        return packed


def _settled_market(
    market: Market, answer: MarketAnswer, points: int | None, minutes_left: float, horizon: Horizon
) -> SettledMarket:
    """Return a market at an outcome: a differential or total; None if it was not reported."""
    chosen, decided, on_total = answer.chosen, 1.0 - answer.push_probability, market.kind is MarketKind.TOTAL
    side = 0 if chosen is None or answer.side is None else 1 if answer.side.is_above else -1
    odds, stake = (0.0, 0.0) if chosen is None else (chosen.decimal_odds, chosen.stake_fraction)
    home_won = math.nan if points is None or points == market.line else float(points > market.line)
    profit = math.nan if points is None else 0.0  # on a push, and without a bet
    if side and not math.isnan(home_won):
        profit = stake * (odds - 1.0) if (side > 0) == (home_won > 0.0) else -stake
    return SettledMarket(
        on_total=on_total,
        line=market.line,
        spread=spread_to_come(minutes_left, final=horizon is Horizon.FINAL, on_total=on_total),
        model_probability=answer.above.win_probability / decided if decided > 0.0 else math.nan,
        fair_probability=fair_probability(market.above_odds, market.below_odds),
        home_won=home_won,
        side=side,
        odds=odds,
        stake=stake,
        profit=profit,
        expected_profit=0.0 if chosen is None else chosen.stake_fraction * chosen.expected_value,
        game_cap=answer.policy.game_cap,
        evening_cap=answer.policy.evening_cap,
        implausible=answer.implausible,
    )
