"""Total points in a bundle: the tables by the source of the expected total, and the ratings behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Final

import numpy as np

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.schedule import TotalTerms
from dejavu_models.team_filter import LEVEL, RatingSettings
from dejavu_models.totals.filter import TotalFilter
from dejavu_models.totals.game import TotalTables
from dejavu_models.totals.model import TABLES, TotalModel
from dejavu_models.types import WITHOUT_LINE, Horizon, MarginSource

_STATE_SIZE: Final = LEVEL + len(TotalTerms._fields)


@dataclass(frozen=True)
class Totals:
    """Tables and ratings of total points.

    Attributes:
        models: tables by the source of the expected total, which has the same sources as an expected margin.
        ratings: state of the filter of totals, with at least one game, for the season that the bundle serves.

    Raises:
        ValueError: if a source has no tables, or the ratings include no game.
    """

    models: Mapping[MarginSource, TotalModel]
    ratings: TotalFilter
    _tables: dict[int, TotalTables] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if missing := [source.name for source in WITHOUT_LINE if source not in self.models]:
            raise ValueError(f"there are no tables for totals that are {', '.join(missing)}")
        if self.ratings.date is None or self.ratings.season is None:
            raise ValueError("ratings of totals include no game")

    def tables(self, source: MarginSource, horizon: Horizon, minute: int) -> TotalTables:
        """Return the tables of one source, horizon and minute; those of ratings if there are none for the line."""
        if source is MarginSource.LINE and source not in self.models:
            source = MarginSource.KNOWN
        # A number, because hashing enums costs more than a forecast's arithmetic.
        key = minute + 64 * ((horizon is Horizon.FINAL) + 2 * source)
        tables = self._tables.get(key)
        if tables is None:
            tables = self._tables[key] = TotalTables(self.models[source], horizon, minute)
        return tables

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal totals give equal bytes. Tables are stored as float32."""
        state, sources = self.ratings, sorted(self.models)
        if state.date is None or state.season is None:
            raise ValueError("ratings of totals include no game")
        tables = {
            name: np.stack([getattr(self.models[source], name) for source in sources]).astype(np.float32)
            for name in TABLES
        }
        return to_npz(
            sources=np.array([int(source) for source in sources], dtype=np.int16),
            games=np.array([self.models[source].games for source in sources], dtype=np.int32),
            **tables,
            mean=state.mean,
            covariance=state.covariance,
            settings=np.array(list(asdict(state.settings).values())),
            season=np.array(state.season, dtype=np.int16),
            date=state.date.astype("datetime64[D]").astype(np.int64),
            awaits_season=np.array(state.awaits_season),
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Totals:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        if columns["sources"].size > len(MarginSource):  # more rows would only take time and memory
            raise ValueError(f"sources must have at most {len(MarginSource)} rows")
        models = {
            MarginSource(source): TotalModel(
                games=games, **{name: columns[name][row].astype(np.float64) for name in TABLES}
            )
            for row, (source, games) in enumerate(
                zip(columns["sources"].tolist(), columns["games"].tolist(), strict=True)
            )
        }
        mean, covariance = columns["mean"], columns["covariance"]
        if mean.shape != (_STATE_SIZE,) or covariance.shape != (_STATE_SIZE, _STATE_SIZE):
            raise ValueError(f"it holds ratings of shape {mean.shape}; expected {_STATE_SIZE} values")
        settings = dict(zip((each.name for each in fields(RatingSettings)), columns["settings"].tolist(), strict=True))
        ratings = TotalFilter(
            RatingSettings(**settings),
            mean,
            covariance,
            int(columns["season"]),
            np.datetime64(int(columns["date"]), "D"),
            bool(columns["awaits_season"]),
        )
        return cls(models, ratings)

    def rounded(self) -> Totals:
        """Return the totals after a write/read round trip: results from both are bit-identical."""
        return Totals.from_bytes(self.to_bytes())
