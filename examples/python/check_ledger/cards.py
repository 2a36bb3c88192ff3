"""The scorecards and leaderboards that a server must return, computed from a record."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import lists
import numpy as np
from bets import Bet, market_record
from estimates import Array, area, estimate, means, ratio, weights, wilson
from rules import MINUTES, Forecast, Record, evening

# Fields of a message, by name.
Fields = dict[str, Any]

# Metrics of a leaderboard.
LOWEST_FIRST = ("crps", "mae", "brier", "mae_difference", "coverage_gap")
DIFFERENCE = 0.02  # minimum difference from the market of a scorecard
DIGITS = 9  # of the values by which models are ranked: equal ones may differ by rounding
METRICS = (*LOWEST_FIRST, "accuracy", "roc_auc", "roi")


class Settled:
    """A forecast with an outcome, or with one that was withdrawn since.

    Args:
        record: the record.
        forecast: the forecast.

    Attributes:
        order: sequence of the first report of the outcome, which orders the games.
        left_out: why it does not count, as a field of dejavu.v1.LeftOut, on a card of owners, and (True) on the one of
            its caller; empty if it does.
        is_revision: whether its second was forecast before, on a card of owners, and (True) on the one of its caller.
        corrected: whether another report of its outcome had another differential or total.
        scores: fields of its dejavu.v1.Settlement.
        minute: game and complete minutes of play, of overtimes too.
        markets: those sent with it, and whether each was sent after the outcome had been observed.
    """

    def __init__(self, record: Record, forecast: Forecast) -> None:
        reports = [each["payload"] for each in record.outcomes[forecast.place]]
        self.forecast, self.outcome = forecast, reports[-1]
        self.order: int = record.outcomes[forecast.place][0]["sequence"]
        late = record.late(forecast)
        why = "withdrawn" if "withdrawn" in self.outcome else late.replace("time", "late_time")
        why = why or ("sides" if record.exchanges_sides(forecast) else "")
        superseded = record.superseded(forecast), record.superseded_by_caller(forecast)
        self.is_revision = forecast.revision > 0, record.is_revision_of_caller(forecast)
        self.left_out = [why or ("superseded" if each else "") for each in superseded]
        points = self.outcome.get("total_points")
        self.corrected = any(
            each["differential"] != self.outcome["differential"] or each.get("total_points", points) != points
            for each in reports
        )
        self.scores = lists.settlement(forecast, record.outcomes[forecast.place][-1], {})
        self.minute = forecast.game, int(forecast.elapsed // 60)
        of = record.markets.get(forecast.sequence, {}).values()
        self.markets = [(each, late == "observed" or record.sent_late(forecast, each)) for each in of]


class Cards:
    """The scorecards of a record.

    Args:
        record: the record.
    """

    def __init__(self, record: Record) -> None:
        self._record, self._index = record, lists.filters(record)
        self._settled: dict[int, Settled] = {}
        for sequence, forecast in record.forecasts.items():
            newest = record.outcomes[forecast.place][-1:]
            # Nothing that is recorded after a withdrawal was ever settled.
            if newest and not ("withdrawn" in newest[0]["payload"] and sequence > newest[0]["sequence"]):
                self._settled[sequence] = Settled(record, forecast)

    def scopes(self) -> list[Fields]:
        """Return the filters of the horizons, without and with replays."""
        return [{"horizon": lists.enum(each), "include_replays": also} for also in (False, True) for each in MINUTES]

    def filters(self) -> list[tuple[Fields, int]]:
        """Return filters, each with a limit: of every kind of condition the one that the most forecasts meet."""
        of_cards = [each for each in self._index if each[0][0] not in lists.NOT_OF_CARDS]
        most = {tuple(dict(each)): dict(each) for each in sorted(of_cards, key=lambda each: len(self._index[each]))}
        scopes = self.scopes()
        conditions = [*most.values(), {"min_difference": DIFFERENCE}]
        return [(scope | each, 0) for scope in scopes[len(MINUTES) :] for each in conditions] + [
            (scope, limit) for scope in scopes for limit in (0, 1, 10)
        ]

    def leaderboards(self, filter_: Fields) -> dict[str, list[Fields]]:
        """Return the rows of the leaderboards of all models with a game, by metric."""
        versions = sorted(value for ((name, value), *_) in self._index if name == "model_version")
        cards = {version: self.scorecard(filter_ | {"model_version": version}) for version in versions}
        boards: dict[str, list[Fields]] = {}
        for metric in METRICS:
            of = {version: value for version, card in cards.items() if (value := _metric(card, metric)) is not None}
            sign = 1 if metric in LOWEST_FIRST else -1
            ranked = sorted((round(sign * value, DIGITS), version) for version, value in of.items())
            boards[metric] = []
            for value, version in ranked:
                row = {"rank": 1 + sum(other < value for other, _ in ranked), "value": of[version]}
                boards[metric].append(row | {"model_version": version, "scorecard": cards[version]})
        return boards

    def scorecard(self, filter_: Fields, limit: int = 0, max_bets: int = 0) -> Fields:
        """Return the fields of the scorecard of a filter, except the number of doubtful games."""
        least = filter_.get("min_difference", 0.0)
        chosen = {*self._record.forecasts}.intersection(
            *(of for each, of in self._index.items() if filter_.items() >= {*each})
        )
        of_caller = "recorded_by" in filter_
        of = [self._settled[each] for each in sorted(chosen & self._settled.keys())]
        matching = [each for each in of if each.forecast.owned or of_caller]
        orders = sorted({each.order for each in matching if not each.left_out[of_caller]})
        if 0 < limit < len(orders):
            of, matching = ([one for one in each if one.order >= orders[-limit]] for each in (of, matching))
        withdrawn = {each.forecast.game for each in matching if each.left_out[of_caller] == "withdrawn"}
        behind = [each for each in matching if each.left_out[of_caller] in {"later_second", "clock"}]
        in_time = [each for each in matching if each.left_out[of_caller] in {"", "superseded"}]
        quoted = [each for each in matching if each.left_out[of_caller] in {"", "superseded", "observed"}]
        bets = [Bet(each.forecast, each.outcome, of) for each in in_time for of, late in each.markets if not late]
        first = {each.forecast.game: each.order for each in in_time}
        unsettled = [each for each in map(self._record.forecasts.__getitem__, chosen) if self._is_open(each, of_caller)]
        no_total = [each for each in in_time if "total_points" not in each.outcome and "total" in each.forecast.said]
        return {
            "left_out": {
                **Counter(each.left_out[of_caller] for each in matching if each.left_out[of_caller]),
                "others": len(of) - len(matching),
                "late_markets": sum(late for each in quoted for _, late in each.markets),
            },
            "withdrawn_games": len(withdrawn),
            "corrected_games": len({each.forecast.game for each in matching if each.corrected} - withdrawn),
            "unsettled_games": len({each.game for each in unsettled}),
            "unsettled_totals": len({each.forecast.game for each in no_total}),
            "revised_late": len(
                {(each.forecast.game, each.forecast.elapsed) for each in behind if each.is_revision[of_caller]}
            ),
            "market": market_record([each for each in bets if each.points is not None], first, least, max_bets),
            **_scores([each for each in matching if not each.left_out[of_caller]]),
        }

    def _is_open(self, forecast: Forecast, of_caller: bool) -> bool:
        """Return whether a forecast of a past evening was recorded in time, and no outcome was reported after it."""
        is_past = evening(forecast.made) < evening(time.time_ns() // 1000)
        reported = any(each["sequence"] > forecast.sequence for each in self._record.outcomes[forecast.place])
        return is_past and not reported and (forecast.owned or of_caller) and not forecast.late


def _metric(card: Fields, metric: str) -> float | None:
    """Return the value of a metric; None without one."""
    if metric == "coverage_gap":
        return next((abs(each["coverage"] - 0.95) for each in card.get("coverage", ()) if each["alpha"] == 0.05), None)
    figure = (card["market"] or {}).get("roi") if metric == "roi" else (card.get(metric) or {}).get("value")
    return None if figure is None else float(figure)


def _scores(counted: list[Settled]) -> Fields:
    """Return the fields of a scorecard about the forecasts that count."""
    if not counted:
        return {}
    minutes = [each.minute for each in counted]
    absolute, persistence = (_means(counted, f"{name}absolute_error") for name in ("", "persistence_"))
    probability = np.array([each.forecast.said["home_lead_probability"] for each in counted])
    lead, led = np.array([(each.forecast.lead, each.outcome["differential"]) for each in counted]).T
    led = led > 0
    leader = (np.sign(lead) + 1.0) / 2.0
    brier, leader_brier = (means(minutes, (each - led) ** 2) for each in (probability, leader))
    accuracy, leader_accuracy = (
        means(minutes, 1.0 - np.abs((np.sign(each - 0.5) + 1.0) / 2.0 - led)) for each in (probability, leader)
    )
    scored, totals = ([each for each in counted if each.scores.get(name) is not None] for name in ("crps", "total"))
    weight = weights(minutes)
    gaps = np.bincount(np.minimum((probability * 20).astype(int), 19), weight * (probability - led))
    return {
        "games": len(absolute),
        "forecasts": len(counted),
        "mae": estimate(absolute, 0.0),
        "persistence_mae": estimate(persistence, 0.0),
        "mae_difference": estimate(absolute - persistence),
        "brier": estimate(brier, 0.0, 1.0),
        "leader_brier": estimate(leader_brier, 0.0, 1.0),
        "brier_difference": estimate(brier - leader_brier, -1.0, 1.0),
        "accuracy": estimate(accuracy, 0.0, 1.0),
        "leader_accuracy": estimate(leader_accuracy, 0.0, 1.0),
        "crps": estimate(_means(scored, "crps"), 0.0) if scored else None,
        "roc_auc": area(probability, led, minutes),
        "persistence_roc_auc": area(lead, led, minutes),
        "ece": float(np.abs(gaps).sum() / weight.sum()),
        "reliability": _reliability([each.forecast.game for each in counted], probability, led, weight),
        "coverage": _coverage(counted),
        "total": _total(totals) if totals else None,
    }


def _means(settled: Sequence[Settled], score: str, of: str = "") -> Array:
    """Return the games' means of a score, of the differential or of the total."""
    scores = [each.scores[of] if of else each.scores for each in settled]
    return means([each.minute for each in settled], [each[score] for each in scores])


