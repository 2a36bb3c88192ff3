"""Calibration of a bundle on whole numbers: the tables of every kind of request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.types import MarginSource
from dejavu_models.uncertainty.lattice.margin_model import TABLES, MarginModel
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS

SMALLEST_ALPHA: Final = 2 * float(SHAPE_LEVELS[0])
"""Smallest miscoverage rate of an interval: beyond, tails are extrapolated."""


@dataclass(frozen=True)
class LatticeCalibration:
    """Tables by the source of the expected margin, and by whether live inputs are used.

    Raises:
        ValueError: if a source has no tables for requests without live inputs.
    """

    models: Mapping[tuple[MarginSource, bool], MarginModel]

    def __post_init__(self) -> None:
        if missing := [source.name for source in MarginSource if (source, False) not in self.models]:
            raise ValueError(f"there are no tables for margins that are {', '.join(missing)}")
        for (source, live), model in self.models.items():
            if model.live is not live:
                raise ValueError(
                    f"the tables of {source.name} are not those {'with' if live else 'without'} live inputs"
                )

    def model(self, source: MarginSource, *, live: bool) -> MarginModel:
        """Returns the tables of a kind of request; without live inputs if the bundle has none with them."""
        return self.models.get((source, live)) or self.models[source, False]

    @property
    def games(self) -> int:
        """The least number of games behind any table."""
        return min(model.games for model in self.models.values())

    def to_bytes(self) -> bytes:
        """Serializes to a .npz file; equal calibrations give equal bytes. Tables are stored as float32."""
        kinds = sorted((int(source), live) for source, live in self.models)
        columns: dict[str, np.ndarray] = {
            "lattice": np.array(kinds, dtype=np.int16),
            "games": np.array(
                [self.models[MarginSource(source), live].games for source, live in kinds], dtype=np.int32
            ),
        }
        for name in TABLES:
            tables = [getattr(self.models[MarginSource(source), live], name) for source, live in kinds]
            columns[name] = np.stack(tables).astype(np.float32)
        return to_npz(**columns)

    @classmethod
    def from_bytes(cls, content: bytes) -> LatticeCalibration:
        """Deserializes the output of `to_bytes`.

        Raises:
            ValueError, KeyError, OSError, zipfile.BadZipFile: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        kinds, games = columns["lattice"].tolist(), columns["games"].tolist()
        models = {
            (MarginSource(source), bool(live)): MarginModel(
                live=bool(live),
                games=games[row],
                **{name: columns[name][row].astype(np.float64) for name in TABLES},
            )
            for row, (source, live) in enumerate(kinds)
        }
        return cls(models)

    def rounded(self) -> LatticeCalibration:
        """Returns the calibration after a write/read round trip: results from both are bit-identical."""
        return LatticeCalibration.from_bytes(self.to_bytes())
