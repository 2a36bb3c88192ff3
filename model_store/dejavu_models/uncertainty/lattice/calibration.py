"""Calibration of a bundle: the tables for each kind of request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from dejavu_feed.live_inputs import LIVE_INPUTS
from dejavu_models.arrays import from_npz, stacked, to_npz, unstacked
from dejavu_models.types import WITHOUT_LINE, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.game import LatticeGame, margin_tables
from dejavu_models.uncertainty.lattice.inputs import BEST_FIRST, COLUMNS, LiveColumns, LiveKind, is_used
from dejavu_models.uncertainty.lattice.margin_model import TABLES, Base, MarginModel
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS

SMALLEST_ALPHA: Final = 2 * float(SHAPE_LEVELS[0])
"""Smallest miscoverage rate of an interval; for smaller ones the tails would have to be extrapolated."""


class Situation(NamedTuple):
    """Inputs of the distribution of a game other than its score.

    Attributes:
        minute: minute at which the pattern ends.
        margin_source: source of the expected margin.
    """

    horizon: Horizon
    minute: int
    margin_source: MarginSource


@dataclass(frozen=True)
class LatticeCalibration:
    """Tables by the source of the expected margin, and by the kind of live inputs.

    Raises:
        ValueError: if a source has no tables for requests without live inputs.
    """

    models: Mapping[tuple[MarginSource, LiveKind], MarginModel]
    _tables: dict[int, tuple[int, Any]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _kinds: dict[MarginSource, tuple[LiveKind, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        if missing := [source.name for source in WITHOUT_LINE if (source, LiveKind.NONE) not in self.models]:
            raise ValueError(f"there are no tables for margins that are {', '.join(missing)}")
        for (source, kind), model in self.models.items():
            if model.kind is not kind:
                raise ValueError(f"the tables of {source.name} for {kind.name} were fitted for {model.kind.name}")
        for source in MarginSource:
            of_source = self._with_tables(source)
            self._kinds[source] = tuple(kind for kind in BEST_FIRST if (of_source, kind) in self.models)

    def model(self, source: MarginSource, kind: LiveKind = LiveKind.NONE) -> MarginModel:
        """Return the tables of a kind of request; those of ratings if there are none for the line.

        Raises:
            KeyError: if there are none of this kind.
        """
        return self.models[self._with_tables(source), kind]

    def kinds(self, source: MarginSource) -> tuple[LiveKind, ...]:
        """Return the kinds of live inputs for which there are tables, the best first."""
        return self._kinds[source]

    def _with_tables(self, source: MarginSource) -> MarginSource:
        return MarginSource.KNOWN if source is MarginSource.LINE and not self.has_line else source

    @property
    def has_line(self) -> bool:
        """Whether there are tables for the line of a market."""
        return (MarginSource.LINE, LiveKind.NONE) in self.models

    def live(self, situation: Situation, numbers: Mapping[str, float]) -> LiveColumns | None:
        """Return the live inputs that the forecast of a game uses, (1,) each; None if it uses none.

        Args:
            situation: the situation.
            numbers: the live inputs by their names in `dejavu_feed.live_inputs.COLUMNS`; NaN for unknown ones.
        """
        for kind in self._kinds[situation.margin_source]:
            if not is_used(kind, situation.minute):
                continue
            values = [numbers[name] for name in COLUMNS[kind]]
            if all(map(math.isfinite, values)):
                return LiveColumns.of(kind, np.array(values)[:, None])
        return None

    def game(
        self,
        situation: Situation,
        center: float,
        lead: float,
        margin: float | None = None,
        live: LiveColumns | None = None,
        opinion: Any = None,
        others: Any = None,
    ) -> LatticeGame:
        """Return the distribution of one game around the prediction of the linear models; see `LatticeGame`.

        Args:
            situation: the situation.
            center: that prediction, in points, with the `shift` of the live inputs.
            lead: last known differential, in points.
            margin: expected final differential before tip-off, in points; None if unknown.
            live: the live inputs, (1,) each, see `live`; None: by tables without them.
            opinion: what the other components say, see `CompiledGame.opinion`; None if only the linear models count.
            others: components that are not compiled, see `forecaster.others`.
        """
        given, of_live = 0.0 if margin is None else margin, (0.0, 0.0, 0.0)
        if live is not None:
            of_live = float(live.total_points[0]), float(live.side[0]), float(live.phase[0])
        games, tables = self.tables(situation, LiveKind.NONE if live is None else live.kind)
        return LatticeGame(games, tables.game(center, lead, given, *of_live, opinion, others))

    def base(
        self, situation: Situation, center: float, lead: float, margin: float | None, live: LiveColumns | None
    ) -> Base:
        """Return what the linear models predict for one game; arguments as of `game`."""
        horizon, minute, source = situation
        model = self.model(source, LiveKind.NONE if live is None else live.kind)
        return model.base(horizon, minute, np.array([center]), np.array([lead]), np.array([margin or 0.0]), live)

    def tables(self, situation: Situation, kind: LiveKind = LiveKind.NONE) -> tuple[int, Any]:
        """Return the number of games behind the `margin_tables` of a situation, and these tables; see `model`."""
        # A number, because hashing a situation with its enums takes longer than computing the scale.
        horizon, minute, source = situation
        key = minute + 64 * ((horizon is Horizon.FINAL) + 2 * (kind + len(LiveKind) * source))
        tables = self._tables.get(key)
        if tables is None:
            model = self.model(source, kind)
            tables = self._tables[key] = model.games, margin_tables(model, horizon, minute)
        return tables

    def shift(self, situation: Situation, live: LiveColumns | None) -> float:
        """Return the shift of a point forecast by live inputs, (1,) each, in points; 0 without them."""
        if live is None:
            return 0.0
        model = self.model(situation.margin_source, live.kind)
        return float(model.shifts(situation.horizon, situation.minute, live)[0])

    @property
    def inputs(self) -> tuple[str, ...]:
        """Optional fields of a query that its distributions depend on; see `ModelInfo.inputs`."""
        used = {column for _, kind in self.models if kind for column in COLUMNS[kind]}
        return tuple(each.name for each in LIVE_INPUTS if not used.isdisjoint(each.columns))

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal calibrations give equal bytes. Tables are stored as float32."""
        kinds = sorted((int(source), int(kind)) for source, kind in self.models)
        models = [self.models[MarginSource(source), LiveKind(kind)] for source, kind in kinds]
        return to_npz(lattice=np.array(kinds, dtype=np.int16), **stacked(models, TABLES))

    @classmethod
    def from_bytes(cls, content: bytes) -> LatticeCalibration:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        most = len(LiveKind) * len(MarginSource)  # more rows would only take time and memory
        if columns["lattice"].shape != (*columns["games"].shape, 2) or columns["games"].size > most:
            raise ValueError(f"lattice and games must have one row each for up to {most} kinds of requests")
        tables = zip(columns["lattice"].tolist(), unstacked(columns, TABLES), strict=True)
        return cls(
            {
                (MarginSource(source), LiveKind(kind)): MarginModel(kind=LiveKind(kind), **of_kind)
                for (source, kind), of_kind in tables
            }
        )
