"""Cost of a search by the number of entries of the Dejavu database."""

from __future__ import annotations

import argparse

from bench.index import Measured, of_all_minutes, simulated
from bench.index import measure as measure_searches
from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.setting import Setting

from dejavu_trainer.training.index import CONSTRUCTION_BREADTH

NAME = "entries"
CASE = "search for 50 neighbors"
NEIGHBOURS = 50
SIZES = (3000, 10_000, 30_000)
QUERIES = 200


def contender_of(entries: int) -> str:
    """Return the contender of a number of entries."""
    return f"{entries:,} entries"


def searched(setting: Setting) -> list[Measured]:
    """Build an index of simulated games of each size, and measure searches in rounds."""
    sizes = setting.sizes(SIZES, (300, 1000))
    options = argparse.Namespace(
        sizes=list(sizes),
        neighbours=[NEIGHBOURS],
        recency=6.0,
        breadth=None,
        links=12,  # that of bundles
        construction_breadth=CONSTRUCTION_BREADTH,
        threads=1,
        rounds=setting.rounds + 1,
        every_game=False,
        seed=0,
    )
    games = simulated(QUERIES + max(sizes) // 40, options.seed)
    return measure_searches(list(of_all_minutes(games[QUERIES:], games[:QUERIES], options)), options)


def measure(setting: Setting, run: Run) -> None:
    """Measure searches; the first round warms up."""
    for row in searched(setting):
        for number, (single, batched) in enumerate(zip(row.single_us[1:], row.batched_us[1:], strict=True)):
            figures = {"single_us": single, "batched_us": batched, "recall": row.recall}
            run.add(NAME, CASE, contender_of(row.entries), number, figures)


SECTION = Section(
    name=NAME,
    title="Entries of the Dejavu database",
    text=(
        "CPU of a search in an HNSW index of simulated games, single and in a call of 64; a forecast makes one search."
        " The bundle that ships has at most 3,000 entries a minute. [Cost of the index](../bench/index.md) has real"
        " games, up to 500,000 entries."
    ),
    columns={"single_us": "µs, alone", "batched_us": "µs, in a call of 64"},
    measure=measure,
    base=contender_of(SIZES[0]),
    plot="growth",
)
