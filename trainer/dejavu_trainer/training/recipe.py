"""Training configuration ("recipe") and the training of all models; used by backtests and by fits.

A recipe does not depend on seasons. The settings of Dejavu are selected in each run from its training games: trial
databases of the earlier ones are evaluated on the later ones, and the final ones have all of them.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.lstm import Lstm
from dejavu_models.components.models import PointModels
from dejavu_models.types import MAX_SLOTS
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.execution import HERE, Execution, Progress
from dejavu_trainer.training.dejavu import (
    MINUTES,
    DejavuGrid,
    SelectedSettings,
    TrainingGames,
    build_all,
    select_settings,
)
from dejavu_trainer.training.linear import fit_linear, linear_residuals
from dejavu_trainer.training.lstm_config import LstmConfig, LstmExamples, TrainedLstm
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.stage_cache import NO_CACHE, StageCache

METHOD = 10
"""Version of the training code; incremented with every change that gives different models for the same games, so that
a verdict on older models is not reused."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Training configuration (recipe).

    Attributes:
        prototypes: maximum entries of each minute's Dejavu database; None: one entry per distinct course.
        prototypes_at: (minute, maximum entries) of minutes that have a maximum of their own.
        held_out: share of the training games, the last ones, on which the Dejavu settings are selected.
        rating_steps: likelihood evaluations in the search for the ratings' settings.
        dejavu: candidates for the Dejavu settings.
        lstm: hyperparameters of the LSTM.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    prototypes: Annotated[int, Field(ge=1)] | None = None
    prototypes_at: tuple[tuple[Annotated[int, Field(ge=1, le=MAX_SLOTS)], Annotated[int, Field(ge=1)]], ...] = ()
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.3
    rating_steps: Annotated[int, Field(ge=1, le=10_000)] = 60
    dejavu: DejavuGrid = field(default_factory=DejavuGrid)
    lstm: LstmConfig = field(default_factory=LstmConfig)

    @property
    def digest(self) -> str:
        """Hash that identifies the recipe: the first 16 hexadecimal digits of a SHA-256."""
        content = {"method": METHOD, **asdict(self)}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


OF_DEJAVU: Final = ("prototypes", "prototypes_at", "held_out", "dejavu")
"""Settings of a recipe that the selected settings of Dejavu depend on, beside those of the ratings."""

_RECIPE = TypeAdapter(TrainingConfig)
_CHOICE = TypeAdapter(SelectedSettings)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        DataError: if it is none.
        OSError: if it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of tomllib, or of the encoding
        raise DataError(f"{path}: is not TOML: {error}") from None


def parse_recipe(document: Mapping[str, Any], name: str) -> TrainingConfig:
    """Return the recipe with the settings of a document; all others have their defaults.

    Args:
        document: settings by name, those of Dejavu and the LSTM as documents in it.
        name: begins the messages, such as the path of the file.

    Raises:
        DataError: if a setting is unknown or invalid; the message has a line for each.
    """
    try:
        # As JSON, where a list may stand for a tuple, but a text not for a number.
        content = json.dumps(document, default=str)
        recipe = _RECIPE.validate_json(content, strict=True)
    except ValidationError as error:
        names = [*_names(asdict(TrainingConfig()))]
        raise DataError("\n".join(f"{name}: {_problem(each, names)}" for each in error.errors())) from None
    minutes = [minute for minute, _ in recipe.prototypes_at]
    if len({*minutes}) < len(minutes):
        raise DataError(f"{name}: prototypes_at: names a minute twice")
    return recipe


