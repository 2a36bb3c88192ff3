"""Comparison of two models on the same forecasts, the evidence that it gives, and the gate that decides from it.

The game is the unit: a score of a game is the mean over its equally weighted minutes, and the differences of games are
tested in the order of their settlement, by e-processes, which can be examined after every game.

**E-processes.** An e-process for a hypothesis is a sequence of values, at least 0, whose expectation is at most 1 at
any stopping time if the hypothesis holds. By Ville's inequality, the probability that it ever reaches 20 is then at
most 1/20, however often it is examined and whatever is decided from it (Ramdas, Grünwald, Vovk & Shafer, Game-theoretic
statistics and safe anytime-valid inference, Statistical Science 38, 2023).

This one is a bet. A gambler with a capital of 1 stakes a share of the capital on each game; after game t the capital is
Π (1 + λᵢ yᵢ), i ≤ t, with yᵢ at least −1/λᵢ (a betting martingale: Waudby-Smith & Ramdas, Estimating means of bounded
random variables by betting, JRSS B 86, 2024). The best λ depends on the unknown mean and variance, so the capital is
divided between a large and a small stake, which are bet separately.

The hypothesis is about averages: *the average of the conditional means μ₁ … μₜ of y₁ … yₜ, each given the knowledge
before its game, is not above 0 after any game t*. A single conditional mean may be above 0 in some games and below in
others, as with a model that is much worse in few games (the weak null: Choe & Ramdas, Comparing sequential forecasters,
Operations Research 72, 2024, arXiv 2110.00115). Stakes that rise and fall with the data would weight the games: if they
were large where models agree and small where they differ, they would hide the losses where they differ. Stakes that
only fall do not: with λ₁ ≥ λ₂ ≥ … and all sums Sᵢ = μ₁ + … + μᵢ ≤ 0,

    Σ λᵢ μᵢ = λₜ Sₜ + Σ (λᵢ − λᵢ₊₁) Sᵢ ≤ 0,

and Π (1 + λᵢ yᵢ) / (1 + λᵢ μᵢ) is a martingale, with Π (1 + λᵢ μᵢ) ≤ exp(Σ λᵢ μᵢ) ≤ 1.

A stake requires a bound of a game's loss. A bound for the worst possible game would allow no useful stake. So
differences are clipped to a bound that is known before the game and grows with the data: the fifth largest difference
so far. The bound never falls, so stakes, which are shares of the greatest allowed stake, never rise. A large difference
counts in full from the sixth one of its size on; in all, clipping removes less than the sum of the five largest
differences. This loses evidence about events as rare as one game in fifty, about which a few games say little anyway.

**The gate** decides from a comparison whether a challenger can be promoted, is to be retired, or stays staged. A
challenger may be worse than the champion by less than a margin, 0.1 % of the champion's score. A promotion requires
that in every score at every horizon that counts, in one of two ways:

- *Shown by outcomes*: the e-process of the statement that it is not worse by the margin reaches the threshold. It
  assumes nothing about either model, and can be examined after every game. If the challenger is worse by
  the margin in any score, the probability that all are ever shown is at most 1 / threshold (an intersection-union test,
  without correction: Berger, Technometrics 24, 1982).
- *Hardly different*: its divergence from the champion, which needs no outcome and so has no noise of outcomes, is at
  most the margin. The divergence is what a model loses on average if the champion's probabilities are right (Gneiting &
  Raftery, JASA 102, 2007). Where the champion is wrong, and the challenger more so, it can lose several margins: no
  error rate holds for this way. A refit differs from the champion by less than outcomes can show in many seasons; a
  model that lacks the champion's skill diverges from it by that skill.

A challenger is to be retired once the mean e-value of all statements that it is worse reaches the threshold. A mean of
e-values is an e-value (Vovk & Wang, E-values: calibration, combination and applications, Annals of Statistics 49,
2021), so the probability that this is ever said of a challenger that is nowhere worse by the margin is also at most
1 / threshold. These are the probabilities of one comparison; they add up over challengers.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.scorecard.estimates import Coverage, ScoreEstimate, Units, coverages, estimate
from dejavu_models.types import HORIZONS, Horizon

STAKES: Final = (0.5, 0.2)
"""Shares of the largest stake that cannot lose more than the capital."""

WEIGHTS: Final = (0.5, 0.5)
"""Share of the capital given to each stake, in all 1."""

LARGEST: Final = 5
"""Differences are clipped to the fifth largest so far. With a smaller number, single games would set the stakes for a
season; with a larger one, more of the first large differences would be lost."""


def clipping_bounds(differences: Floats, smallest: float) -> Floats:
    """Return the bound of each difference, derived from the differences before it; the bounds never fall.

    Args:
        differences: (n,), in order.
        smallest: bound of the first, above 0.

    Returns:
        (n,), before each difference, the fifth largest (LARGEST) absolute difference so far, at least `smallest`.
    """
    largest = [smallest] * LARGEST  # a heap
    bounds = np.empty(len(differences))
    for index, size in enumerate(np.abs(differences).tolist()):
        bounds[index] = largest[0]
        if size > largest[0]:
            heapq.heapreplace(largest, size)
    return bounds


def log_e_process(gains: Floats, largest_losses: Floats) -> Floats:
    """Compute the e-process for the hypothesis that gains are not above 0 on average; see the module.

    Args:
        gains: (n,), in order, each at least −largest_loss.
        largest_losses: (n,), bound of the loss of each game, above 0, known before the game; the bounds never fall.

    Returns:
        (n,), natural logarithms of the e-values after each gain.

    Raises:
        ValueError: if a gain is not a number or below its bound, or a bound falls.
    """
    if not np.all(gains >= -largest_losses * (1.0 + 1e-9)):
        raise ValueError("a loss is larger than its bound")
    if not (np.all(largest_losses > 0.0) and np.all(np.diff(largest_losses) >= 0.0)):
        raise ValueError("a bound is not above 0, or falls")
    stakes = np.array(STAKES)[:, None] / largest_losses
    capital = np.log(np.array(WEIGHTS))[:, None] + np.cumsum(np.log1p(stakes * gains), axis=1)
    result: Floats = np.logaddexp.reduce(capital, axis=0)
    return result


def below_zero(differences: Floats, bound: float) -> Floats:
    """Compute the evidence that differences are below 0 on average.

    It is evidence against the hypothesis that the conditional means of the clipped differences, each given the
    knowledge before its game, are on average at least 0.

    Args:
        differences: (n,), one per game, in the order in which games ended.
        bound: clipping bound of the first difference, fixed before it; see `clipping_bounds`.

    Returns:
        (n,), natural logarithms of the e-values after each game.

    Raises:
        ValueError: if a difference is not a number.
    """
    bounds = clipping_bounds(differences, bound)
    return log_e_process(-np.clip(differences, -bounds, bounds), bounds)


CRPS_BOUND: Final = 0.3
BRIER_BOUND: Final = 0.015
"""Clipping bounds of the first games' differences, in points of CRPS and in Brier score; they grow with the observed
ones (`clipping_bounds`).

