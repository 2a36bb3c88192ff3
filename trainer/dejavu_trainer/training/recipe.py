"""Training configuration ("recipe"), which does not depend on seasons, and its file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from dejavu_feed.errors import DataError
from dejavu_models.components.component import DejavuConfig, LstmConfig
from dejavu_models.components.ensemble import component_class, package_of
from dejavu_models.errors import ComponentMissing
from dejavu_models.manifest import MAX_COMPONENTS, ComponentName
from dejavu_models.types import COMPONENTS
from dejavu_trainer.lineage import digest_of

METHOD = 11
"""Version of the training code; incremented with every change that gives different models for the same games, so that
a verdict on older models is not reused."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Training configuration (recipe).

    Attributes:
        rating_steps: likelihood evaluations in the search for the ratings' settings.
        dejavu: settings of the database of past games.
        lstm: hyperparameters of the LSTM.
        components: the components: dejavu, lstm, and those of installed packages, see docs/components.md.
        weights: their weights in every forecast, the linear models have the rest; None: learned, see
            `training.weights`.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    rating_steps: Annotated[int, Field(ge=1, le=10_000)] = 60
    dejavu: DejavuConfig = field(default_factory=DejavuConfig)
    lstm: LstmConfig = field(default_factory=LstmConfig)
    components: Annotated[tuple[ComponentName, ...], Field(max_length=MAX_COMPONENTS)] = COMPONENTS
    weights: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = None

    @property
    def digest(self) -> str:
        """Hash that identifies the recipe: the first 16 hexadecimal digits of a SHA-256."""
        content: dict[str, Any] = {"method": METHOD, **asdict(self)}
        if self.components == COMPONENTS:
            del content["components"]  # the hash of the shipped bundle's recipe, which could not name them
        elif packages := {name: package_of(name) for name in self.components if name not in COMPONENTS}:
            content["packages"] = packages
        return digest_of(content)


_RECIPE = TypeAdapter(TrainingConfig)


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
    try:
        for each in recipe.components:
            component_class(each)
    except ComponentMissing as error:
        raise DataError(f"{name}: components: {error}") from None
    others = tuple(each for each in recipe.components if each not in COMPONENTS)
    ordered = (*(each for each in COMPONENTS if each in recipe.components), *dict.fromkeys(others))
    if len(ordered) != len(recipe.components):
        raise DataError(f"{name}: components: each must be there once")
    if unknown := (recipe.weights or {}).keys() - set(ordered):
        raise DataError(f"{name}: weights.{min(unknown)}: is no component; expected some of {', '.join(ordered)}")
    if recipe.weights is not None and sum(recipe.weights.values()) > 1:
        raise DataError(f"{name}: weights: they must sum to 1 at most")
    return replace(recipe, components=ordered)


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
