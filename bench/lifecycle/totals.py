"""Walk-forward of only the forecasts of total points, compared with pace × time and the season's mean.

Run with `python -m bench.lifecycle.totals --data DIR` from the project's folder; DIR has the plays of all seasons. For
each tested season everything is fitted on all seasons before it, as in a bundle: the settings of the ratings, the
tables of every source of the expected total, and the baselines. No LSTM is trained.
"""

from __future__ import annotations

import sys

from bench.lifecycle.seasons import read_tested_seasons

from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.metrics import LATE, LEVELS, GroupMetrics, MetricsByForecaster
from dejavu_trainer.evaluation.totals.acceptance import total_checks
from dejavu_trainer.evaluation.totals.fold import LINE, RIVALS, SERVED
from dejavu_trainer.evaluation.totals.metrics import compute_total_metrics, main_minute
from dejavu_trainer.evaluation.totals.scores import pool_totals
from dejavu_trainer.evaluation.totals.walk_forward import backtest_totals


def row(name: str, group: GroupMetrics, forecaster: str) -> str:
    """Format the score of a forecaster, its differences from the rivals, and its coverage."""
    values = group.values[forecaster]
    text = f"{name:>16} {forecaster:>9} {group.games:>6,} {values['mae'].value:>7.3f} {values['crps'].value:>7.3f}"
    for rival in RIVALS:
        text += f" {group.relative[forecaster][rival]['crps'].scaled(100):+.2f} %"
    shares = "/".join(f"{100 * values[f'coverage_{level}'].value:.1f}" for level in LEVELS)
    return f"{text}  {shares}"


def shown(results: MetricsByForecaster) -> list[str]:
    """Return the lines of the report."""
    lines = [f"{'':>16} {'':>9} {'games':>6} {'MAE':>7} {'CRPS':>7} CRPS vs {', '.join(RIVALS)}; coverage {LEVELS}"]
    for horizon in HORIZONS:
        by_kind, main = results[horizon.value], main_minute(horizon)
        has_line = LINE in by_kind["all"]["all"].values
        best = (SERVED[0], LINE) if has_line else SERVED[:1]
        served = (*SERVED, LINE) if has_line else SERVED
        groups = [(f"{horizon.value}, all", by_kind["all"]["all"])]
        groups += [(f"{horizon.value} from {main}", by_kind["minute"][f"{main}"])]
        groups += [(f"{LATE[0]} to {LATE[1]}", group) for group in by_kind.get("late", {}).values()]
        lines += [row(name, group, forecaster) for name, group in groups for forecaster in served]
        for kind in ("season", f"season at minute {main}"):
            of_kind = by_kind[kind].items()
            lines += [row(f"{season}{kind[6:][:13]}", group, name) for name in best for season, group in of_kind]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print the scores of each season and of all."""
    games, seasons, steps = read_tested_seasons(__doc__, arguments)
    scores = pool_totals(backtest_totals(games, seasons, steps))
    metrics = compute_total_metrics(scores)
    print("\n".join(shown(metrics)))
    for check in total_checks(metrics, scores):
        print(f"{'✓' if check.passed else '✗'} {check.name}: {check.found} (required: {check.promise})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
