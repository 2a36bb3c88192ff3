"""Games shown in a report, selected by fixed rules to avoid cherry-picking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.fold_scores import FoldScores
from dejavu_trainer.evaluation.metrics import cases_of


@dataclass(frozen=True, slots=True)
class GameChart:
    """A game and the forecasts of its final differential.

    Attributes:
        rule: name of the selection rule.
        name: teams, date and final differential.
        leads: (47,), leads after each minute, in points.
        final: final differential, in points.
        point: (47,), point forecasts, in points.
        lower, upper: (47, alphas), ends of the intervals, in points.
    """

    rule: str
    name: str
    leads: Floats
    final: float
    point: Floats
    lower: Floats
    upper: Floats


def chosen_games(fold: FoldScores) -> list[GameChart]:
    """Selects four test games: largest comeback, closest, most one-sided, and median CRPS.

    By the largest lead lost, the smallest and the largest mean |lead| over all minutes, and the median of the mean
    CRPS; the first game wins a tie.
    """
    leads, final = fold.leads.astype(float), fold.outcomes[:, 1].astype(float)
    winner = np.sign(final)
    behind = (-leads * winner[:, None]).max(axis=1)
    forecasts = fold.forecasts["ensemble"]
    assert forecasts.crps is not None  # noqa: S101 - for the type checker
    crps = forecasts.crps[:, cases_of(Horizon.FINAL)].mean(axis=1)
    mean_lead = np.abs(leads).mean(axis=1)
    rules = {
        "Largest comeback": int(behind.argmax()),
        "Closest game": int(mean_lead.argmin()),
        "Most one-sided game": int(mean_lead.argmax()),
        "Median CRPS": int(np.argsort(crps, kind="stable")[(len(crps) - 1) // 2]),
    }
    return [_chart(fold, game, rule) for rule, game in rules.items()]


def _chart(fold: FoldScores, game: int, rule: str) -> GameChart:
    forecasts, cases = fold.forecasts["ensemble"], cases_of(Horizon.FINAL)
    point, lower, upper = forecasts.point, forecasts.lower, forecasts.upper
    assert point is not None  # noqa: S101 - for the type checker
    assert lower is not None  # noqa: S101
    assert upper is not None  # noqa: S101
    final = float(fold.outcomes[game, 1])
    return GameChart(
        rule=rule,
        name=f"{fold.away[game]} at {fold.home[game]}, {fold.date[game]}: {final:+.0f}",
        leads=fold.leads[game].astype(float),
        final=final,
        point=point[game, cases].astype(float),
        lower=lower[game, cases].astype(float),
        upper=upper[game, cases].astype(float),
    )
