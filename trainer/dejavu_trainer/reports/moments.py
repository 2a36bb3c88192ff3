"""Table of forecasts at moments and their references, by time left."""

from __future__ import annotations

from collections.abc import Mapping

from dejavu_trainer.evaluation.metrics import LEVELS
from dejavu_trainer.evaluation.moments import MomentBand
from dejavu_trainer.reports.cells import METRIC_NAMES, Table, in_percent, number

_NOTE = (
    "After each play that changes score, possession or free throws to come; a game's moments count as one. Logistic: "
    "on lead, seconds left and rating alone, fitted on all earlier seasons. Leader: the team that leads wins. "
    "Differences in % of the logistic regression's score; below 0 is better; paired 95 % bootstrap intervals over "
    "games."
)


def moments(horizon: str, bands: Mapping[str, MomentBand]) -> Table:
    """Return the table of a horizon.

    Args:
        horizon: its name, capitalized as at the start of a title.
        bands: scores by the name of the group.
    """
    rows = tuple(
        (
            name,
            f"{band.games:,}",
            f"{band.moments:,}",
            *(number(each, "brier") for each in band.brier.values()),
            in_percent(band.brier_difference),
            number(band.log_loss["served"], "log_loss"),
            in_percent(band.log_loss_difference),
            f"{band.ece:.4f}",
            number(band.crps, "crps"),
            *(number(band.coverage[f"{level}"], "coverage") for level in LEVELS),
        )
        for name, band in bands.items()
    )
    brier, loss = METRIC_NAMES["brier"], METRIC_NAMES["log_loss"]
    header = (
        "moments", "games", "plays", brier, f"{brier} logistic", f"{brier} leader", f"{brier} / logistic", loss,
        f"{loss} / logistic", METRIC_NAMES["ece"], METRIC_NAMES["crps"],
        *(METRIC_NAMES[f"coverage_{level}"] for level in LEVELS),
    )  # fmt: skip
    return Table(f"{horizon}: at moments", header, rows, _NOTE)
