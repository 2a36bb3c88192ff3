"""Fits Dejavu: chooses how the database is asked, and builds it.

What is chosen (recency, K, kernel) is chosen on the training games alone: the earlier of them make a trial database,
of the same kind as the one that ships, and the later ones ask it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dejavu_models import features
from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.dejavu import Dejavu, DejavuSettings, Entries, Kernel, build_index, kernel_regression
from dejavu_trainer.condense import ROUNDS, cluster, group_means
from dejavu_trainer.games import Games
from dejavu_trainer.split import SplitError

RECENCIES = (3.0, 6.0, 12.0, 24.0)
NEIGHBOURS = (25, 50, 100, 200, 400)
KERNELS = tuple(Kernel)

SELECTION_STEPS = len(RECENCIES) * (ROUNDS + 1)
"""Steps that `choose_settings` reports."""


@dataclass(frozen=True)
class PastGames:
    """What a database is made of: games, with their patterns (n, minutes) and increments (n,), in points."""

    games: Games
    patterns: Floats
    increments: Floats

    def select(self, mask: NDArray[np.bool_]) -> PastGames:
        """Those that a mask (n,) picks."""
        return PastGames(self.games.select(mask), self.patterns[mask], self.increments[mask])


@dataclass(frozen=True)
class Choice:
    """The settings chosen, and the mean squared error (points²) that they had on the later training games."""

    settings: DejavuSettings
    mse: float


def choose_settings(
    past: PastGames, later: PastGames, prototypes: int | None, seed: int, advance: Callable[[int], object]
) -> Choice:
    """The settings with which a database of `past` forecasts `later` with the least mean squared error.

    Squared, because a kernel regression estimates a mean; the first of the candidates wins a tie.

    Args:
        past: the earlier games of the training part.
        later: its later games.
        prototypes: how many to condense `past` into; None for an entry a game.
        seed: of the database.
        advance: called as SELECTION_STEPS steps are done.

    Raises:
        SplitError: if the database would have fewer entries than the least number of neighbours.
    """
    entries = len(past.games) if prototypes is None else prototypes
    if entries < min(NEIGHBOURS):
        raise SplitError(f"a database of {entries} entries is too small: at least {min(NEIGHBOURS)} are asked")
    choices = list[Choice]()
    for recency in RECENCIES:
        widest = DejavuSettings(recency, min(max(NEIGHBOURS), entries), Kernel.UNIFORM)
        trial = build(past, widest, prototypes, seed, advance)
        found = trial.look_up(later.patterns)
        for neighbours, kernel in itertools.product(NEIGHBOURS, KERNELS):
            if neighbours <= widest.neighbours:
                nearest, distances = found.entries[:, :neighbours], found.distances[:, :neighbours]
                forecasts = kernel_regression(trial.entries, nearest, distances, kernel)
                mse = float(np.square(forecasts - later.increments).mean())
                choices.append(Choice(DejavuSettings(recency, neighbours, kernel), mse))
        advance(1)
    return min(choices, key=lambda choice: choice.mse)


def build(
    past: PastGames, settings: DejavuSettings, prototypes: int | None, seed: int, advance: Callable[[int], object]
) -> Dejavu:
    """Builds the database, each game an entry or condensed into prototypes.

    Args:
        past: the games.
        settings: how it shall be asked.
        prototypes: how many; None for an entry a game.
        seed: of prototypes and index.
        advance: called as ROUNDS steps are done.
    """
    vectors = features.course_vectors(past.patterns, settings.recency)
    if prototypes is None:
        groups = np.arange(len(vectors))
        advance(ROUNDS)
    else:
        groups = cluster(vectors, prototypes, seed, advance)
    means = group_means(vectors.astype(np.float64), groups)
    return Dejavu(build_index(means.astype(np.float32), seed), _entries_of(past, groups, vectors, means), settings)


def _entries_of(past: PastGames, groups: Integers, vectors: Singles, means: Floats) -> Entries:
    """One entry a group: what followed on average, and the game nearest to the group's mean to name it by."""
    increment = group_means(past.increments, groups)
    spread = np.sqrt(group_means(np.square(past.increments - increment[groups]), groups))
    distances = np.square(vectors - means[groups]).sum(axis=1)
    # Sorted by group, then distance: the first of each group is its nearest. Ties go to the earlier game.
    order = np.lexsort((distances, groups))
    nearest = order[np.searchsorted(groups[order], np.arange(len(means)))]
    games = past.games
    return Entries(
        home=games.home[nearest],
        away=games.away[nearest],
        date=games.date[nearest],
        games=np.bincount(groups).astype(np.int32),
        increment=increment,
        spread=spread,
    )
