"""Tables beyond the usual figures: the ceiling, coverage season by season, and the power of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.coverage import POWER
from dejavu_trainer.evaluation.metrics import LATE
from dejavu_trainer.evaluation.result import BacktestResult
from dejavu_trainer.evaluation.season_coverage import SeasonCoverage
from dejavu_trainer.reports.cells import METRIC_NAMES, NAMES, Table, in_percent, number

_COMPARED: Final = ("served", "linear", "logistic", "diffusion", "hindsight")

_CEILING_NOTE: Final = (
    "Linear and logistic: fitted on all earlier games. Diffusion: a Brownian motion with the expected margin as its"
    " drift and one volatility (Stern 1994). Linear, ratings in hindsight: the linear models with expected margins from"
    " all other games of the season, later ones too, which no forecast can have: what perfect knowledge of each team's"
    " mean strength would bring. It does not know who plays, how often a team rests or how its strength changes, and"
    " uses nothing of the game but the lead. Published models: of ESPN's win probabilities, Yeh, Rice & Dubin (The"
    " American Statistician 76, 2022, abstract) found that they are well calibrated and better than naive models, but"
    " not significantly better than logistic regressions on the teams' relative strength and the score difference,"
    " which is what the logistic row is; their games are others, so no figure stands here. Relative columns: % of the"
    " reference's score, below 0 is better, paired 95 % bootstrap intervals over games."
)


def ceiling(result: BacktestResult) -> Iterator[Table]:
    """Yield the table with the metrics of simple models and of ratings in hindsight, on the same games."""
    half, final = (result.figures[horizon.value] for horizon in (Horizon.HALFTIME, Horizon.FINAL))
    late = f"{LATE[0]}–{LATE[1]}"
    columns = (
        ("half from 18", half["minute"]["18"], "crps", "linear"),
        ("end", final["all"]["all"], "crps", "linear"),
        (f"end, {late}", final["late"][late], "crps", "linear"),
        ("winner", final["all"]["all"], "brier", "logistic"),
        (f"winner, {late}", final["late"][late], "brier", "logistic"),
    )
    header, rows = [""], {name: [NAMES[name]] for name in _COMPARED}
    for title, group, metric, reference in columns:
        header += [f"{title}: {METRIC_NAMES[metric]}", f"/ {NAMES[reference].lower()}"]
        for name, cells in rows.items():
            relative = group.relative.get(name, {}).get(reference, {}).get(metric)
            cells += [number(group.values[name].get(metric), metric), in_percent(relative)]
    yield Table("The ceiling", tuple(header), tuple(map(tuple, rows.values())), _CEILING_NOTE)


def season_coverage(result: BacktestResult) -> Iterator[Table]:
    """Yield the tables of coverage by season, with the spread expected by chance; none for a single season."""
    for horizon in HORIZONS:
        series = [each for each in result.season_coverages if each.horizon == horizon.value]
        if not series:
            continue
        header = ("", "level", *series[0].seasons, "standard deviation", "by chance", "at most")
        note = (
            "Coverage in %, with a 99 % interval that counts the chance in the season and its calibration; ✗: does not"
            " contain the expected coverage. Standard deviation between the seasons in points: found, expected if"
            " seasons differed by chance alone, and the bound of the verdict, which no row exceeds with probability"
            " 99 % if they did."
        )
        rows = tuple(_season_row(each) for each in series)
        yield Table(f"{horizon.value.capitalize()}: coverage by season, all minutes", header, rows, note)


def _season_row(series: SeasonCoverage) -> tuple[str, ...]:
    return (
        NAMES[series.forecaster],
        f"{series.level} %",
        *(
            f"{100 * found.value:.1f} [{100 * found.lower:.1f}, {min(100 * found.upper, 100):.1f}]"
            + (" ✗" if season in series.excluded else "")
            for season, found in series.seasons.items()
        ),
        f"{100 * series.spread:.2f}{'' if series.agrees else ' ✗'}",
        f"{100 * series.chance:.2f}",
        f"{100 * series.bound:.2f}",
    )


def group_power(result: BacktestResult) -> Iterator[Table]:
    """Yield the table of the power of the groups' test by minute and |lead|; none without groups."""
    if not result.power:
        return
    rows = tuple(
        (
            f"{power.level} %",
            f"{power.games:,}",
            f"{100 * power.passes_from:.1f}–{100 * power.passes_to:.1f}",
            "no" if power.excluded_below is None else f"{100 * power.excluded_below:.1f} or less",
            "no" if power.excluded_above is None else f"{100 * power.excluded_above:.1f} or more",
        )
        for power in result.power
    )
    sure = f"true coverage excluded with {100 * POWER:g} %"
    header = ("level", "games of the group", "passes", f"{sure}: too low", "too high")
    note = (
        "Coverage in %; for each level the smallest, the median and the largest group. A group that passes may have any"
        " true coverage between the last two columns."
    )
    yield Table("Power of the test of groups by minute and |lead|", header, rows, note)
