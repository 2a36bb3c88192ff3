"""Dejavu: what happened in the past games that are most similar to a game.

After each minute, past games and their mirror images are divided into groups of about sixteen similar ones. An HNSW
index finds the groups nearest to a game; all their members have an equal part in the forecast: the distribution of
their standardised residuals (see `past_games`) around the linear models' forecast and in its scale. So a game counts
for what it did beyond what its teams and its inputs let expect, applied to those at hand. Few neighbours would do harm:
their distribution is rough (docs/decisions/0072-components.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers, Singles, from_npz, to_npz
from dejavu_models.components.features import FEATURES, References, Rows, similarity_features
from dejavu_models.components.graph import MAX_COORDINATE, Graph
from dejavu_models.components.index import VectorIndex
from dejavu_models.components.past_games import PastGames, course_of
from dejavu_models.types import (
    MAX_SLOTS,
    Horizon,
    SimilarGame,
)
from dejavu_models.uncertainty.lattice.opinions import BINS

MAX_GROUPS: Final = 20_000
MAX_NEAREST: Final = 400
"""Maximum number of groups of a forecast; recipes have 200. The time of a search grows faster than this number."""

MAX_FEATURE_WEIGHT: Final = 100.0
MAX_REFERENCE: Final = 1000.0
"""Bound of the numbers that stand for unknown inputs."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of the games of one minute.

    Attributes:
        index: search among the centers of the groups.
        members: (2 games,), images by group: twice the number of a game, plus 1 for its mirror image.
    """

    index: VectorIndex
    members: NDArray[np.unsignedinteger[Any]]


class Dejavu:
    """The database of all minutes; thread-safe.

    Args:
        games: n past games.
        graphs: for each minute 1 to 47, a graph over the centers of the groups; or the centers alone, (groups,
            FEATURES), where they are few.
        starts: (groups + 1,), the first member of each group, then 2 n; the same for all minutes.
        members: (47, 2 n), see `Groups`.
        weights: (48, FEATURES), weights of the features after minutes 0 to 47.
        references: what stands for unknown inputs.
        nearest: number of groups that a forecast is made of.

    Raises:
        ValueError: if the parts do not fit together or a number is out of its bounds.
    """

    def __init__(
        self,
        games: PastGames,
        graphs: Sequence[Graph | Singles],
        starts: Integers,
        members: NDArray[np.unsignedinteger[Any]],
        weights: Floats,
        references: References,
        nearest: int,
    ) -> None:
        images, groups = 2 * len(games), len(starts) - 1
        if not 1 <= nearest <= min(groups, MAX_NEAREST) or groups > MAX_GROUPS:
            raise ValueError(f"{nearest} of {groups} groups; expected up to {MAX_NEAREST} of up to {MAX_GROUPS}")
        if members.shape != (MAX_SLOTS, images) or members.dtype.kind != "u":
            raise ValueError(f"members are {members.dtype} of shape {members.shape}; expected {(MAX_SLOTS, images)}")
        if members.max() >= images or not all((np.bincount(row, minlength=images) == 1).all() for row in members):
            raise ValueError("each minute must have each game and its mirror image once")
        if starts[0] != 0 or starts[-1] != images or not (np.diff(starts) > 0).all():
            raise ValueError("starts must ascend from 0 to the number of images")
        if weights.shape != (MAX_SLOTS + 1, FEATURES) or not (np.abs(weights) <= MAX_FEATURE_WEIGHT).all():
            raise ValueError(f"weights of features must be within ±{MAX_FEATURE_WEIGHT:g}")
        for name, column in references._asdict().items():
            if column.shape != (MAX_SLOTS + 1,) or not (np.abs(column) <= MAX_REFERENCE).all():
                raise ValueError(f"{name} must be (48,) within ±{MAX_REFERENCE:g}")
        if len(graphs) != MAX_SLOTS or any(_vectors(each).shape != (groups, FEATURES) for each in graphs):
            raise ValueError(f"centers must be {(groups, FEATURES)} for each minute")
        if not all((np.abs(_vectors(each)) <= MAX_COORDINATE).all() for each in graphs):  # NaN fails too
            raise ValueError(f"centers must be within ±{MAX_COORDINATE:g}")
        self.games = games
        self.graphs = graphs
        self.starts = starts
        self.members = members
        self.weights = weights
        self.references = references
        self.groups_a_forecast = nearest
        self.minutes: Mapping[int, Groups] = {
            minute: Groups(VectorIndex(graph, nearest), members[minute - 1])
            for minute, graph in enumerate(graphs, start=1)
        }

    @property
    def images_a_forecast(self) -> int:
        """Typical number of games, and mirror images of games, that a forecast is made of."""
        return round(self.groups_a_forecast * 2 * len(self.games) / (len(self.starts) - 1))

    def vectors(self, rows: Rows) -> Singles:
        """Return the vectors of n games after a minute, (n, FEATURES)."""
        minute = rows.patterns.shape[1]
        return (similarity_features(rows, self.references) * self.weights[minute]).astype(np.float32)

    def nearest(self, rows: Rows) -> Integers:
        """Return the groups nearest to n games after a minute, (n, nearest), the nearest first."""
        return self.minutes[rows.patterns.shape[1]].index.nearest(self.vectors(rows))[0]

    def histograms(self, horizon: int, minute: int, groups: Integers) -> Floats:
        """Return the shares of the residuals of the members of groups by bin.

        Args:
            horizon: index of the horizon.
            minute: number of minutes played.
            groups: (n, nearest).

        Returns:
            (n, BINS), each row sums to 1.
        """
        chosen = np.zeros((len(groups), len(self.starts) - 1), dtype=np.float32)
        chosen[np.arange(len(groups))[:, None], groups] = 1.0
        counts = (chosen @ self._counts(horizon, minute)).astype(np.float64)  # whole numbers, so exact
        result: Floats = counts / counts.sum(axis=1, keepdims=True)
        return result

    def _counts(self, horizon: int, minute: int) -> Singles:
        """Return the numbers of members of each group by bin, (groups, BINS)."""
        members = self.members[minute - 1].astype(np.int64)
        codes = self.games.codes_at(horizon, minute)[members // 2].astype(np.int64)
        codes = np.where(members % 2 == 1, BINS - 1 - codes, codes)
        groups = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        counts = np.bincount(groups * BINS + codes, minlength=(len(self.starts) - 1) * BINS)
        return counts.reshape(-1, BINS).astype(np.float32)

    def members_of(self, minute: int, groups: Integers) -> Integers:
        """Return the images in groups, (k,), group by group."""
        parts = [self.members[minute - 1, self.starts[each] : self.starts[each + 1]] for each in groups.tolist()]
        return np.concatenate(parts).astype(np.int64)

    def course(self, game: SimilarGame, horizon: Horizon) -> tuple[int, ...]:
        """Return the differentials of a similar game at the end of each minute before a horizon; empty if unknown."""
        number = self._by_name.get((game.date, game.home_team, game.away_team))
        return () if number is None else course_of(self.games, number, horizon, mirrored=game.mirrored)

    @cached_property
    def _by_name(self) -> dict[tuple[Any, str, str], int]:
        names = zip(self.games.date.tolist(), self.games.home.tolist(), self.games.away.tolist(), strict=True)
        return {name: number for number, name in enumerate(names)}

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal databases give equal bytes."""
        graphs = [each if isinstance(each, Graph) else None for each in self.graphs]
        return to_npz(
            **self.games.columns(),
            centers=np.stack([_vectors(each) for each in self.graphs]),
            starts=self.starts.astype(np.int32),
            members=self.members,
            weights=self.weights,
            **self.references._asdict(),
            nearest=np.array(self.groups_a_forecast, dtype=np.int32),
            **{f"graph_{name}": _joined(graphs, name, len(self.starts) - 1) for name in _GRAPH},
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Dejavu:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        games = PastGames(**{name: columns[name] for name in PastGames.__dataclass_fields__})
        references = References(columns["margin_slopes"], columns["mean_totals"])
        starts, nearest = columns["starts"].astype(np.int64), columns["nearest"]
        if starts.ndim != 1 or len(starts) < 2 or nearest.shape != ():
            raise ValueError("starts and nearest do not have the right shapes")
        return cls(games, _graphs(columns), starts, columns["members"], columns["weights"], references, int(nearest))


def image_vectors(rows: Rows, references: References, weights: Floats) -> Floats:
    """Return the vectors of n games after a minute and then those of their mirror images, (2 n, FEATURES).

    Args:
        rows: the games.
        references: what stands for unknown inputs.
        weights: (48, FEATURES), weights of the features by minute.
    """
    features = similarity_features(rows, references)
    mirrored = -features
    mirrored[:, -1] = features[:, -1]  # both teams' points together have no side
    result: Floats = np.concatenate([features, mirrored]) * weights[rows.patterns.shape[1]]
    return result


_GRAPH: Final = ("entry", "levels", "counts", "links")


def _vectors(graph: Graph | Singles) -> Singles:
    return graph.vectors if isinstance(graph, Graph) else graph


def _joined(graphs: Sequence[Graph | None], name: str, groups: int) -> NDArray[Any]:
    """Return an array of the graphs of all minutes, one after the other; a minute without a graph has no links."""
    empty = {
        "entry": np.zeros(1, np.uint16),
        "levels": np.zeros(groups, np.uint8),
        "counts": np.zeros(groups, np.uint16),
    }
    none = empty.get(name, np.zeros(0, np.uint16))
    return np.concatenate([none if graph is None else getattr(graph, name) for graph in graphs])


def _graphs(columns: Mapping[str, NDArray[Any]]) -> list[Graph | Singles]:
    """Return the graphs of all minutes, or their centers where there is no graph.

    Raises:
        ValueError: if an array has the wrong size, or a search in a graph would not reach every vector.
    """
    centers, (entry, levels, counts, links) = columns["centers"], (columns[f"graph_{name}"] for name in _GRAPH)
    if centers.ndim != 3 or len(centers) != MAX_SLOTS or centers.dtype != np.float32:
        raise ValueError(f"centers are {centers.dtype} of shape {centers.shape}")
    groups = centers.shape[1]
    if entry.shape != (MAX_SLOTS,) or levels.shape != (MAX_SLOTS * groups,) or levels.dtype != np.uint8:
        raise ValueError("each minute must have an entry, and each group a level")
    by_minute, result, count, link = levels.reshape(MAX_SLOTS, groups), list[Graph | Singles](), 0, 0
    for minute, vectors in enumerate(centers):
        of_minute = counts[count : count + groups + int(by_minute[minute].sum(dtype=np.int64))]
        count += len(of_minute)
        end = link + int(of_minute.sum(dtype=np.int64))
        if end == link:
            result.append(vectors)
            continue
        graph = Graph(vectors, entry[minute : minute + 1], by_minute[minute], of_minute, links[link:end])
        if not graph.is_connected():  # a search may find fewer vectors than requested, for some queries only
            raise ValueError(f"the graph of minute {minute + 1} has parts that a search does not reach")
        result.append(graph)
        link = end
    if (count, link) != (len(counts), len(links)):
        raise ValueError("there are more counts or links than the graphs need")
    return result