def _total(settled: list[Settled]) -> Fields:
    """Return the fields of the scorecard of total points."""
    absolute, pace, crps = (
        _means(settled, name, "total") for name in ("absolute_error", "pace_absolute_error", "crps")
    )
    return {
        "games": len(pace),
        "forecasts": len(settled),
        "mae": estimate(absolute, 0.0),
        "pace_mae": estimate(pace, 0.0),
        "mae_difference": estimate(absolute - pace),
        "relative_difference": ratio(absolute - pace, pace) if pace.any() else None,
        "crps": estimate(crps, 0.0),
        "coverage": _coverage(settled, "total"),
    }


def _coverage(settled: list[Settled], of: str = "") -> list[Fields]:
    """Return the coverage of each alpha, with Wilson's interval at the effective number of games.

    Like a server, it returns at most 20 alphas: 0.05, and those of the most games.
    """
    by_alpha: defaultdict[float, list[Settled]] = defaultdict(list)
    for each in settled:
        by_alpha[each.forecast.request["alpha"]].append(each)
    games = {alpha: len({each.forecast.game for each in chosen}) for alpha, chosen in by_alpha.items()}
    most = sorted(games, key=lambda alpha: (alpha != 0.05, -games[alpha], -len(by_alpha[alpha]), alpha))[:20]
    coverage = []
    for alpha in sorted(most):
        chosen = by_alpha[alpha]
        minutes = [each.minute for each in chosen]
        ends = [each.forecast.said[of] if of else each.forecast.said for each in chosen]
        shares = _means(chosen, "covered", of)
        width = means(minutes, [each["interval_upper"] - each["interval_lower"] for each in ends]).mean()
        share, effective = min(float(shares.mean()), 1.0), float(len(shares))
        if len(shares) > 1 and 0.0 < share < 1.0:
            spread = float(((shares - share) ** 2).mean())
            effective = min(effective * share * (1.0 - share) / max(spread, 1e-12), float(len(set(minutes))))
        counts = {"alpha": alpha, "games": len(shares), "forecasts": len(chosen), "mean_width": float(width)}
        coverage.append(counts | {"coverage": share} | wilson(share, effective))
    return coverage


def _reliability(games: list[str], probability: Array, led: Array, weight: Array) -> list[Fields]:
    """Return the bins of probability, with Wilson's interval at Kish's effective number of games."""
    shown = []
    bins = np.minimum((probability * 10).astype(int), 9)
    for index in sorted(set(bins.tolist())):
        chosen, of_games = bins == index, defaultdict[str, float](float)
        for place in np.flatnonzero(chosen).tolist():
            of_games[games[place]] += weight[place]
        total = math.fsum(of_games.values())
        rate = min(float((weight * led)[chosen].sum()) / total, 1.0)
        fields = {"from_probability": index / 10, "to_probability": (index + 1) / 10, "rate": rate}
        fields |= {"games": len(of_games), "forecasts": int(chosen.sum())}
        fields["mean_probability"] = float((weight * probability)[chosen].sum()) / total
        effective = max(1.0, total**2 / math.fsum(each**2 for each in of_games.values()))
        shown.append(fields | wilson(rate, effective))
    return shown
