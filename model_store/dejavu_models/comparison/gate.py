"""The gate: decides from a comparison whether a challenger can be promoted, is to be retired, or stays staged.

A challenger may be worse than the champion by less than a margin, 0.1 % of the champion's score. A promotion requires
that in every score at every horizon that counts, in one of two ways:

- *Shown by outcomes*: the e-process of the statement that it is not worse by the margin reaches the threshold. It
  assumes nothing about either model, and can be examined after every game (`eprocess`). If the challenger is worse by
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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dejavu_models.comparison.scores import Comparison, PairedForecasts, ScoreComparison, compare
from dejavu_models.types import HORIZONS, Horizon

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
    hardly ever requested cannot hold up a promotion. The e-values are computed from clipped differences (`eprocess`).
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