With smaller bounds, evidence grows faster if models differ little, but more of the first differences is lost if models
differ much.
"""

_MAX_LOG: Final = 600.0
"""Natural logarithm of the largest e-value that is returned: the largest float is exp(709)."""


@dataclass(frozen=True, slots=True, eq=False)
class PairedForecasts:
    """Forecasts of two models of the same games and minutes, settled: arrays of equal length, one value per pair.

    Attributes:
        game: integer id of the game, equal exactly for forecasts of one game, ascending in the order in which games
            were settled.
        minute: elapsed minutes at the forecast, 1 to 47.
        alpha: miscoverage rate of the intervals.
        crps, against_crps: scores of the model and of the other, in points.
        brier, against_brier: Brier scores of the two.
        crps_divergence, brier_divergence: differences of the scores to expect if the other model's probabilities are
            right; see `metrics.cramer_distance`.
        covered, width: whether the outcome lay in the interval of the model, and its width in points.
    """

    game: NDArray[np.int64]
    minute: NDArray[np.int64]
    alpha: Floats
    crps: Floats
    against_crps: Floats
    brier: Floats
    against_brier: Floats
    crps_divergence: Floats
    brier_divergence: Floats
    covered: NDArray[np.bool_]
    width: Floats

    def __len__(self) -> int:
        return len(self.game)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreComparison:
    """Two models compared by one score, in the unit of the score.

    Attributes:
        score, against_score: mean over games of the model's score and of the other's.
        difference: mean difference per game, model − other, with Student's interval.
        divergence: mean over games of the model's divergence from the other.
        margin: the most that the model may be worse.
        not_worse, worse: (games,), after each game, the e-value of the statement that the model is worse by less than
            the margin, and of the statement that it is worse by more; see `below_zero`.
    """

    score: float
    against_score: float
    difference: ScoreEstimate
    divergence: float
    margin: float
    not_worse: Floats
    worse: Floats

    @property
    def not_worse_e_value(self) -> float:
        """E-value, after the last game, of the statement that the model is worse by less than the margin."""
        return float(self.not_worse[-1])

    @property
    def worse_e_value(self) -> float:
        """E-value, after the last game, of the statement that the model is worse by more than the margin."""
        return float(self.worse[-1])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models compared on the same games and minutes: at least one game.

    Attributes:
        games, forecasts: number of games, and of forecasts of each model.
        coverage: of the model's intervals, by alpha, ascending.
    """

    games: int
    forecasts: int
    crps: ScoreComparison
    brier: ScoreComparison
    coverage: tuple[Coverage, ...]

    @property
    def usual_coverage(self) -> Coverage:
        """Coverage of the alpha with the most forecasts; in case of a tie, of the smallest alpha."""
        return max(self.coverage, key=lambda each: each.forecasts)


