"""Dejavu: what happened in the past games that are most similar to a game.

After each minute, past games and their mirror images are divided into groups of about sixteen similar ones. An HNSW
index finds the groups nearest to a game; all their members have an equal part in the forecast: the distribution of
their standardised residuals (see below) around the linear models' forecast and in its scale. So a game counts
for what it did beyond what its teams and its inputs let expect, applied to those at hand. Few neighbours would do harm:
their distribution is rough (docs/decisions/0072-components.md).

For every horizon and minute, a game has a standardised residual: its outcome minus what the linear models, fitted on
other seasons, forecast after that minute with all inputs of the game, over the scale of that forecast. Residuals are
stored in bins (`codes_of`). A game counts twice, as it was and as its mirror image, with home and away
exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats, Integers, Singles, check_array
from dejavu_models.components.component import (
    MAX_GROUPS,
    MAX_NEAREST,
    Advance,
    Component,
    DejavuConfig,
    TrainingGames,
    ignore,
)
from dejavu_models.components.features import FEATURES, References, Rows, references_of, similarity_features
from dejavu_models.components.graph import Graph, build_graph, search
from dejavu_models.types import CASES, HORIZONS, MAX_DIFFERENTIAL, MAX_SLOTS, Horizon, MarginSource, SimilarGame
from dejavu_models.uncertainty.lattice.margin_model import Base, Distributions

BINS: Final = 256
BINS_A_SCALE: Final = 16
"""Number of bins of a histogram per scale."""

LOWEST: Final = -8.0
"""Lower end of the first bin; residuals beyond the outermost bins count as in them."""

BIN_CENTERS: Final[Floats] = LOWEST + (np.arange(BINS) + 0.5) / BINS_A_SCALE

_MOST_POINTS: Final = 1000
_MOST_LETTERS: Final = 10
_FIRST_DAY, _LAST_DAY = np.datetime64("1946-01-01"), np.datetime64("2200-12-31")
"""First and last possible date of a game, as in a manifest."""


@dataclass(frozen=True, slots=True, eq=False)
class PastGames:
    """n games, as columns.

    Attributes:
        home, away: (n,), NBA codes.
        date: (n,), local dates, datetime64[D].
        differentials: (n, 48), home − away at the ends of minutes 1 to 48, int16.
        final: (n,), the final differential, int16; never 0.
        totals: (n, 48), points of both teams, int16; −1 where unknown.
        final_total: (n,), int16; −1 where unknown.
        margins: (n,), expected final differentials before the game, in points, float32.
        codes: (n, cases), bins of the standardised residuals, uint8; any for a horizon that has passed.

    Raises:
        ValueError: if a column is inconsistent or out of bounds.
    """

    home: NDArray[np.str_]
    away: NDArray[np.str_]
    date: NDArray[np.datetime64]
    differentials: NDArray[np.int16]
    final: NDArray[np.int16]
    totals: NDArray[np.int16]
    final_total: NDArray[np.int16]
    margins: Singles
    codes: NDArray[np.uint8]

    def __post_init__(self) -> None:
        minutes, points, leads = (REGULATION_MINUTES,), (-1, _MOST_POINTS), (-MAX_DIFFERENTIAL, MAX_DIFFERENTIAL)
        forms: dict[str, tuple[Any, tuple[int, ...], tuple[float, ...]]] = {
            "home": (np.str_, (), ()),
            "away": (np.str_, (), ()),
            "date": (np.datetime64, (), ()),
            "differentials": (np.int16, minutes, leads),
            "final": (np.int16, (), leads),
            "totals": (np.int16, minutes, points),
            "final_total": (np.int16, (), points),
            "margins": (np.float32, (), leads),
            "codes": (np.uint8, (len(CASES),), ()),
        }
        for name, (kind, shape, bounds) in forms.items():
            check_array(f"past games: {name}", getattr(self, name), kind, (len(self), *shape), *bounds)
        if not len(self):
            raise ValueError("past games: there must be games")
        if not self.final.all():
            raise ValueError("past games: final must not be 0")
        # Not np.char, whose module would be opened: the process that reads a bundle may open no file.
        if not all(
            code.isalnum() and len(code) <= _MOST_LETTERS for code in {*self.home.tolist(), *self.away.tolist()}
        ):
            raise ValueError("past games: teams must be codes of letters and digits")
        in_range = (self.date >= _FIRST_DAY) & (self.date <= _LAST_DAY)  # NaT is not
        if self.date.dtype != np.dtype("datetime64[D]") or not in_range.all():  # other units make no dates
            raise ValueError(f"past games: each must have a date from {_FIRST_DAY} to {_LAST_DAY}")

    def __len__(self) -> int:
        return len(self.final)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def points(self, game: int, minute: int | None) -> tuple[int, int] | None:
        """Return the points of the home and the away team of a game after a minute, None: its end; None if unknown."""
        if minute is None:
            total, lead = int(self.final_total[game]), int(self.final[game])
        else:
            total, lead = int(self.totals[game, minute - 1]), int(self.differentials[game, minute - 1])
        return None if total < 0 else ((total + lead) // 2, (total - lead) // 2)


def codes_of(residuals: Floats) -> NDArray[np.uint8]:
    """Return the bins of standardised residuals, of the same form."""
    return np.clip(np.floor((residuals - LOWEST) * BINS_A_SCALE), 0, BINS - 1).astype(np.uint8)


def shares_below(histograms: Floats, values: Floats) -> Floats:
    """Return the shares of histograms below values: linear within a bin.

    Args:
        histograms: (n, BINS), each row sums to 1.
        values: (n, k), standardised.
    """
    below = np.zeros((len(histograms), BINS + 1))
    np.cumsum(histograms, axis=1, out=below[:, 1:])
    places = np.clip((values - LOWEST) * BINS_A_SCALE, 0, BINS)
    bins = np.minimum(places.astype(np.int64), BINS - 1)
    rows = np.arange(len(histograms))[:, None]
    result: Floats = below[rows, bins] + (places - bins) * (below[rows, bins + 1] - below[rows, bins])
    return result


MAX_FEATURE_WEIGHT: Final = 100.0
MAX_REFERENCE: Final = 1000.0
"""Bound of the numbers that stand for unknown inputs."""


class Dejavu(Component):
    """The database of all minutes; thread-safe.

    Args:
        games: n past games.
        graphs: for each minute 1 to 47, a graph over the centers of the groups, (groups, FEATURES).
        starts: (groups + 1,), the first member of each group, then 2 n; the same for all minutes.
        members: (47, 2 n), images by minute and group: twice the number of a game, plus 1 for its mirror image.
        weights: (48, FEATURES), weights of the features after minutes 0 to 47.
        references: what stands for unknown inputs.
        nearest: number of groups that a forecast is made of.

    Raises:
        ValueError: if the parts do not fit together or a number is out of its bounds.
    """

    name = "dejavu"
    inputs = ("total_points",)

    def __init__(
        self,
        games: PastGames,
        graphs: Sequence[Graph],
        starts: Integers,
        members: NDArray[np.unsignedinteger[Any]],
        weights: Floats,
        references: References,
        nearest: int,
    ) -> None:
        images, groups = 2 * len(games), len(starts) - 1
        if not 1 <= nearest <= min(groups, MAX_NEAREST) or groups > MAX_GROUPS:
            raise ValueError(f"{nearest} of {groups} groups; expected up to {MAX_NEAREST} of up to {MAX_GROUPS}")
        check_array("members", members, np.unsignedinteger, (MAX_SLOTS, images))
        if members.max() >= images or not all((np.bincount(row, minlength=images) == 1).all() for row in members):
            raise ValueError("each minute must have each game and its mirror image once")
        if starts[0] != 0 or starts[-1] != images or not (np.diff(starts) > 0).all():
            raise ValueError("starts must ascend from 0 to the number of images")
        bounds = -MAX_FEATURE_WEIGHT, MAX_FEATURE_WEIGHT
        check_array("weights of features", weights, np.floating, (MAX_SLOTS + 1, FEATURES), *bounds)
        for name, column in references._asdict().items():
            check_array(name, column, np.floating, (MAX_SLOTS + 1,), -MAX_REFERENCE, MAX_REFERENCE)
        if len(graphs) != MAX_SLOTS or any(each.vectors.shape != (groups, FEATURES) for each in graphs):
            raise ValueError(f"centers must be {(groups, FEATURES)} for each minute")
        self.games = games
        self.graphs = graphs
        self.starts = starts
        self.members = members
        self.weights = weights
        self.references = references
        self.groups_a_forecast = nearest
        self.searches = [search(graph, nearest) for graph in graphs]

    @classmethod
    def fit(
        cls, games: TrainingGames, seed: int = 0, settings: DejavuConfig | None = None, advance: Advance = ignore
    ) -> Self:
        """Build the database of games.

        Args:
            games: the games.
            seed: seed of the graphs' levels.
            settings: by default those of a recipe.
            advance: called with 1 after each minute.

        Raises:
            FitError: if a search does not reach every group.
        """
        settings, count = settings or DejavuConfig(), len(games)
        past = PastGames(
            home=games.home,
            away=games.away,
            date=games.date.astype("datetime64[D]"),
            differentials=games.differentials.astype(np.int16),
            final=games.outcomes[:, HORIZONS.index(Horizon.FINAL)].astype(np.int16),
            totals=games.totals,
            final_total=games.final_total.astype(np.int16),
            margins=games.margins.astype(np.float32),
            codes=codes_of(games.residuals[MarginSource.KNOWN, 1]),
        )
        references, weights = references_of(games.levels, games.margins, games.live), settings.weights
        groups = min(settings.groups, count)
        starts = np.zeros(groups + 1, dtype=np.int64)
        members = np.empty((MAX_SLOTS, 2 * count), dtype=np.uint16 if 2 * count <= 2**16 else np.uint32)
        graphs = list[Graph]()
        for minute in range(1, MAX_SLOTS + 1):
            rows = games.rows(minute)._replace(margins=past.margins.astype(np.float64))
            vectors = image_vectors(rows, references, weights)
            parts = grouped(vectors, groups)
            order, starts[1:] = np.concatenate(parts), np.cumsum([len(part) for part in parts])  # the same each time
            # The images of games come first in `vectors`, their mirror images after them.
            members[minute - 1] = 2 * (order % count) + order // count
            sums = np.add.reduceat(vectors[order], starts[:-1], axis=0)
            graphs.append(build_graph((sums / np.diff(starts)[:, None]).astype(np.float32), seed))
            advance(1)
        return cls(past, graphs, starts, members, weights, references, min(settings.nearest, groups))

    def distribution(self, rows: Rows, base: Base) -> Distributions:
        """Return the histogram of the residuals of similar games around the centers, in units."""

        def nearest() -> Integers:
            return self.nearest(rows if rows.played is None else rows.played.rows(rows.minute))

        groups = nearest() if rows.played is None else rows.played.once(self, rows.minute, nearest)[rows.places]
        histograms = self.histograms(HORIZONS.index(base.horizon), rows.minute, groups)
        below = shares_below(histograms, base.distances / base.units[:, None])
        return Distributions(base.centers + base.units * (histograms @ BIN_CENTERS), below)

    @property
    def images_a_forecast(self) -> int:
        """Typical number of games, and mirror images of games, that a forecast is made of."""
        return round(self.groups_a_forecast * 2 * len(self.games) / (len(self.starts) - 1))

    def vectors(self, rows: Rows) -> Singles:
        """Return the vectors of n games after a minute, (n, FEATURES)."""
        vectors: Singles = (similarity_features(rows, self.references) * self.weights[rows.minute]).astype(np.float32)
        return vectors

    def nearest(self, rows: Rows) -> Integers:
        """Return the groups nearest to n games after a minute, (n, nearest), the nearest first."""
        found: Integers = self.searches[rows.minute - 1].nearest(self.vectors(rows), self.groups_a_forecast)[0]
        return found

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
        codes = self.games.codes[members // 2, CASES.index((horizon, minute))].astype(np.int64)
        codes = np.where(members % 2 == 1, BINS - 1 - codes, codes)
        groups = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        counts = np.bincount(groups * BINS + codes, minlength=(len(self.starts) - 1) * BINS)
        return counts.reshape(-1, BINS).astype(np.float32)

    def course(self, game: SimilarGame, horizon: Horizon) -> tuple[int, ...]:
        """Return the differentials of a similar game at the end of each minute before a horizon; empty if unknown."""
        number = self._by_name.get((game.date, game.home_team, game.away_team))
        if number is None:
            return ()
        course = self.games.differentials[number, : horizon.last_slot].astype(np.int64)
        return tuple((-course if game.mirrored else course).tolist())

    @cached_property
    def newest(self) -> date:
        """Date of the newest past game."""
        newest: date = self.games.date.max().item()
        return newest

    @cached_property
    def _by_name(self) -> dict[tuple[Any, str, str], int]:
        names = zip(self.games.date.tolist(), self.games.home.tolist(), self.games.away.tolist(), strict=True)
        return {name: number for number, name in enumerate(names)}

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of a bundle."""
        return {
            **self.games.columns(),
            "centers": np.stack([each.vectors for each in self.graphs]),
            "starts": self.starts.astype(np.int32),
            "members": self.members,
            "weights": self.weights,
            **self.references._asdict(),
            "nearest": np.array(self.groups_a_forecast, dtype=np.int32),
            **{f"graph_{name}": np.concatenate([getattr(each, name) for each in self.graphs]) for name in _GRAPH},
        }

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return the database that `save` returned these arrays of.

        Raises:
            ValueError, KeyError: if they are invalid; the message names the array.
        """
        games = PastGames(**{name: arrays[name] for name in PastGames.__dataclass_fields__})
        references = References(arrays["margin_slopes"], arrays["mean_totals"])
        starts, nearest = arrays["starts"].astype(np.int64), arrays["nearest"]
        if starts.ndim != 1 or len(starts) < 2 or nearest.shape != ():
            raise ValueError("starts and nearest do not have the right shapes")
        return cls(games, _graphs(arrays), starts, arrays["members"], arrays["weights"], references, int(nearest))


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
    result: Floats = np.concatenate([features, mirrored]) * weights[rows.minute]
    return result


def grouped(vectors: Floats, groups: int) -> list[Integers]:
    """Return the numbers of the vectors of each group of similar ones.

    The vectors are halved, again and again, along the dimension in which they differ most (a k-d tree: Friedman,
    Bentley & Finkel 1977), so groups have the same size, up to one.

    Args:
        vectors: (n, dimensions).
        groups: number of groups, 1 to n.
    """
    if groups == 1:
        return [np.arange(len(vectors))]
    widest = int(vectors.std(axis=0).argmax())
    half = len(vectors) * (groups // 2) // groups
    order = np.argsort(vectors[:, widest], kind="stable")
    parts = (order[:half], groups // 2), (order[half:], groups - groups // 2)
    return [part[each] for part, count in parts for each in grouped(vectors[part], count)]


_GRAPH: Final = ("entry", "levels", "counts", "links")


def _graphs(columns: Mapping[str, NDArray[Any]]) -> list[Graph]:
    """Return the graphs of all minutes.

    Raises:
        ValueError: if an array has the wrong size, or a search in a graph would not reach every vector.
    """
    centers, (entry, levels, counts, links) = columns["centers"], (columns[f"graph_{name}"] for name in _GRAPH)
    if centers.ndim != 3 or len(centers) != MAX_SLOTS or centers.dtype != np.float32:
        raise ValueError(f"centers are {centers.dtype} of shape {centers.shape}")
    groups = centers.shape[1]
    if entry.shape != (MAX_SLOTS,) or levels.shape != (MAX_SLOTS * groups,) or levels.dtype != np.uint8:
        raise ValueError("each minute must have an entry, and each group a level")
    by_minute = levels.reshape(MAX_SLOTS, groups)
    counts_of = np.split(counts, np.cumsum(groups + by_minute.sum(axis=1, dtype=np.int64))[:-1])
    links_of = np.split(links, np.cumsum([each.sum(dtype=np.int64) for each in counts_of])[:-1])
    parts = zip(centers, entry[:, None], by_minute, counts_of, links_of, strict=True)
    graphs = [Graph(*each) for each in parts]
    for minute, graph in enumerate(graphs, start=1):
        if not graph.is_connected():  # a search may find fewer vectors than requested, for some queries only
            raise ValueError(f"the graph of minute {minute} has parts that a search does not reach")
    return graphs
