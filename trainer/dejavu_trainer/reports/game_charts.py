"""Games shown in a report, selected by fixed rules to avoid cherry-picking."""

from __future__ import annotations

import numpy as np

from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.fold_scores import FoldScores
from dejavu_trainer.evaluation.metrics import cases_of


def chosen_games(fold: FoldScores) -> dict[str, int]:
    """Selects four test games: largest comeback, closest, most one-sided, and median CRPS.

    By the largest lead lost, the smallest and the largest mean |lead| over all minutes, and the median of the mean
    CRPS; the first game wins a tie.

    Returns:
        The index of each game, by the name of its rule.
    """
    leads, final = fold.leads.astype(float), fold.outcomes[:, 1].astype(float)
    winner = np.sign(final)
    behind = (-leads * winner[:, None]).max(axis=1)
    forecasts = fold.forecasts["ensemble"]
    assert forecasts.crps is not None  # noqa: S101 - for the type checker
    crps = forecasts.crps[:, cases_of(Horizon.FINAL)].mean(axis=1)
    mean_lead = np.abs(leads).mean(axis=1)
    return {
        "Largest comeback": int(behind.argmax()),
        "Closest game": int(mean_lead.argmin()),
        "Most one-sided game": int(mean_lead.argmax()),
        "Median CRPS": int(np.argsort(crps, kind="stable")[(len(crps) - 1) // 2]),
    }