def compare(pairs: PairedForecasts, margin: float) -> Comparison | None:
    """Compare two models; None without pairs.

    Args:
        pairs: their forecasts.
        margin: the most that the model may be worse, as a share of the other's score; fixed before the first game.
    """
    if not len(pairs):
        return None
    units = Units.of(pairs.game, pairs.minute)

    def compared(name: str, bound: float, most: float) -> ScoreComparison:
        columns = (getattr(pairs, each) for each in (name, f"against_{name}", f"{name}_divergence"))
        scores, against, divergence = map(units.means, columns)
        excess = scores - (1.0 + margin) * against  # below 0 on average: worse by less than the margin
        not_worse, worse = (np.exp(np.minimum(below_zero(each, bound), _MAX_LOG)) for each in (excess, -excess))
        return ScoreComparison(
            score=float(scores.mean()),
            against_score=float(against.mean()),
            difference=estimate(scores - against, -most, most),
            divergence=float(divergence.mean()),
            margin=margin * float(against.mean()),
            not_worse=not_worse,
            worse=worse,
        )

    return Comparison(
        games=len(units.minutes),
        forecasts=len(pairs),
        crps=compared("crps", CRPS_BOUND, math.inf),
        brier=compared("brier", BRIER_BOUND, 1.0),
        coverage=tuple(coverages(pairs.alpha, pairs.game, pairs.minute, pairs.covered, pairs.width)),
    )


PERSISTENCE: Final = "persistence"
"""Stands for persistence in place of a model version: the last known differential as a certain forecast."""

_STATEMENTS: Final = 2 * len(HORIZONS)
"""Number of e-values for a model being worse: one for each score at each horizon."""