def _problem(error: Any, names: Sequence[str]) -> str:
    """Return an error of pydantic as FIELD: what was expected; `names` are all settings, such as lstm.hidden."""
    field_name = ".".join(map(str, error["loc"]))
    message: str = error["msg"].removeprefix("Value error, ")
    if error["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        close = get_close_matches(field_name, names, 1)
        message = f"is no setting; did you mean {close[0]}?" if close else "is no setting"
    return f"{field_name}: {message[:1].lower()}{message[1:]}"


def _names(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{name}.")


@dataclass(frozen=True, slots=True)
class TrainedModels:
    """Trained models and selected settings.

    Attributes:
        models: all models, without calibration.
        lstm: the fitted LSTM.
        dejavu: selected query settings of the databases.
    """

    models: PointModels
    lstm: TrainedLstm
    dejavu: SelectedSettings


def train_models(
    rated: RatedGames,
    recipe: TrainingConfig,
    seed: int = 0,
    progress: Progress | None = None,
    execution: Execution = HERE,
    stages: StageCache = NO_CACHE,
) -> TrainedModels:
    """Train all models on games with margins from carried ratings; the other arguments are those of `fit_recipe`.

    The same games, recipe and seed give the same models on the same machine.

    Raises:
        DataError: if there are too few games.
        FitError: if the LSTM can't be fitted.
    """
    games = rated.games
    # With fewer prototypes, most of them would be neighbours of every pattern.
    minimum = 2 * min(recipe.dejavu.neighbours)
    if recipe.prototypes is not None and not minimum <= recipe.prototypes <= len(games):
        raise DataError(
            f"{recipe.prototypes} prototypes per minute; expected {minimum} to {len(games)}, the training games"
        )
    for minute, count in recipe.prototypes_at:
        if count < minimum:
            raise DataError(f"{count} prototypes at minute {minute}; expected {minimum} or more")
    run = _Run(rated, recipe, seed, progress or Progress(), execution)
    inputs = games, recipe.rating_steps, seed
    of_dejavu = [getattr(recipe, setting) for setting in OF_DEJAVU]
    choice = stages.get(
        "dejavu.json", (*inputs, *of_dejavu), run.select_settings, _CHOICE.dump_json, _CHOICE.validate_json
    )
    lstm = stages.get("lstm.npz", (*inputs, recipe.lstm), run.fit_lstm, TrainedLstm.to_bytes, TrainedLstm.from_bytes)
    return TrainedModels(PointModels(run.linear, Lstm(lstm.content), run.build_databases(choice)), lstm, choice)


class _Run:
    def __init__(
        self, rated: RatedGames, recipe: TrainingConfig, seed: int, progress: Progress, execution: Execution
    ) -> None:
        self.linear = fit_linear(*rated, cube=True)
        self._rated = rated
        self._recipe = recipe
        self._seed = seed
        self._progress = progress
        self._execution = execution

    @cached_property
    def _residuals(self) -> Floats:
        return linear_residuals(self.linear, *self._rated)

    def select_settings(self) -> SelectedSettings:
        """Select the settings of Dejavu on the last games."""
        recipe, grid = self._recipe, self._recipe.dejavu
        past, later = (self._rated.select(part) for part in hold_out_last(self._rated.games.date, recipe.held_out))
        # Cluster trial databases in the same proportion as the final ones.
        share = len(past.games) / (len(past.games) + len(later.games))

        def scaled(count: int) -> int:
            return max(min(grid.neighbours), round(count * share))

        prototypes = recipe.prototypes and scaled(recipe.prototypes)
        at = {minute: scaled(count) for minute, count in recipe.prototypes_at}
        linear = fit_linear(*past, cube=True)
        known, queries = (TrainingGames(part.games, linear_residuals(linear, *part)) for part in (past, later))
        with self._progress.step("Select the Dejavu settings", grid.steps) as advance:
            return select_settings(known, queries, prototypes, grid, self._seed, advance, self._execution, at)

    def build_databases(self, choice: SelectedSettings) -> dict[int, Dejavu]:
        """Build the databases of all games."""
        recipe = self._recipe
        with self._progress.step("Build the Dejavu databases", len(MINUTES)) as advance:
            past, at = TrainingGames(self._rated.games, self._residuals), dict(recipe.prototypes_at)
            return build_all(past, MINUTES, choice, recipe.prototypes, self._seed, advance, self._execution, at)

    def fit_lstm(self) -> TrainedLstm:
        """Fit the LSTM to all games."""
        from dejavu_trainer.training.lstm import fit_lstm  # imported late: torch takes seconds, and only fits need it

        recipe, (games, margins) = self._recipe, self._rated
        with self._progress.step("Train the LSTM", recipe.lstm.steps) as advance:
            examples = LstmExamples(games.levels, margins, self._residuals)
            return fit_lstm(examples, recipe.lstm, self._seed, advance)
