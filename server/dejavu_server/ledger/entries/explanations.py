"""Explanation and adaptation of a forecast in the canonical form of its entry (see `codec`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from functools import partial
from typing import Any, Final, TypeVar

from dejavu_models.types import (
    COMPONENTS,
    Adaptation,
    AdaptationMode,
    Attribution,
    ComponentPrediction,
    Explanation,
    Interval,
    SimilarGame,
)
from dejavu_server.ledger.entries.layout import Kind, Layout, Member

_S = TypeVar("_S")
_T = TypeVar("_T")


def _of_component(name: str, field: str, explanation: Explanation) -> float | None:
    """Return a field of the prediction of a component; None if there is none."""
    for each in explanation.components:
        if each.name == name:
            value: float = getattr(each, field)
            return value
    return None


def optional(convert: Callable[[_S], _T], value: _S | None) -> _T | None:
    """Convert a value; None stays None."""
    return None if value is None else convert(value)


def floats(source: object, names: Iterable[str]) -> dict[str, float]:
    """Return attributes of an object as floats, by name."""
    return {name: float(getattr(source, name)) for name in names}


def values(entry: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return some values of a JSON object, by name."""
    return {name: entry[name] for name in names}


ADAPTATION: Final = Layout(
    Member("adapted_lower", Kind.NUMBER, "adapted.lower"),
    Member("adapted_upper", Kind.NUMBER, "adapted.upper"),
    Member("mode", Kind.VALUE, "mode._value_"),
    Member("rolling_coverage", Kind.NUMBER, null=True),
    Member("rolling_games", Kind.INTEGER),
    Member("static_lower", Kind.NUMBER, "static.lower"),
    Member("static_rolling_coverage", Kind.NUMBER, null=True),
    Member("static_upper", Kind.NUMBER, "static.upper"),
)
"""The JSON object of an `Adaptation`."""

_ATTRIBUTION: Final = Layout(
    Member("before_tipoff", Kind.NUMBER),
    Member("minutes", Kind.NUMBERS),
    Member("similar_games", Kind.NUMBER),
)

_SIMILAR_GAME: Final = Layout(
    Member("away_team", Kind.VALUE),
    Member("date", Kind.VALUE, convert=date.isoformat),
    Member("differential_at_horizon", Kind.NUMBER),
    Member("distance", Kind.NUMBER),
    Member("games", Kind.INTEGER),
    Member("home_team", Kind.VALUE),
    Member("increment", Kind.NUMBER),
    Member("increment_spread", Kind.NUMBER),
)

_COMPONENT_FIELDS: Final = {
    f"{name}_{field}": partial(_of_component, name, field) for name in COMPONENTS for field in ("prediction", "weight")
}

EXPLANATION: Final = Layout(
    *(Member(name, Kind.NUMBER, path, when=path) for name, path in _COMPONENT_FIELDS.items()),
    Member("baseline_prediction", Kind.NUMBER),
    Member("ensemble_forecast", Kind.NUMBER),
    Member("attribution", Kind.OBJECT, of=_ATTRIBUTION, null=True),
    Member("calibration_games", Kind.INTEGER),
    Member("linear_prediction", Kind.NUMBER),
    Member("similar_games", Kind.OBJECTS, of=_SIMILAR_GAME),
)
"""The JSON object of an `Explanation`."""


def read_adaptation(value: dict[str, Any]) -> Adaptation:
    """Return the adaptation of a JSON object."""
    return Adaptation(
        mode=AdaptationMode(value["mode"]),
        adapted=Interval(value["adapted_lower"], value["adapted_upper"]),
        static=Interval(value["static_lower"], value["static_upper"]),
        rolling_games=value["rolling_games"],
        rolling_coverage=value["rolling_coverage"],
        static_rolling_coverage=value["static_rolling_coverage"],
    )


def read_explanation(value: dict[str, Any]) -> Explanation:
    """Return the explanation of a JSON object."""
    return Explanation(
        components=tuple(
            ComponentPrediction(name, value[f"{name}_prediction"], value[f"{name}_weight"])
            for name in COMPONENTS
            if f"{name}_prediction" in value
        ),
        ensemble_forecast=value["ensemble_forecast"],
        baseline_prediction=value["baseline_prediction"],
        similar_games=tuple(
            SimilarGame(
                home_team=game["home_team"],
                away_team=game["away_team"],
                date=date.fromisoformat(game["date"]),
                distance=game["distance"],
                differential_at_horizon=game["differential_at_horizon"],
                games=game["games"],
                increment=game.get("increment", 0.0),
                increment_spread=game.get("increment_spread", 0.0),
            )
            for game in value["similar_games"]
        ),
        linear_prediction=value.get("linear_prediction", 0.0),
        calibration_games=value.get("calibration_games", 0),
        attribution=optional(_read_attribution, value.get("attribution")),
    )


def _read_attribution(value: dict[str, Any]) -> Attribution:
    return Attribution(value["before_tipoff"], tuple(value["minutes"]), value["similar_games"])
