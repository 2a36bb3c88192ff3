"""Games that a report shows whole, chosen by rule, so that nobody picks those that look well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.fold_scores import FoldScores
from dejavu_trainer.evaluation.metrics import cases_of


@dataclass(frozen=True, slots=True)
class GameChart:
    """A game and what was forecast of its end.

    Attributes:
        rule: why it is shown.
        name: who played, when, and how it ended.
        leads: (47,), in points.
        final: final differential, in points.
        point: (47,), point forecasts, in points.
        lower, upper: (47, alphas), ends of intervals, in points.
    """

    rule: str
    name: str
    leads: Floats
    final: float
    point: Floats
    lower: Floats
    upper: Floats


def chosen_games(found: FoldScores) -> list[GameChart]:
    """Four games of those tested: the largest comeback, the closest and the clearest one, and the most ordinary.

    The largest lead lost, the smallest and the largest mean |lead| over all minutes, and the median of the mean CRPS;
    the first of those that are alike.
    """
    leads, final = found.leads.astype(float), found.outcomes[:, 1].astype(float)
    winner = np.sign(final)
    behind = (-leads * winner[:, None]).max(axis=1)
    forecasts = found.forecasts["ensemble"]
    assert forecasts.crps is not None  # noqa: S101 - for the type checker
    crps = forecasts.crps[:, cases_of(Horizon.FINAL)].mean(axis=1)
    size = np.abs(leads).mean(axis=1)
    rules = {
        "Largest comeback": int(behind.argmax()),
        "Closest game": int(size.argmin()),
        "Clearest game": int(size.argmax()),
        "Median CRPS": int(np.argsort(crps, kind="stable")[(len(crps) - 1) // 2]),
    }
    return [_chart(found, game, rule) for rule, game in rules.items()]


def _chart(found: FoldScores, game: int, rule: str) -> GameChart:
    forecasts, stages = found.forecasts["ensemble"], cases_of(Horizon.FINAL)
    point, lower, upper = forecasts.point, forecasts.lower, forecasts.upper
    assert point is not None  # noqa: S101 - for the type checker
    assert lower is not None  # noqa: S101
    assert upper is not None  # noqa: S101
    final = float(found.outcomes[game, 1])
    return GameChart(
        rule=rule,
        name=f"{found.away[game]} at {found.home[game]}, {found.date[game]}: {final:+.0f}",
        leads=found.leads[game].astype(float),
        final=final,
        point=point[game, stages].astype(float),
        lower=lower[game, stages].astype(float),
        upper=upper[game, stages].astype(float),
    )
