"""Result of a walk-forward, shown in the reports and stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any, Final

from dejavu_trainer.evaluation.aims import aims_of
from dejavu_trainer.evaluation.figures import ALL, Figures
from dejavu_trainer.evaluation.scoring.fold_scores import ALONE, LINE, PARTS, PLAYERS, REFERENCES, STATIC
from dejavu_trainer.evaluation.scoring.totals import LINE_RATE, RIVALS
from dejavu_trainer.evaluation.table import METRICS, MOMENTS, TOTALS, Table, pool
from dejavu_trainer.evaluation.verdict import Check, Verdict, judge

_OF_FOLD: Final = ("train_seasons", "calibration_seasons", "calibration_games")

COMPARED: Final = ("mae", "crps", "winkler_95", "brier", "log_loss")
"""Scores whose differences are stored."""


@dataclass(frozen=True, slots=True)
class RunProvenance:
    """Provenance of a run.

    Attributes:
        recipe: digest of the recipe.
        seed: random seed.
        data: SHA-256 of the games.
        data_by_season: SHA-256 of the games of each season, for the comparison by `fit --backtest`.
    """

    recipe: str
    seed: int
    data: str
    data_by_season: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """Result of a walk-forward.

    Attributes:
        method: provenance of the run.
        verdict: whether the recipe's forecasts may be served.
        promises: checks of the aims, which do not decide the verdict.
        figures: all metrics, and the table that they are computed from.
    """

    method: RunProvenance
    verdict: Verdict
    promises: tuple[Check, ...]
    figures: Figures

    @property
    def table(self) -> Table:
        """The scores of all folds."""
        return self.figures.table


def result_of(folds: Sequence[Table], method: RunProvenance, *, resamples: int = 2000) -> BacktestResult:
    """Compute all checks and the verdict of some folds; their figures are computed when they are asked for.

    Args:
        folds: at least one fold, each of one season.
        method: provenance of the run.
        resamples: number of bootstrap resamples over games.
    """
    figures = Figures(pool(folds), seed=method.seed, resamples=resamples)
    return BacktestResult(method, judge(figures), aims_of(figures), figures)


def references_of(target: str, forecaster: str) -> tuple[str, ...]:
    """Return the forecasters that a forecaster of a target is compared with.

    Those of the references know what it knows; components are compared with the learned weights.
    """
    if target in TOTALS.values():
        return ("served", LINE_RATE) if forecaster == LINE else RIVALS
    if target in MOMENTS.values():
        return ("logistic",)
    if forecaster in (PLAYERS, LINE):
        return ("served", "persistence", *(f"{name}_{forecaster}" for name in REFERENCES))
    return (STATIC,) if forecaster in PARTS or forecaster.startswith(ALONE) else ("persistence", *REFERENCES)


def document_of(result: BacktestResult) -> dict[str, Any]:
    """Return the result as a JSON document, with numbers of six significant digits; see docs/evaluation.md."""
    columns = result.table.columns
    document = {
        "recipe": result.method.recipe,
        "seasons": columns["fold.season"].tolist(),
        "method": asdict(result.method),
        "folds": [
            {
                "season": season,
                "games": int((columns["game.season"] == season).sum()),
                **{name: columns[f"fold.{name}"][row].item() for name in _OF_FOLD},
            }
            for row, season in enumerate(columns["fold.season"].tolist())
        ],
        "verdict": asdict(result.verdict),
        "promises": [asdict(each) for each in result.promises],
        "figures": [*_figures(result.figures)],
    }
    text = json.dumps(document, allow_nan=False)
    rounded: dict[str, Any] = json.loads(text, parse_float=lambda number: float(f"{float(number):.6g}"))
    return rounded


def _figures(figures: Figures) -> Iterator[dict[str, Any]]:
    """Yield the figures of all targets by season, minute and band, and those over all and over the late minutes."""
    for target, kind in product(figures.table.targets, (ALL, "season", "minute", "late", "band")):
        if (kind == "band") != (target in MOMENTS.values() and kind != ALL):
            continue
        games = {group: figures.games(target, kind, group) for group in figures.groups(target, kind)}
        for forecaster in figures.table.forecasters(target):
            compared = {name: COMPARED for name in references_of(target, forecaster) if name != forecaster}
            for reference, metrics in {"": METRICS, **compared}.items():
                for metric, group in product(metrics, games):
                    if kind == "minute" and metric == "ece":
                        continue
                    found = figures.get(target, forecaster, metric, reference, kind=kind, group=group)
                    if found is not None:
                        yield {
                            "target": target, "kind": kind, "group": group, "games": games[group],
                            "forecaster": forecaster, "metric": metric, "reference": reference, "found": [*found],
                        }  # fmt: skip
