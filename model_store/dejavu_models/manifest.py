"""The manifest of a bundle: what is in it, where that came from, and what it answers.

The manifest is checked strictly: a field that is missing, unknown or of another type refuses the bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from dejavu_models.point.dejavu import Kernel
from dejavu_models.types import MAX_SLOTS, Horizon

SCHEMA_VERSION = 2
"""Of the manifest and of the files' forms; code reads no other one."""

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
    """How the Dejavu databases are asked; see `dejavu.DejavuSettings`.

    Attributes:
        minutes: the minutes that have a database, ascending: those that the bundle can be asked at.
        entries: how many entries each of them holds.
        prototypes: whether games that differ may share an entry.
        neighbours: how many entries are asked; all, at a minute that has fewer.
    """

    minutes: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_SLOTS)], ...], Field(min_length=1)]
    entries: tuple[Annotated[int, Field(gt=0)], ...]
    prototypes: bool
    recency: Annotated[float, Field(gt=0)]
    neighbours: Annotated[int, Field(gt=0)]
    kernel: Kernel

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.entries) != len(self.minutes) or list(self.minutes) != sorted(set(self.minutes)):
            raise ValueError("minutes must ascend, and each have its number of entries")
        return self


class RatingsRecord(_Record):
    """Team strength; see `ratings`.

    Attributes:
        date: local date of the last game counted.
        season: for which the strengths stand, as the year in which it ends.
        noise, daily, carry, seasonal, home_daily: of `ratings.RatingSettings`.
    """

    date: date
    season: int
    noise: Annotated[float, Field(gt=0)]
    daily: Annotated[float, Field(ge=0)]
    carry: Annotated[float, Field(ge=0, le=1)]
    seasonal: Annotated[float, Field(ge=0)]
    home_daily: Annotated[float, Field(ge=0)]


class VerdictRecord(_Record):
    """What its recipe's backtest said of a bundle.

    Attributes:
        fit: whether a server may serve it.
        reason: what that rests on, for people.
        recipe: what identifies the recipe.
        seasons: that were tested, by the year in which they end.
    """

    fit: bool
    reason: Annotated[str, Field(min_length=1)]
    recipe: str
    seasons: Annotated[tuple[int, ...], Field(min_length=1)]


class Golden(_Record):
    """A query and its answer, as the trainer computed it before anything was written."""

    horizon: Horizon
    pattern: tuple[float, ...]
    home_team: str
    away_team: str
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
        version: `version_of` its models, ratings and files.
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
    dejavu: DejavuRecord
    ratings: RatingsRecord
    verdict: VerdictRecord
    metrics: tuple[MetricRecord, ...]
    golden: Annotated[tuple[Golden, ...], Field(min_length=1)]
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        named = file_names(self.dejavu.minutes)
        if named != self.files.keys():
            raise ValueError(f"files must be {sorted(named)}, but hashes are given for {sorted(self.files)}")
        if self.version != version_of(self.dejavu, self.ratings, self.files):
            raise ValueError("version is not the one of these models and files")
        return self

    def to_json(self) -> str:
        """As it stands in manifest.json."""
        return self.model_dump_json(indent=2) + "\n"


LSTM, COMBINATION, ENTRIES, CALIBRATION, RATINGS = (
    "lstm.onnx",
    "combination.npz",
    "entries.npz",
    "calibration.npz",
    "ratings.npz",
)
"""The files of a bundle, but for the databases' indices."""


def index_name(minute: int) -> str:
    """The file of a minute's index."""
    return f"dejavu-{minute:02d}.index"


def file_names(minutes: Iterable[int]) -> set[str]:
    """The files of a bundle that knows some minutes."""
    return {LSTM, COMBINATION, ENTRIES, CALIBRATION, RATINGS, *map(index_name, minutes)}


def version_of(dejavu: DejavuRecord, ratings: RatingsRecord, files: Mapping[str, str]) -> str:
    """The model version: the first 16 hexadecimal digits of a SHA-256 over what determines answers.

    That is how the models are asked, and the hashes of their files; not when, on what or how well.
    """
    content = {
        "dejavu": dejavu.model_dump(mode="json"),
        "ratings": ratings.model_dump(mode="json"),
        "files": dict(files),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
