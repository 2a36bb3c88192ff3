"""Tables of the adaptive intervals study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from dejavu_common.rich_console import Console
from dejavu_trainer.evaluation.adaptive_study import ARMS, MIN_MONTH_GAMES, RATINGS, STATIC, ReplayedFold
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.reports.cells import Table
from dejavu_trainer.reports.text import markdown_table, print_tables


def tables(replayed: Sequence[ReplayedFold]) -> Iterator[Table]:
    """Yield the tables: by season and ratings, deviation of monthly coverage, and by month."""
    coverage_header = tuple(f"{100 * (1 - alpha):.0f} % coverage" for alpha in ALPHAS)
    header = ("", "intervals", "games", *coverage_header, f"{coverage_header[0][:4]} width", "Winkler 95 %")
    for ratings in RATINGS:
        of_ratings = [each for each in replayed if each.ratings == ratings]
        groups = [(f"{each.season}", [(each, np.ones(len(each.month), dtype=np.bool_))]) for each in of_ratings]
        groups.append(("all", [group for _, (group,) in groups]))
        yield Table(f"By season, ratings {ratings}", header, tuple(_rows(groups)))
    months = _months(replayed)
    if enough := _large(months):
        yield _deviation_table(coverage_header, enough)
    yield Table(
        "By month, ratings carried",
        header,
        tuple(_rows(months)),
        "A month of 200 games determines a coverage of 95 % to about ± 2 %: forecasts of a game are not independent.",
    )


def markdown(title: str, method: str, replayed: Sequence[ReplayedFold]) -> str:
    """Format the study as a Markdown document.

    Args:
        title: heading.
        method: line that describes the tested configuration; see `reports.text.method_line`.
        replayed: the replayed folds.
    """
    lines = [f"# {title}", "", method, ""]
    lines += [line for table in tables(replayed) for line in markdown_table(table)]
    if note := omission(replayed):
        lines += [note, ""]
    return "\n".join(lines).rstrip() + "\n"


def print_study(console: Console, title: str, replayed: Sequence[ReplayedFold]) -> None:
    """Print the study; widens the console to the width of the tables."""
    print_tables(console, title, tables(replayed))
    if note := omission(replayed):
        console.print(Text(note), soft_wrap=True)


def omission(replayed: Sequence[ReplayedFold]) -> str:
    """Return why the table of monthly deviations is left out; empty if it is not."""
    if _large(_months(replayed)):
        return ""
    return (
        "No table of the deviation of monthly coverage from nominal: no month has at least"
        f" {MIN_MONTH_GAMES} games, and with fewer it is chance."
    )


_Part = tuple[ReplayedFold, NDArray[np.bool_]]


def _months(replayed: Sequence[ReplayedFold]) -> list[tuple[str, list[_Part]]]:
    """Return the games of each month, with carried ratings."""
    carried = [each for each in replayed if each.ratings == "carried"]
    return [(str(month), [(each, each.month == month)]) for each in carried for month in np.unique(each.month)]


def _large(months: Sequence[tuple[str, list[_Part]]]) -> list[_Part]:
    return [part for _, (part,) in months if part[1].sum() >= MIN_MONTH_GAMES]


def _deviation_table(coverage_header: tuple[str, ...], months: Sequence[_Part]) -> Table:
    """Build the table of the deviation of monthly coverage from nominal: root mean square over months, at least one.

    The last row is the deviation expected from sampling error alone: the standard error of a month's coverage over its
    games, if coverage is nominal on average. A smaller deviation comes from feedback, not from better forecasts.
    """
    nominal = 1 - np.array(ALPHAS)
    rows = []
    for arm in ARMS:
        coverage = np.array([fold.covered[arm][which].mean(axis=(0, 1)) for fold, which in months])
        deviation = np.sqrt(np.square(coverage - nominal).mean(axis=0))
        rows.append((arm, *(f"{100 * each:.1f} %" for each in deviation)))
    by_game = [fold.covered[STATIC][which].mean(axis=1) for fold, which in months]
    variances = [covered.var(axis=0, ddof=1) / len(covered) for covered in by_game]
    rows.append(("sampling error alone", *(f"{100 * each:.1f} %" for each in np.sqrt(np.mean(variances, axis=0)))))
    return Table(
        "Deviation of monthly coverage from nominal, ratings carried",
        ("intervals", *coverage_header),
        tuple(rows),
        f"Root mean square over the {len(months)} months with at least {MIN_MONTH_GAMES} games.",
    )


def _rows(groups: Sequence[tuple[str, Sequence[tuple[ReplayedFold, NDArray[np.bool_]]]]]) -> Iterator[tuple[str, ...]]:
    for name, parts in groups:
        for arm in ARMS:
            covered = np.concatenate([fold.covered[arm][which] for fold, which in parts])
            width = np.concatenate([fold.width[arm][which] for fold, which in parts])
            winkler = np.concatenate([fold.winkler[arm][which] for fold, which in parts])
            first = arm == STATIC
            yield (
                name if first else "",
                arm,
                f"{len(covered):,}" if first else "",
                *(f"{100 * share:.1f} %" for share in covered.mean(axis=(0, 1))),
                f"{width[..., 0].mean():.1f}",
                f"{winkler.mean():.1f}",
            )
