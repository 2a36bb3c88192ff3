"""Manifest of a bundle: contents, provenance and golden queries.

Validation is strict: a field that is missing, unknown or of the wrong type makes the bundle invalid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from dejavu_feed.live_inputs import LIVE_INPUTS
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.ratings import MIN_NOISE
from dejavu_models.types import COMPONENTS, HORIZONS, MAX_SLOTS, Horizon, HorizonSupport, Metric, ModelInfo
from dejavu_models.uncertainty.lattice.calibration import SMALLEST_ALPHA, LatticeCalibration

SCHEMA_VERSION = 4
"""Schema version of the manifest and of the file formats that this code writes and reads."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*\.[a-z0-9]+$")]
"""File name without a path, so a manifest cannot refer to files outside its bundle."""


MAX_TEXT = 500
"""Maximum number of characters of a text."""

MAX_LIST = 200
"""Maximum number of elements of a list."""

MAX_COMPONENTS = 8
"""Maximum number of components: weights are found by trying every subset."""

MAX_METRICS = 50
"""Maximum number of metrics; recipes have 20."""

MAX_NAME = 100
"""Maximum number of characters of a metric's name."""

# Texts may come from anyone who may write to a model store. A text that does not fit into a message of the contract, or
# that a terminal would take for a command, must not reach the store.
Text = Annotated[
    str,
    StringConstraints(
        max_length=MAX_TEXT, pattern="^[^\\x00-\\x1f\\x7f-\\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069]*$"
    ),
]
"""Human-readable text, without control characters and marks of direction."""

Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Count = Annotated[int, Field(gt=0, le=2**31 - 1)]
Season = Annotated[int, Field(ge=1947, le=2200)]
"""Season, as the year in which it ends; the first one of the league ended in 1947."""

Seasons = Annotated[tuple[Season, ...], Field(min_length=1, max_length=MAX_LIST)]
Day = Annotated[date, Field(ge=date(1946, 1, 1), le=date(2200, 12, 31))]
Time = Annotated[AwareDatetime, Field(ge=datetime(1946, 1, 1, tzinfo=UTC), le=datetime(2200, 12, 31, tzinfo=UTC))]
Variance = Annotated[float, Field(ge=0, le=1e9)]
ComponentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Part(_Record):
    """Games used for one step: training or calibration."""

    seasons: Seasons
    games: Count
    first_date: Day
    last_date: Day


class RatingsRecord(_Record):
    """Metadata of the team ratings; see `ratings`.

    Attributes:
        date: local date of the last game included.
        season: season of the ratings, as the year in which it ends.
        noise, daily, carry, seasonal, home_daily: see `ratings.RatingSettings`.
    """

    date: Day
    season: Season
    noise: Annotated[float, Field(ge=MIN_NOISE, le=1e9)]
    daily: Variance
    carry: Annotated[float, Field(ge=0, le=1)]
    seasonal: Variance
    home_daily: Variance


