"""Recomputes a scorecard from the recorded forecasts and compares it with the server's, figure by figure.

python examples/python/recompute_scorecard.py --horizon half --min-minute 18 --max-minute 18
    (server: DEJAVU_TARGET, default 127.0.0.1:50051)

It needs numpy, grpcio and the code that protoc generates from protos/ (docs/clients.md has the command), and nothing
else of this project: it was written from docs/verification.md and the comments of protos/dejavu/v1 alone.

Exit codes: 0 every figure agrees to 1e-9 · 1 one does not · 2 wrong usage, nothing to compare, or the server can't be
reached.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from dejavu.v1 import forecast_pb2, market_pb2, record_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1 import scorecard_pb2 as card_pb
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub

TOLERANCE = 1e-9
DUST = 1e-9
"""Share of a bankroll up to which the rest of a cap counts as 0."""
LEVELS = np.arange(1, 100, 2) / 100
"""Levels of the quantiles in Forecast.distribution: 0.01, 0.03, … 0.99."""
Z = NormalDist().inv_cdf(0.975)

REASONS = ("superseded", "later_minute", "late_time", "reported", "game_date", "observed")
"""Fields of LeftOut: of a superseded forecast, then by number of dejavu.v1.LateReason."""

MOST_EMPTY_PAGES = 1000
"""Maximum number of empty pages in a row; a server reads hundreds of forecasts for each."""

SHARED = ("horizon", "model_version", "from_date", "to_date", "team", "game_id", "include_replays")
"""Fields of a filter of scorecards that lists have too."""

Array = NDArray[Any]
Figures = dict[str, float]
Metadata = tuple[tuple[str, str], ...]


class EndlessListError(Exception):
    """A server lists page after page without a forecast, and no last one."""


def main() -> int:
    """Compare the figures of one filter; print each, and return the exit code."""
    options = arguments()
    score_filter = pb.ScoreFilter(
        horizon=forecast_pb2.HORIZON_FINAL if options.horizon == "final" else forecast_pb2.HORIZON_HALFTIME,
        model_version=options.model,
        from_date=options.first or "",
        to_date=options.last or "",
        min_minutes=options.min_minute,
        max_minutes=options.max_minute,
        team=options.team,
        game_id=options.game,
        min_confidence=options.min_confidence,
        include_replays=options.replays,
        recorded_by=options.recorded_by,
    )
    token = options.token_file.read_text().strip() if options.token_file else ""
    metadata: Metadata = (("authorization", f"Bearer {token}"),) if token else ()
    try:
        with dial(options.target, token, options.ca) as channel:
            service = RecordServiceStub(channel)
            request = pb.GetScorecardRequest(filter=score_filter)
            card = service.GetScorecard(request, timeout=60, metadata=metadata).scorecard
            settled = list(listed(service, score_filter, metadata))
    except grpc.RpcError as error:
        say(f"{options.target}: {error.code().name}: {error.details()}", error=True)
        return 2
    except (EndlessListError, OSError, ValueError) as error:
        say(f"{options.target}: {error}", error=True)
        return 2
    if not settled and not any(figures_of(card).values()):
        say("nothing to compare (replays need --replays)", error=True)
        return 2
    differences = compare(figures_of(card), recomputed(settled))
    for line in differences:
        say(line)
    figures = len(figures_of(card))
    say(f"{figures} figures from {len(settled)} settled forecasts: {len(differences)} differ by more than {TOLERANCE}")
    return 1 if differences else 0


def dial(target: str, token: str, ca: Path | None) -> grpc.Channel:
    """Return a channel: with TLS if an authority is given; without it a token goes to this machine only."""
    if ca is not None:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca.read_bytes()))
    if token and not target.startswith(("127.0.0.1:", "localhost:", "[::1]:")):
        raise ValueError("a token is sent over TLS only: expected --ca FILE")
    return grpc.insecure_channel(target)


def say(text: object, *, error: bool = False) -> None:
    """Print a line, with unprintable characters, such as a terminal's control sequences in foreign texts, escaped."""
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(text))
    print(line, file=sys.stderr if error else sys.stdout)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", default=os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051"), metavar="HOST:PORT")
    parser.add_argument("--horizon", choices=("half", "final"), default="half")
    for name, kind in (("min-minute", int), ("max-minute", int), ("min-confidence", float)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--token-file", type=Path, metavar="FILE")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificate of the server's authority, if it has TLS")
    for name in ("model", "team", "game", "recorded-by"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--from", dest="first", metavar="DATE")
    parser.add_argument("--to", dest="last", metavar="DATE")
    parser.add_argument("--replays", action="store_true")
    return parser.parse_args()


def listed(
    service: RecordServiceStub, score_filter: pb.ScoreFilter, metadata: Metadata
) -> Iterator[record_pb2.RecordedPrediction]:
    """Yield the settled forecasts that match a filter, superseded and late ones included."""
    request = pb.ListPredictionsRequest(
        page_size=500,
        settled=True,
        include_superseded=True,
        **{name: getattr(score_filter, name) for name in SHARED},
    )
    first = score_filter.min_minutes if score_filter.HasField("min_minutes") else 1
    last = score_filter.max_minutes if score_filter.HasField("max_minutes") else 47
    empty = 0
    while empty < MOST_EMPTY_PAGES:
        page = service.ListPredictions(request, timeout=60, metadata=metadata)
        # Unlike a scorecard, a list has no filter by a range of minutes or by caller. Confidence is recomputed too.
        caller, least = score_filter.recorded_by, score_filter.min_confidence
        of_caller = (each for each in page.predictions if caller in {"", each.recorded_by})
        confident = (each for each in of_caller if confidence(each.forecast) >= least)
        yield from (each for each in confident if first <= each.forecast.elapsed_minutes <= last)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
        empty = 0 if page.predictions else empty + 1
    raise EndlessListError(f"the server returned {empty} empty pages in a row and no last page")


def confidence(forecast: forecast_pb2.Forecast) -> float:
    """Return the probability of the likelier leader or winner."""
    return max(forecast.home_lead_probability, 1.0 - forecast.home_lead_probability)


def recomputed(settled: list[record_pb2.RecordedPrediction]) -> Figures:
    """Compute every figure of a scorecard from forecasts and outcomes; settlements serve to order the games only.

    Withdrawn, corrected and doubtful games are not figures of settled forecasts, and are not among them.
    """
    left_out = Counter(reason for each in settled if (reason := exclusion(each)))
    counted = [each for each in settled if not exclusion(each)]
    figures = {f"left_out.{reason}": float(left_out[reason]) for reason in REASONS}
    figures["left_out.late_markets"] = float(sum(each.is_late for each in markets_of(settled)))
    bet_on = [each for each in settled if exclusion(each) in {"", "superseded"}]
    figures["unsettled_totals"] = float(len({each.forecast.game_id for each in bet_on if lacks_total(each)}))
    figures |= {"games": 0.0, "forecasts": float(len(counted)), "ece": 0.0}
    figures |= market_figures([each for each in markets_of(settled) if each.counts])
    if not counted:
        return figures
    forecasts = [each.forecast for each in counted]
    outcome = np.array([each.outcome.differential for each in counted], dtype=float)
    units = Units(counted)
    absolute = units.means(np.abs(np.array([each.point_forecast for each in forecasts]) - outcome))
    persistence = units.means(np.abs(np.array([last_known(each) for each in counted]) - outcome))
    probability, led = np.array([each.home_lead_probability for each in forecasts]), outcome > 0
    figures["games"] = float(len(absolute))
    figures |= figure("mae", absolute, 0.0) | figure("persistence_mae", persistence, 0.0)
    figures |= figure("mae_difference", absolute - persistence)
    lead = np.array([last_known(each) for each in counted])
    leader = (np.sign(lead) + 1.0) / 2.0
    brier, leader_brier = units.means((probability - led) ** 2), units.means((leader - led) ** 2)
    figures |= figure("brier", brier, 0.0, 1.0) | figure("leader_brier", leader_brier, 0.0, 1.0)
    figures |= figure("brier_difference", brier - leader_brier, -1.0, 1.0)
    for name, said in (("accuracy", probability), ("leader_accuracy", leader)):
        right = np.where(said == 0.5, 0.5, (said > 0.5) == led)
        figures |= figure(name, units.means(right), 0.0, 1.0)
    figures |= area_figure("roc_auc", probability, led, units) | area_figure("persistence_roc_auc", lead, led, units)
    figures["ece"] = calibration_error(probability, led, units.weights())
    figures |= reliability_figures([each.game_id for each in forecasts], probability, led, units.weights())
    scored = [each for each in counted if each.forecast.distribution]
    if scored:
        scores = [crps(each.forecast.distribution, each.outcome.differential) for each in scored]
        figures |= figure("crps", Units(scored).means(np.array(scores)), 0.0)
    figures |= coverage_figures("", counted, [each.forecast for each in counted], outcome)
    totals = [each for each in counted if each.forecast.HasField("total") and each.outcome.HasField("total_points")]
    return figures | (total_figures(totals) if totals else {})


def total_figures(settled: list[record_pb2.RecordedPrediction]) -> Figures:
    """Compute the figures of total points, from those forecasts that have a settled total."""
    units, told = Units(settled), [each.forecast.total for each in settled]
    outcome = np.array([each.outcome.total_points for each in settled], dtype=float)
    minutes = np.array([each.forecast.elapsed_minutes for each in settled])
    horizon = 48 if settled[0].forecast.horizon == forecast_pb2.HORIZON_FINAL else 24
    absolute = units.means(np.abs(np.array([each.point_forecast for each in told]) - outcome))
    pace = units.means(np.abs(np.array([each.forecast.total_points for each in settled]) * horizon / minutes - outcome))
    figures = {"total.games": float(len(pace)), "total.forecasts": float(len(settled))}
    figures |= figure("total.mae", absolute, 0.0) | figure("total.pace_mae", pace, 0.0)
    figures |= figure("total.mae_difference", absolute - pace)
    figures |= ratio_figure("total.relative_difference", absolute - pace, pace)
    scores = [crps(each.distribution, value) for each, value in zip(told, outcome, strict=True)]
    return (
        figures
        | figure("total.crps", units.means(np.array(scores)), 0.0)
        | coverage_figures("total.", settled, told, outcome)
    )


def exclusion(each: record_pb2.RecordedPrediction) -> str:
    """Return why a forecast does not count; empty if it does. A late one counts as late, superseded or not."""
    return REASONS[each.forecast.late] if each.forecast.late else "superseded" if each.superseded else ""


class Bet:
    """A market of a forecast, on the lead or on the total points, and its answer.

    Args:
        of: the forecast.
        market: the market.
    """

    def __init__(self, of: record_pb2.RecordedPrediction, market: record_pb2.RecordedMarket) -> None:
        self.of, self.line, self.answer, self.sequence = of, market.market.line, market.answer, market.sequence
        self.on_total = market.market.kind == market_pb2.MARKET_KIND_TOTAL
        self.first, second = market.answer.above, market.answer.below
        self.on_first = market.answer.side in {market_pb2.MARKET_SIDE_HOME, market_pb2.MARKET_SIDE_OVER}
        self.chosen = self.first if self.on_first else second
        self.points = of.outcome.total_points if self.on_total else of.outcome.differential

        self.game = of.forecast.game_id
        self.fair = second.decimal_odds / (self.first.decimal_odds + second.decimal_odds)

    @property
    def spread(self) -> float:
        """Standard deviation of the outcome around a fair line at the time of the forecast."""
        final = self.of.forecast.horizon == forecast_pb2.HORIZON_FINAL
        whole = {(True, False): 12.5, (False, False): 10.4, (True, True): 17.9, (False, True): 11.7}
        minutes = 48 if final else 24
        left = max(minutes - elapsed_of(self.of.forecast) / 60, 1.0)
        return whole[final, self.on_total] * math.sqrt(left / minutes)

    @property
    def is_late(self) -> bool:
        """Whether it was sent after the outcome was observed, or with a forecast that was made after it."""
        if self.of.forecast.late:
            return self.of.forecast.late == forecast_pb2.LATE_REASON_OBSERVED
        return self.answer.recording == market_pb2.MARKET_RECORDING_OUTCOME_KNOWN

    @property
    def counts(self) -> bool:
        """Whether it counts: in time, sent before the outcome was observed, and with an outcome."""
        settled = not self.on_total or self.of.outcome.HasField("total_points")
        return settled and not self.of.forecast.late and not self.is_late

    @property
    def stake(self) -> float:
        """The recorded stake, as a share of the bankroll; 0 for no bet."""
        return self.chosen.stake_fraction if self.answer.side else 0.0

    def profit_of_one(self) -> float:
        """Return the profit of a stake of 1 on the recorded bet; a push returns the stake."""
        above = self.points - self.line
        if above == 0:
            return 0.0
        return self.chosen.decimal_odds - 1.0 if (above > 0) == self.on_first else -1.0


def markets_of(settled: list[record_pb2.RecordedPrediction]) -> list[Bet]:
    """Return the markets of forecasts, on the lead and on the total points."""
    return [Bet(each, market) for each in settled for market in each.markets]


def lacks_total(each: record_pb2.RecordedPrediction) -> bool:
    """Return whether a forecast of a total has an outcome without one."""
    return each.forecast.HasField("total") and not each.outcome.HasField("total_points")


def elapsed_of(forecast: forecast_pb2.Forecast) -> float:
    """Return the seconds of play at a forecast."""
    if not forecast.HasField("moment"):
        return 60.0 * forecast.elapsed_minutes
    overtimes = max(forecast.moment.period - 4, 0)
    return 720 * (forecast.moment.period - overtimes) + 300 * overtimes - forecast.moment.seconds_left


def minute_of(forecast: forecast_pb2.Forecast) -> int:
    """Return the complete minutes of play at a forecast, of overtimes too."""
    return int(elapsed_of(forecast) // 60)


def last_known(each: record_pb2.RecordedPrediction) -> float:
    """Return the differential from which a forecast was made, in points."""
    return each.forecast.moment.differential if each.forecast.HasField("moment") else each.pattern[-1]


class Units:
    """Nested means: forecasts of one minute count as their mean, minutes of one game as their mean."""

    def __init__(self, predictions: list[record_pb2.RecordedPrediction]) -> None:
        minutes = [(each.forecast.game_id, minute_of(each.forecast)) for each in predictions]
        groups = {group: index for index, group in enumerate(sorted(set(minutes)))}
        games = {game: index for index, game in enumerate(sorted({game for game, _ in groups}))}
        self._group = np.array([groups[each] for each in minutes])
        self._game = np.array([games[game] for game, _ in groups])
        self.minutes = len(groups)

    def means(self, values: Array) -> Array:
        """Return the mean of each game."""
        of_minutes = np.bincount(self._group, values) / np.bincount(self._group)
        means: Array = np.bincount(self._game, of_minutes) / np.bincount(self._game)
        return means

    def weights(self) -> Array:
        """Return 1 / (minutes of the game) / (forecasts of the minute) for each forecast."""
        of_minutes = 1.0 / (np.bincount(self._group) * np.bincount(self._game)[self._game])
        weights: Array = of_minutes[self._group]
        return weights


def figure(name: str, means: Array, least: float = -math.inf, most: float = math.inf) -> Figures:
    """Return the mean of the games' means, with Student's interval within bounds if there are two games or more."""
    games, value = len(means), float(means.mean())
    if games < 2:
        return {name: value}
    half = student(games - 1) * float(means.std(ddof=1)) / math.sqrt(games)
    return {name: value, f"{name}.lower": max(value - half, least), f"{name}.upper": min(value + half, most)}


def area_figure(name: str, scores: Array, led: Array, units: Units) -> Figures:
    """Return the area under the ROC curve of scores, with DeLong's interval over games; nothing with one outcome."""
    won, weights = units.means(led) > 0.5, units.weights()
    if won.all() or not won.any():
        return {}
    ahead = np.array([np.where(led == of, 0.0, np.sign(score - scores)) for score, of in zip(scores, led, strict=True)])
    others = np.where(led, -1.0, 1.0)[:, None] * np.where(led[:, None] == led, 0.0, weights)
    shares = units.means(0.5 - (others * ahead).sum(axis=1) / np.abs(others).sum(axis=1) / 2.0)
    groups = shares[won], shares[~won]
    area = min(float(groups[0].mean()), 1.0)
    if min(map(len, groups)) < 2 or all(float(np.ptp(each)) == 0.0 for each in groups):
        return {name: area}
    half = Z * math.sqrt(sum(float(each.var(ddof=1)) / len(each) for each in groups))
    return {name: area, f"{name}.lower": max(area - half, 0.0), f"{name}.upper": min(area + half, 1.0)}


def student(degrees: int) -> float:
    """Return the 0.975 quantile of Student's t with a number of degrees of freedom.

    With t = √degrees·tan(u) the density is proportional to cos(u)^(degrees − 1), which Gauss-Legendre integrates.
    """
    nodes, weights = np.polynomial.legendre.leggauss(100)
    factor = 2.0 * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)

    def within(angle: float) -> float:
        points = (nodes + 1.0) * angle / 2.0
        return factor * angle / 2.0 * float(weights @ np.cos(points) ** (degrees - 1))

    low, high = 0.0, min(math.pi / 2.0, math.atan(13.0 / math.sqrt(degrees)))
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if within(middle) < 0.95 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def ratio_figure(name: str, numerators: Array, denominators: Array) -> Figures:
    """Return a ratio of two means of games, −1 or more, with the interval of its linearization if ratios differ."""
    games, ratio = len(numerators), float(numerators.sum() / denominators.sum())
    residuals = numerators - ratio * denominators
    if games < 2 or float(np.ptp(residuals)) <= TOLERANCE:
        return {name: ratio}
    half = student(games - 1) * math.sqrt(games) * float(residuals.std(ddof=1) / denominators.sum())
    return {name: ratio, f"{name}.lower": max(ratio - half, -1.0), f"{name}.upper": ratio + half}


def crps(quantiles: Sequence[float], outcome: float) -> float:
    """Return twice the mean pinball loss of the recorded quantiles."""
    error = outcome - np.array(quantiles)
    return float(2.0 * ((LEVELS - (error < 0)) * error).mean())


def calibration_error(probability: Array, led: Array, weights: Array) -> float:
    """Return the expected calibration error: 20 bins, closed below, the last one closed on both sides."""
    bins = np.minimum((probability * 20).astype(int), 19)
    gaps = np.bincount(bins, weights * (probability - led), minlength=20)
    return float(np.abs(gaps).sum() / weights.sum())


def reliability_figures(games: list[str], probability: Array, led: Array, weights: Array) -> Figures:
    """Return the bins of probability, with Wilson's interval at Kish's effective number of games."""
    figures: Figures = {}
    bins = np.minimum((probability * 10).astype(int), 9)
    for index in sorted(set(bins.tolist())):
        of_games: dict[str, float] = {}
        for place in np.flatnonzero(bins == index).tolist():
            of_games[games[place]] = of_games.get(games[place], 0.0) + weights[place]
        chosen, total = bins == index, sum(of_games.values())
        rate = min(float((weights * led)[chosen].sum()) / total, 1.0)
        lower, upper = wilson(rate, max(1.0, total**2 / sum(weight**2 for weight in of_games.values())))
        name = f"reliability[{index / 10}]"
        figures |= {name: rate, f"{name}.lower": lower, f"{name}.upper": upper, f"{name}.games": float(len(of_games))}
        figures[f"{name}.mean_probability"] = float((weights * probability)[chosen].sum()) / total
        figures[f"{name}.forecasts"] = float(chosen.sum())
    return figures


def coverage_figures(
    prefix: str, counted: list[record_pb2.RecordedPrediction], told: Sequence[Any], outcome: Array
) -> Figures:
    """Return the coverage of each alpha, with Wilson's interval at the effective number of games; `told` has ends.

    Like a server, it returns at most 20 alphas: 0.05, and those of the most games.
    """
    figures: Figures = {}
    alphas = np.array([each.forecast.alpha for each in counted])
    ends = np.array([(each.interval_lower, each.interval_upper) for each in told])
    games_of: dict[float, set[str]] = {}
    for each, alpha in zip(counted, alphas.tolist(), strict=True):
        games_of.setdefault(alpha, set()).add(each.forecast.game_id)
    most = sorted(
        games_of, key=lambda alpha: (alpha != 0.05, -len(games_of[alpha]), -int((alphas == alpha).sum()), alpha)
    )[:20]
    for alpha in sorted(most):
        chosen = np.flatnonzero(alphas == alpha)
        units, (low, high), value = Units([counted[place] for place in chosen]), ends[chosen].T, outcome[chosen]
        shares = units.means((low <= value) & (value <= high))
        share = min(float(shares.mean()), 1.0)
        effective = float(len(shares))
        if len(shares) > 1 and 0.0 < share < 1.0:
            spread = float(((shares - share) ** 2).mean())
            effective = min(effective * share * (1.0 - share) / max(spread, 1e-12), float(units.minutes))
        lower, upper = wilson(share, effective)
        name = f"{prefix}coverage[{alpha}]"
        figures |= {name: share, f"{name}.lower": lower, f"{name}.upper": upper}
        figures |= {f"{name}.games": float(len(shares)), f"{name}.forecasts": float(len(chosen))}
        figures[f"{name}.mean_width"] = float(units.means(high - low).mean())
    return figures


def wilson(share: float, trials: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share; it holds the share and lies in [0, 1]."""
    scale = 1.0 + Z**2 / trials
    centre = (share + Z**2 / (2.0 * trials)) / scale
    half = Z * math.sqrt(share * (1.0 - share) / trials + (Z / (2.0 * trials)) ** 2) / scale
    return max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)


def market_figures(asked: list[Bet]) -> Figures:
    """Return the record of the bets of markets that count, also of superseded forecasts."""
    if not asked:
        return {}
    stakes_of = within_caps(asked)
    placed = [each for each in asked if stakes_of[each.sequence] > 0.0]
    bets = [(stake := stakes_of[each.sequence], stake * each.profit_of_one()) for each in placed]
    by_game: dict[int, Array] = {}
    for bet, each in zip(bets, placed, strict=True):
        first = each.of.settlement.first_outcome_sequence
        by_game[first] = by_game.get(first, np.zeros(2)) + np.array(bet)
    stakes, profits = np.array([by_game[first] for first in sorted(by_game)]).reshape(-1, 2).T
    bankroll = np.cumprod(np.concatenate(([1.0], np.maximum(1.0 + profits, 0.0))))
    staked, profit = (math.fsum(column) for column in zip(*bets, strict=True)) if bets else (0.0, 0.0)
    figures = {
        "market.bets": float(len(bets)),
        "market.markets": float(len(asked)),
        "market.staked": staked,
        "market.profit": profit,
        "market.total_return": float(bankroll[-1]) - 1.0,
        "market.max_drawdown": float((1.0 - bankroll / np.maximum.accumulate(bankroll)).max()),
        "market.expected_profit": math.fsum(stakes_of[each.sequence] * each.chosen.expected_value for each in placed),
        "market.won": float(sum(profit > 0.0 for _, profit in bets)),
        "market.lost": float(sum(profit < 0.0 for _, profit in bets)),
        "market.pushed": float(sum(profit == 0.0 for _, profit in bets)),
        "market.games": float(len(profits)),
        "market.capped": float(sum(stakes_of[each.sequence] < each.stake for each in asked)),
    }
    if bets:
        figures |= ratio_figure("market.roi", profits, stakes)
    if len(set(profits)) > 1:
        figures["market.sharpe"] = float(profits.mean() / profits.std(ddof=1))
    figures |= closing_line_figures(asked, placed, stakes_of)
    return figures | market_brier_figures(asked)


def closing_line_figures(asked: list[Bet], placed: list[Bet], stakes_of: dict[int, float]) -> Figures:
    """Return the closing-line value: each bet at the fair probability of its closing market."""
    sums: dict[str, Array] = {}
    bets = 0
    for each in placed:
        of_kind = [one for one in asked if (one.game, one.on_total) == (each.game, each.on_total)]
        at = elapsed_of(each.of.forecast)
        later = [
            one for one in of_kind if at < elapsed_of(one.of.forecast) <= at + 120.0 and one.sequence > each.sequence
        ]
        if not later:
            continue
        closing = min(later, key=lambda one: (elapsed_of(one.of.forecast), one.sequence))
        score = NormalDist().inv_cdf(closing.fair) + (closing.line - each.line) / closing.spread
        fair = NormalDist().cdf(score if each.on_first else -score)
        stake = stakes_of[each.sequence]
        bets += 1
        value = np.array([stake * (each.chosen.decimal_odds * fair - 1.0), stake])
        sums[each.game] = sums.get(each.game, np.zeros(2)) + value
    figures = {"market.closing_line_bets": float(bets)}
    if sums and bets >= 0.9 * len(placed):
        figures |= ratio_figure("market.closing_line_value", *np.array(list(sums.values())).T)
    return figures


def market_brier_figures(asked: list[Bet]) -> Figures:
    """Return the Brier scores of the model and of the market on the markets without pushes."""
    games: dict[str, list[tuple[float, float]]] = {}
    implausible = 0
    for each in asked:
        decided = 1.0 - each.answer.push_probability
        if each.points != each.line and decided > 0.0:
            won, model = float(each.points > each.line), each.first.win_probability / decided
            games.setdefault(each.game, []).append(((model - won) ** 2, (each.fair - won) ** 2))
            implausible += abs(model - each.fair) > each.answer.staking.max_difference + 1e-9
    figures = {"market.scored_markets": float(sum(map(len, games.values())))}
    figures |= {"market.implausible_markets": float(implausible), "market.scored_games": float(len(games))}
    if not games:
        return figures
    model, market = np.array([np.mean(scores, axis=0) for scores in games.values()]).T
    return (
        figures
        | figure("market.model_brier", model, 0.0, 1.0)
        | figure("market.market_brier", market, 0.0, 1.0)
        | figure("market.brier_difference", model - market, -1.0, 1.0)
    )


def within_caps(asked: list[Bet]) -> dict[int, float]:
    """Return the stakes by sequence of the market, each at most the rest of its caps after earlier ones."""
    stakes: dict[int, float] = {}
    on_game: dict[str, float] = {}
    on_evening: dict[str, float] = {}
    for each in sorted(asked, key=lambda one: one.sequence):
        game, evening, caps = each.of.forecast.game_id, date_of(each.of), each.answer.staking
        left = min(caps.game_cap - on_game.get(game, 0.0), caps.evening_cap - on_evening.get(evening, 0.0))
        stake = min(each.stake, left) if left > DUST else 0.0
        stakes[each.sequence] = stake
        on_game[game] = on_game.get(game, 0.0) + stake
        on_evening[evening] = on_evening.get(evening, 0.0) + stake
    return stakes


def date_of(each: record_pb2.RecordedPrediction) -> str:
    """Return the date of a forecast: that of its game, but no later than the day on which it was made."""
    made = each.forecast.generated_time.ToDatetime() - timedelta(hours=11)
    return min(each.forecast.game_date, made.date().isoformat())


def figures_of(card: card_pb.Scorecard) -> Figures:
    """Return the figures of a server's scorecard under the names that this program gives them."""
    figures = {"games": float(card.games), "forecasts": float(card.forecasts), "ece": card.ece}
    figures["unsettled_totals"] = float(card.unsettled_totals)
    for name in (*REASONS, "late_markets"):
        figures[f"left_out.{name}"] = float(getattr(card.left_out, name))
    figures |= means_of("", card)
    for each in card.reliability:
        figures |= parts_of(f"reliability[{each.from_probability}]", each.rate, each, "mean_probability")
    if card.HasField("total"):
        figures |= {"total.games": float(card.total.games), "total.forecasts": float(card.total.forecasts)}
        figures |= means_of("total.", card.total)
    if card.HasField("market"):
        figures |= means_of("market.", card.market)
        for field in card.market.DESCRIPTOR.fields:
            if field.name == "notice" or field.message_type is not None:  # a text; those of `means_of`
                continue
            if not field.has_presence or card.market.HasField(field.name):  # type: ignore[arg-type]
                figures[f"market.{field.name.replace('roi_', 'roi.')}"] = float(getattr(card.market, field.name))
    return figures


def means_of(prefix: str, card: card_pb.Scorecard | card_pb.TotalScorecard | card_pb.MarketRecord) -> Figures:
    """Return the means and coverages of a server's scorecard, or of its totals or bets."""
    figures: Figures = {}
    for field, told in card.ListFields():
        if isinstance(told, card_pb.Figure):
            name = prefix + field.name
            figures[name] = told.value
            figures |= {f"{name}.{end}": getattr(told, end) for end in ("lower", "upper") if told.HasField(end)}
    for each in () if isinstance(card, card_pb.MarketRecord) else card.coverage:
        figures |= parts_of(f"{prefix}coverage[{each.alpha}]", each.coverage, each, "mean_width")
    return figures


def parts_of(name: str, value: float, each: card_pb.CoverageFigure | card_pb.ReliabilityBin, more: str) -> Figures:
    """Return a share of a server's scorecard with its interval and counts."""
    parts = ("lower", "upper", "games", "forecasts", more)
    return {name: value} | {f"{name}.{part}": float(getattr(each, part)) for part in parts}


def compare(server: Figures, own: Figures) -> list[str]:
    """Return a line for each figure that differs, or that only one side has."""
    lines = []
    for name in sorted(server.keys() | own.keys()):
        one, other = server.get(name), own.get(name)
        if one is None or other is None or not math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            lines.append(f"{name}: the server says {one}, recomputed {other}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