_NAMES: Final = {Horizon.HALFTIME: "half", Horizon.FINAL: "end"}


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Requirements of the gate; fixed before the first game is compared.

    Attributes:
        margin: the most that a challenger may be worse, as a share of the champion's score.
        threshold: e-value at which a statement counts as shown.
        coverage_slack: the most that the coverage of the usual intervals may be below its nominal rate.
        min_games: number of games below which nothing is decided.
    """

    margin: float = 0.001
    threshold: float = 20.0
    coverage_slack: float = 0.02
    min_games: int = 100

    def coverage_bound(self, alpha: float) -> float:
        """Return the coverage of intervals below which no model is promoted."""
        return max(0.0, 1.0 - alpha - self.coverage_slack)

    def compare(self, pairs: PairedForecasts) -> Comparison | None:
        """Compare two models with this margin; None without pairs."""
        return compare(pairs, self.margin)

    def shows_not_worse(self, score: ScoreComparison) -> bool:
        """Return whether a model is shown to be not worse in a score, by outcomes or by its divergence."""
        by_outcomes = score.not_worse_e_value >= self.threshold and score.difference.value < score.margin
        return by_outcomes or score.divergence <= score.margin


class GateDecision(enum.Enum):
    """Decision about a challenger."""

    CONTINUE = "continue"
    PROMOTE = "promote"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFigures:
    """Figures of a decision of the gate.

    Attributes:
        games: number of games compared at the horizon with the most.
        crps_e_value, brier_e_value: smallest e-value, over the horizons, of the statement that the model is not worse;
            for a retirement, largest e-value of the statement that it is worse. 1 without games.
        crps_difference, brier_difference: mean difference per game, at the horizon with the most games.
        crps_divergence, brier_divergence: largest divergence over the horizons.
        coverage: coverage of the model's intervals at the horizon with the most games, for the alpha with the most
            forecasts.
    """

    games: int = 0
    crps_e_value: float = 1.0
    brier_e_value: float = 1.0
    crps_difference: float = 0.0
    brier_difference: float = 0.0
    crps_divergence: float = 0.0
    brier_divergence: float = 0.0
    coverage: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement(GateFigures):
    """Decision of the gate, its human-readable reason, and its figures."""

    decision: GateDecision
    reason: str


def judge(comparisons: Mapping[Horizon, Comparison | None], settings: GateSettings) -> Judgement:
    """Decide about a model that was compared with another.

    A horizon counts for a promotion if it has at least half as many games as the other, so that a horizon that is
    hardly ever requested cannot hold up a promotion. The e-values are computed from clipped differences (`below_zero`).
    So the mean difference without clipping must also be below the margin, or for a retirement, above it.

    Args:
        comparisons: by horizon; None without pairs.
        settings: requirements of the gate.
    """
    known = {horizon: each for horizon in HORIZONS if (each := comparisons.get(horizon)) is not None}
    most = max((each.games for each in known.values()), default=0)
    if not most:
        return Judgement(GateDecision.CONTINUE, "no game was forecast by both models and settled")
    counted = {horizon: each for horizon, each in known.items() if 2 * each.games >= most}
    if most < settings.min_games:
        reason = f"{most} of at least {settings.min_games} games were compared"
        return _judgement(GateDecision.CONTINUE, reason, counted)
    if (shown := _worse(known, settings)) is not None:
        return _judgement(GateDecision.RETIRE, shown, known)
    if (lacking := _not_proven(counted, settings)) is not None:
        return _judgement(GateDecision.CONTINUE, lacking, counted)
    return _judgement(GateDecision.PROMOTE, f"not worse by {_percent(settings)}, {_games(counted)}", counted)


def _worse(known: Mapping[Horizon, Comparison], settings: GateSettings) -> str | None:
    """Return why a model is worse; None if it is not shown to be worse."""
    scores = [score for each in known.values() for score in (each.crps, each.brier)]
    decisive = max(scores, key=lambda score: score.worse_e_value)
    total = sum(score.worse_e_value for score in scores)
    mean = (total + _STATEMENTS - len(scores)) / _STATEMENTS  # without games, an e-value is 1
    if mean < settings.threshold or decisive.difference.value <= decisive.margin:
        return None
    return f"worse by more than {_percent(settings)}: mean e-value {mean:.1f}, {_games(known)}"


def _not_proven(counted: Mapping[Horizon, Comparison], settings: GateSettings) -> str | None:
    """Return the obstacle to a model's promotion; None if there is none."""
    for horizon, each in counted.items():
        place = f"at the {_NAMES[horizon]}, {each.games} games"
        if each.games < settings.min_games:
            return f"{each.games} of at least {settings.min_games} games were compared at the {_NAMES[horizon]}"
        for name, score in (("CRPS", each.crps), ("Brier score", each.brier)):
            if not settings.shows_not_worse(score):
                return (
                    f"not shown to be no worse by {_percent(settings)} in {name} ({place}): e-value"
                    f" {score.not_worse_e_value:.1f} of {settings.threshold:g}, mean difference"
                    f" {score.difference.value:+.4f}; it diverges by {score.divergence:.4f}, more than"
                    f" {score.margin:.4f}"
                )
        usual = each.usual_coverage
        bound = settings.coverage_bound(usual.alpha)
        if usual.coverage < bound:
            return (
                f"{usual.coverage:.1%} of its {1.0 - usual.alpha:.0%} intervals held ({place}); expected at least"
                f" {bound:.1%}"
            )
    return None


def _judgement(decision: GateDecision, reason: str, of: Mapping[Horizon, Comparison]) -> Judgement:
    main = max(of.values(), key=lambda each: each.games)
    figures: dict[str, float] = {}
    for name in ("crps", "brier"):
        scores: list[ScoreComparison] = [getattr(each, name) for each in of.values()]
        if decision is GateDecision.RETIRE:
            figures[f"{name}_e_value"] = max(each.worse_e_value for each in scores)
        else:
            figures[f"{name}_e_value"] = min(each.not_worse_e_value for each in scores)
        figures[f"{name}_divergence"] = max(each.divergence for each in scores)
        figures[f"{name}_difference"] = getattr(main, name).difference.value
    return Judgement(decision, reason, games=main.games, coverage=main.usual_coverage.coverage, **figures)


def _percent(settings: GateSettings) -> str:
    return f"{100 * settings.margin:g} %"


def _games(of: Mapping[Horizon, Comparison]) -> str:
    return ", ".join(f"{each.games} games at the {_NAMES[horizon]}" for horizon, each in of.items())