def first_error(error: ValidationError) -> str:
    """Return the place and the text of the first error of a validation."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"


class VerdictRecord(_Record):
    """Verdict of the backtest of a bundle's recipe.

    Attributes:
        fit: whether a server may serve the bundle.
        reason: human-readable grounds of the verdict.
        recipe: identifier of the recipe.
        seasons: tested seasons, by the year in which they end.
    """

    fit: bool
    reason: Annotated[Text, Field(min_length=1)]
    recipe: Text
    seasons: Seasons


class Golden(_Record):
    """A golden query and its expected answer, computed by the trainer before the bundle was written."""

    horizon: Horizon
    pattern: Annotated[tuple[Number, ...], Field(min_length=1, max_length=MAX_SLOTS)]
    home_team: Text
    away_team: Text
    alpha: Number
    point_forecast: Number
    interval_lower: Number
    interval_upper: Number
    home_lead_probability: Number


class RefreshRecord(_Record):
    """Games by which the ratings of a bundle were updated after its models were fitted.

    Attributes:
        of_version: version of the bundle that was refreshed.
        games: number of games, the newest ones that the ratings know.
        first_date, last_date: local dates of the first and the last of them.
        data_fingerprint: SHA-256 over these games.
    """

    of_version: Version
    games: Count
    first_date: Day
    last_date: Day
    data_fingerprint: Sha256


class LineageRecord(_Record):
    """Origin of a bundle, for documentation; determines no forecast.

    Attributes:
        parent_version: version of the model that it was made from or is meant to replace; empty if it has none.
        reason: reason for making it, such as "new season"; empty if not given.
        code_version: version of the code that fitted it, such as 1.0.1+sha256.1a2b3c4d5e6f; empty if not given.
    """

    parent_version: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{16})?$")] = ""
    reason: Text = ""
    code_version: Text = ""


class MetricRecord(_Record):
    """A metric with its 95 % bootstrap interval over games, if available."""

    name: Annotated[Text, Field(max_length=MAX_NAME)]
    value: Number
    lower: Number | None = None
    upper: Number | None = None


class Manifest(_Record):
    """Manifest of a bundle; self-explanatory attributes are not listed.

    Attributes:
        version: `version_of` its models, ratings and files.
        components: models beside the linear ones: those of `types.COMPONENTS` in this order, then those of other
            packages.
        packages: packages that other components are from, by component, with their versions.
        data_fingerprint: SHA-256 over the games of all parts.
        libraries: name → version of the libraries used for training.
        files: name → SHA-256 of every file that determines forecasts; without TOTALS, there are no forecasts of totals,
            without PLAYERS, line-ups have no effect, and without MOMENTS, there are no forecasts in the last
            minute before a horizon and in overtime.
        refresh: later games in the ratings; None if the ratings end with the games of training and calibration.
        lineage: origin of the bundle; None if not given.
    """

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]
    version: Version
    components: Annotated[tuple[ComponentName, ...], Field(max_length=MAX_COMPONENTS)]
    created_time: Time
    train: Part
    calibrate: Part
    data_fingerprint: Sha256
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    libraries: Annotated[dict[Text, Text], Field(max_length=MAX_LIST)]
    ratings: RatingsRecord
    verdict: VerdictRecord
    metrics: Annotated[tuple[MetricRecord, ...], Field(max_length=MAX_METRICS)]
    golden: Annotated[tuple[Golden, ...], Field(min_length=1, max_length=MAX_LIST)]
    files: dict[FileName, Sha256]
    refresh: RefreshRecord | None = None
    lineage: LineageRecord | None = None
    packages: Annotated[dict[ComponentName, Text], Field(max_length=MAX_COMPONENTS)] = {}

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        others = [name for name in self.components if name not in COMPONENTS]
        if self.components != (*(name for name in COMPONENTS if name in self.components), *dict.fromkeys(others)):
            raise ValueError(f"components must be of {', '.join(COMPONENTS)} in this order, then others, each once")
        if reserved := {component_file(name) for name in others} & {*file_names(()), WEIGHTS, TOTALS, PLAYERS, MOMENTS}:
            raise ValueError(f"components: {min(reserved)} is the name of another file")
        if self.packages.keys() != set(others):
            raise ValueError(f"packages must be those of the components {sorted(others)}")
        expected = file_names(self.components)
        if expected != self.files.keys() - {TOTALS, PLAYERS, MOMENTS}:
            raise ValueError(f"files must be {sorted(expected)}, but hashes are given for {sorted(self.files)}")
        if self.version != version_of(self.ratings, self.files, self.packages):
            raise ValueError("version does not match these models and files")
        return self

    def to_json(self) -> str:
        """Return the content of manifest.json."""
        absent = {name for name in ("lineage", "packages") if not getattr(self, name)}
        return self.model_dump_json(indent=2, exclude=absent) + "\n"


LINEAR, CALIBRATION, RATINGS = "linear.npz", "calibration.npz", "ratings.npz"
"""Files of every bundle."""

WEIGHTS = "weights.npz"
"""File of the weights of the components beside the linear models."""

TOTALS = "totals.npz"
"""File of tables and ratings of total points, which a bundle may have."""

MOMENTS = "moments.npz"
"""File of the tables of moments, which a bundle may have."""

PLAYERS = "players.npz"
"""File of the ratings of players, which a bundle may have."""


def component_file(name: str) -> str:
    """Return the name of the file of a component."""
    return f"{name}.npz"


def file_names(components: Collection[str]) -> set[str]:
    """Return the names of the files that a bundle with these components must have."""
    names = {LINEAR, CALIBRATION, RATINGS, *map(component_file, components)}
    return names | {WEIGHTS} if components else names


def version_of(ratings: RatingsRecord, files: Mapping[str, str], packages: Mapping[str, str] | None = None) -> str:
    """Return the model version: first 16 hex digits of a SHA-256 over everything that determines answers.

    Covers the settings of the ratings, the file hashes and the packages of components; not the creation time, training
    data or metrics.
    """
    content = {"ratings": ratings.model_dump(mode="json"), "files": dict(files)}
    if packages:
        content["packages"] = dict(packages)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


_OF_RATINGS: Final = ("neutral_site",)
"""Inputs that the ratings of every bundle use."""


def model_info(manifest: Manifest, models: Ensemble, calibration: LatticeCalibration, half_width: float) -> ModelInfo:
    """Describe a model by its manifest, its components, and the levels and inputs that its calibration supports."""
    has_totals = TOTALS in manifest.files
    of_totals = {"total_points", "pregame_total"} if has_totals else set()
    columns = {column for each in models.others for column in each.inputs}
    return ModelInfo(
        version=manifest.version,
        horizons=tuple(HorizonSupport(horizon, 1, horizon.last_slot) for horizon in HORIZONS),
        smallest_alpha=SMALLEST_ALPHA,
        train_seasons=manifest.train.seasons,
        calibration_seasons=manifest.calibrate.seasons,
        train_games=manifest.train.games,
        calibration_games=manifest.calibrate.games,
        past_games=0 if models.dejavu is None else len(models.dejavu.games),
        created_time=manifest.created_time,
        metrics=tuple(Metric(each.name, each.value, each.lower, each.upper) for each in manifest.metrics),
        ratings_date=manifest.ratings.date,
        approved=manifest.verdict.fit,
        verdict_reason=manifest.verdict.reason,
        inputs=tuple(
            each.name
            for each in LIVE_INPUTS
            if each.name in {*calibration.inputs, *of_totals, *_OF_RATINGS} or not columns.isdisjoint(each.columns)
        )
        + (("lineups",) if PLAYERS in manifest.files else ())
        + (("moment",) if MOMENTS in manifest.files else ()),
        components=manifest.components,
        weights=tuple(models.weights.listed()),
        similar_games=0 if models.dejavu is None else models.dejavu.images_a_forecast,
        network_units=0 if models.lstm is None else models.lstm.units,
        half_width=half_width,
        totals=has_totals,
        line=calibration.has_line,
    )
