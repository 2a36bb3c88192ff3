"""Builds the database of Dejavu: past games, and for every minute the groups of similar ones with their index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from pydantic import ConfigDict, Field

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.components.dejavu import MAX_GROUPS, MAX_NEAREST, Dejavu, image_vectors
from dejavu_models.components.features import PATH, References, Rows
from dejavu_models.components.graph import Graph
from dejavu_models.components.past_games import PastGames
from dejavu_models.types import MAX_SLOTS
from dejavu_models.uncertainty.lattice.opinions import codes_of
from dejavu_trainer.execution import Advance
from dejavu_trainer.training.index import build_graph
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.served_tables import live_rows

_SCAN_LIMIT: Final = 1000
"""Maximum number of groups that are compared one by one; a graph is faster only beyond it."""


@dataclass(frozen=True, slots=True)
class DejavuConfig:
    """Settings of the database, selected on the seasons 2018 and 2019.

    Attributes:
        groups: number of groups of a minute, at most the number of games.
        nearest: number of groups that a forecast is made of.
        lead, path, margin, total: weights of the features in the distance: the lead, its changes, the expected margin,
            the points of both teams.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    groups: Annotated[int, Field(ge=1, le=MAX_GROUPS)] = 1500
    nearest: Annotated[int, Field(ge=1, le=MAX_NEAREST)] = 200
    lead: Annotated[float, Field(ge=0, le=100)] = 1.0
    path: Annotated[float, Field(ge=0, le=100)] = 0.5
    margin: Annotated[float, Field(ge=0, le=100)] = 1.0
    total: Annotated[float, Field(ge=0, le=100)] = 0.1

    @property
    def weights(self) -> Floats:
        """(48, FEATURES), weights of the features by minute."""
        return np.tile([self.lead, *[self.path] * len(PATH), self.margin, self.total], (MAX_SLOTS + 1, 1))


def references_of(rated: RatedGames) -> References:
    """Return what stands for unknown inputs: the margin by the lead, by least squares, and the mean total."""
    levels, live = rated.games.levels, live_rows(rated.games)
    slopes, totals = np.zeros(MAX_SLOTS + 1), np.zeros(MAX_SLOTS + 1)
    slopes[1:] = (levels * rated.margins[:, None]).sum(axis=0) / np.maximum(np.square(levels).sum(axis=0), 1.0)
    known = np.isfinite(live[:, :, 0])
    totals[1:] = np.nan_to_num(live[:, :, 0]).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return References(slopes, totals)


def fit_dejavu(
    rated: RatedGames, residuals: Floats, references: References, config: DejavuConfig, seed: int, advance: Advance
) -> Dejavu:
    """Build the database of games.

    Args:
        rated: n games, with margins from carried ratings.
        residuals: (n, cases), standardised residuals of models that have not seen the game's season.
        references: what stands for unknown inputs.
        config: the settings.
        seed: seed of the graphs' levels.
        advance: called with 1 after each minute.
    """
    games = rated.games
    past = PastGames(
        home=games.home,
        away=games.away,
        date=games.date.astype("datetime64[D]"),
        differentials=games.differentials.astype(np.int16),
        final=games.final.astype(np.int16),
        totals=games.totals,
        final_total=games.final_total.astype(np.int16),
        margins=rated.margins.astype(np.float32),
        codes=codes_of(residuals),
    )
    groups, live = min(config.groups, len(games)), live_rows(games)
    starts = group_starts(2 * len(games), groups)
    number = np.uint16 if 2 * len(games) <= 2**16 else np.uint32
    members = np.empty((MAX_SLOTS, 2 * len(games)), dtype=number)
    graphs = list[Graph | Singles]()
    for minute in range(1, MAX_SLOTS + 1):
        rows = Rows(games.levels[:, :minute], past.margins.astype(np.float64), live[:, minute - 1])
        vectors = image_vectors(rows, references, config.weights)
        order = grouped(vectors, groups)
        # The images of games come first in `vectors`, their mirror images after them.
        members[minute - 1] = 2 * (order % len(games)) + order // len(games)
        sums = np.add.reduceat(vectors[order], starts[:-1], axis=0)
        centers = (sums / np.diff(starts)[:, None]).astype(np.float32)
        graphs.append(centers if groups <= _SCAN_LIMIT else build_graph(centers, seed))
        advance(1)
    nearest = min(config.nearest, groups)
    return Dejavu(past, graphs, starts, members, config.weights, references, nearest)


def group_starts(count: int, groups: int) -> Integers:
    """Return the first place of each group, and the end, if places are halved as by `grouped`: (groups + 1,)."""

    def sizes(count: int, groups: int) -> list[int]:
        if groups == 1:
            return [count]
        half = count * (groups // 2) // groups
        return sizes(half, groups // 2) + sizes(count - half, groups - groups // 2)

    return np.concatenate([[0], np.cumsum(sizes(count, groups))])


def grouped(vectors: Floats, groups: int) -> Integers:
    """Return the numbers of vectors, (n,), so that those of a group of similar ones follow each other.

    The vectors are halved, again and again, along the dimension in which they differ most (a k-d tree: Friedman,
    Bentley & Finkel 1977), so groups have the same size, up to one.

    Args:
        vectors: (n, dimensions).
        groups: number of groups, 1 to n.
    """
    if groups == 1:
        return np.arange(len(vectors))
    widest = int(vectors.std(axis=0).argmax())
    half = len(vectors) * (groups // 2) // groups
    order = np.argsort(vectors[:, widest], kind="stable")
    parts = (order[:half], groups // 2), (order[half:], groups - groups // 2)
    return np.concatenate([part[grouped(vectors[part], count)] for part, count in parts])
