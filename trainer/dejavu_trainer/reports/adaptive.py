"""What adapting intervals did on real seasons, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dejavu_trainer.evaluation.adaptive_study import ARMS, LEAST_MONTH, RATINGS, STATIC, ReplayedFold
from dejavu_trainer.evaluation.fold_scores import ALPHAS
from dejavu_trainer.reports.tables import Table


def tables(lived: Sequence[ReplayedFold]) -> Iterator[Table]:
    """What came out: by season and ratings, then by month."""
    held = tuple(f"{100 * (1 - alpha):.0f} % held" for alpha in ALPHAS)
    header = ("", "intervals", "games", *held, f"{held[0][:4]} width", "Winkler 95 %")
    for ratings in RATINGS:
        of_ratings = [each for each in lived if each.ratings == ratings]
        groups = [(f"{each.season}", [(each, np.ones(len(each.month), dtype=np.bool_))]) for each in of_ratings]
        groups.append(("all", [group for _, (group,) in groups]))
        yield Table(f"By season, ratings {ratings}", header, tuple(_rows(groups)))
    carried = [each for each in lived if each.ratings == "carried"]
    months = [(str(month), [(each, each.month == month)]) for each in carried for month in np.unique(each.month)]
    yield _unsteadiness(held, [part for _, (part,) in months if part[1].sum() >= LEAST_MONTH])
    yield Table(
        "By month, ratings carried",
        header,
        tuple(_rows(months)),
        "A month of 200 games tells a coverage of 95 % to about ± 2 %: the forecasts of a game are not independent.",
    )


def _unsteadiness(held: tuple[str, ...], months: Sequence[tuple[ReplayedFold, NDArray[np.bool_]]]) -> Table:
    """How far the coverage of a month lies from what was promised: the root of the mean square over months.

    Beside it what chance brings alone: how far months would lie if the games of each were drawn anew from those that it
    had, and intervals held on average as promised. Who lies nearer has steered, not foretold.
    """
    promised = 1 - np.array(ALPHAS)
    rows = []
    for arm in ARMS:
        found = np.array([lived.covered[arm][which].mean(axis=(0, 1)) for lived, which in months])
        off = (
            np.sqrt(np.square(found.reshape(-1, len(ALPHAS)) - promised).mean(axis=0)) if months else promised * np.nan
        )
        rows.append((arm, *(f"{100 * each:.1f} %" for each in off)))
    by_game = [lived.covered[STATIC][which].mean(axis=1) for lived, which in months]
    chance = [held_by.var(axis=0, ddof=1) / len(held_by) for held_by in by_game] or [promised * np.nan]
    rows.append(("by chance alone", *(f"{100 * each:.1f} %" for each in np.sqrt(np.mean(chance, axis=0)))))
    return Table(
        "How far a month lies from what was promised, ratings carried",
        ("intervals", *held),
        tuple(rows),
        f"Root mean square over the {len(months)} months of {LEAST_MONTH} games or more.",
    )


def _rows(groups: Sequence[tuple[str, Sequence[tuple[ReplayedFold, NDArray[np.bool_]]]]]) -> Iterator[tuple[str, ...]]:
    for name, parts in groups:
        for arm in ARMS:
            covered = np.concatenate([lived.covered[arm][which] for lived, which in parts])
            width = np.concatenate([lived.width[arm][which] for lived, which in parts])
            winkler = np.concatenate([lived.winkler[arm][which] for lived, which in parts])
            first = arm == STATIC
            yield (
                name if first else "",
                arm,
                f"{len(covered):,}" if first else "",
                *(f"{100 * share:.1f} %" for share in covered.mean(axis=(0, 1))),
                f"{width[..., 0].mean():.1f}",
                f"{winkler.mean():.1f}",
            )
