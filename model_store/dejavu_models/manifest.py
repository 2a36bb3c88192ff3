"""The manifest of a bundle: what is in it, where that came from, and what it answers.

The manifest is checked strictly: a field that is missing, unknown or of another type refuses the bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from dejavu_models.dejavu import Kernel
from dejavu_models.types import MAX_SLOTS, Horizon

SCHEMA_VERSION = 1
"""Of the manifest and of the files' forms; code reads no later one."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*\.[a-z0-9]+$")]
"""A plain name: no folder, so that a manifest cannot point out of its bundle."""


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Part(_Record):
    """The games that a part of the work was done on."""

    seasons: Annotated[tuple[int, ...], Field(min_length=1)]
    games: Annotated[int, Field(gt=0)]
    first_date: date
    last_date: date


class DejavuRecord(_Record):
    """How the Dejavu database is asked; see `dejavu.DejavuSettings`."""

    entries: Annotated[int, Field(gt=0)]
    prototypes: bool
    recency: Annotated[float, Field(gt=0)]
    neighbours: Annotated[int, Field(gt=0)]
    kernel: Kernel


class StageFiles(_Record):
    """The names of a stage's files."""

    lstm: FileName
    index: FileName
    entries: FileName
    scores: FileName


class StageRecord(_Record):
    """One horizon seen from one minute of the game."""

    horizon: Horizon
    slots: Annotated[int, Field(ge=1, le=MAX_SLOTS)]
    dejavu_weight: Annotated[float, Field(ge=0, le=1)]
    lstm_weight: Annotated[float, Field(ge=0, le=1)]
    dejavu: DejavuRecord
    files: StageFiles

    @model_validator(mode="after")
    def _weights_are_shares(self) -> Self:
        if abs(self.dejavu_weight + self.lstm_weight - 1) > 1e-9:
            raise ValueError("dejavu_weight and lstm_weight must sum to 1")
        return self


class Golden(_Record):
    """A query and its answer, as the trainer computed it before anything was written."""

    horizon: Horizon
    pattern: tuple[float, ...]
    alpha: float
    point_forecast: float
    interval_lower: float
    interval_upper: float
    home_lead_probability: float


class MetricRecord(_Record):
    """A figure, with its 95 % bootstrap interval over games where there is one."""

    name: str
    value: float
    lower: float | None = None
    upper: float | None = None


class Manifest(_Record):
    """All that a bundle says of itself; attributes that explain themselves are not repeated here.

    Attributes:
        version: `version_of` its stages and files.
        data_fingerprint: SHA-256 over the games of all parts.
        libraries: name → version of what made it.
        files: name → SHA-256 of every file but the manifest.
    """

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)]
    version: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    created_time: AwareDatetime
    train: Part
    calibrate: Part
    data_fingerprint: Sha256
    seed: int
    libraries: dict[str, str]
    stages: Annotated[tuple[StageRecord, ...], Field(min_length=1)]
    metrics: tuple[MetricRecord, ...]
    golden: Golden
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        keys = {(stage.horizon, stage.slots) for stage in self.stages}
        if len(keys) < len(self.stages):
            raise ValueError("two stages have the same horizon and number of slots")
        named = {name for stage in self.stages for name in stage.files.model_dump().values()}
        if named != self.files.keys():
            raise ValueError(f"stages name {sorted(named)}, but hashes are given for {sorted(self.files)}")
        if self.version != version_of(self.stages, self.files):
            raise ValueError("version is not the one of these stages and files")
        return self

    def to_json(self) -> str:
        """As it stands in manifest.json."""
        return self.model_dump_json(indent=2) + "\n"


def version_of(stages: Sequence[StageRecord], files: Mapping[str, str]) -> str:
    """The model version: the first 16 hexadecimal digits of a SHA-256 over what determines answers.

    That is how the models are asked and combined, and the hashes of their files; not when, on what or how well.
    """
    content = {"stages": [stage.model_dump(mode="json") for stage in stages], "files": dict(files)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
