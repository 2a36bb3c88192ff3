"""Explanation and adaptation of a forecast in the canonical form of its entry (see `codec`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, Final, TypeVar

from dejavu_ledger.entries.layout import Kind, Layout, Member
from dejavu_models.types import (
    Adaptation,
    AdaptationMode,
    Attribution,
    ComponentPrediction,
    Contribution,
    Explanation,
    Interval,
    SimilarGame,
    SimilarSummary,
)

_S = TypeVar("_S")
_T = TypeVar("_T")


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
    Member("components", Kind.NUMBER),
    Member("minutes", Kind.NUMBERS),
)

_SIMILAR_GAME: Final = Layout(
    Member("away_team", Kind.VALUE),
    Member("date", Kind.VALUE, convert=date.isoformat),
    Member("differential", Kind.INTEGER),
    Member("differential_at_horizon", Kind.INTEGER),
    Member("distance", Kind.NUMBER),
    Member("final_points", Kind.VALUE, convert=list, any=True),
    Member("home_team", Kind.VALUE),
    Member("mirrored", Kind.VALUE, convert=bool, any=True),
    Member("points", Kind.VALUE, convert=list, any=True),
)

_SIMILAR_SUMMARY: Final = Layout(
    Member("correction", Kind.NUMBER),
    Member("games", Kind.INTEGER),
    Member("home_led", Kind.INTEGER),
    Member("minute", Kind.INTEGER),
    Member("same_lead", Kind.INTEGER),
    Member("turned", Kind.INTEGER),
)

_COMPONENT: Final = Layout(
    Member("name", Kind.VALUE),
    Member("prediction", Kind.NUMBER),
    Member("weight", Kind.NUMBER),
)

_CONTRIBUTION: Final = Layout(
    Member("name", Kind.VALUE),
    Member("points", Kind.NUMBER),
)

EXPLANATION: Final = Layout(
    Member("baseline_prediction", Kind.NUMBER),
    Member("attribution", Kind.OBJECT, of=_ATTRIBUTION),
    Member("calibration_games", Kind.INTEGER),
    Member("components", Kind.OBJECTS, of=_COMPONENT),
    Member("contributions", Kind.OBJECTS, of=_CONTRIBUTION),
    Member("similar_games", Kind.OBJECTS, of=_SIMILAR_GAME),
    Member("similar_summary", Kind.OBJECT, of=_SIMILAR_SUMMARY, null=True),
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
    attribution = value["attribution"]
    return Explanation(
        components=tuple(
            ComponentPrediction(each["name"], each["prediction"], each["weight"]) for each in value["components"]
        ),
        baseline_prediction=value["baseline_prediction"],
        similar_games=tuple(
            SimilarGame(
                home_team=game["home_team"],
                away_team=game["away_team"],
                date=date.fromisoformat(game["date"]),
                mirrored=game.get("mirrored", False),
                distance=game["distance"],
                differential=game["differential"],
                differential_at_horizon=game["differential_at_horizon"],
                points=optional(_points, game.get("points")),
                final_points=optional(_points, game.get("final_points")),
            )
            for game in value["similar_games"]
        ),
        calibration_games=value["calibration_games"],
        attribution=Attribution(attribution["before_tipoff"], tuple(attribution["minutes"]), attribution["components"]),
        similar_summary=optional(_read_summary, value["similar_summary"]),
        contributions=tuple(Contribution(each["name"], each["points"]) for each in value["contributions"]),
    )


def _points(value: list[int]) -> tuple[int, int]:
    home, away = value
    return home, away


def _read_summary(value: dict[str, Any]) -> SimilarSummary:
    return SimilarSummary(**values(value, SimilarSummary._fields))
