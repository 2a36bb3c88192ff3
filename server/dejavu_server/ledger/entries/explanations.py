"""Explanation and adaptation of a forecast in the canonical form of its entry (see `codec`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, TypeVar

from dejavu_models.types import Adaptation, AdaptationMode, Attribution, Explanation, Interval, SimilarGame

_S = TypeVar("_S")
_T = TypeVar("_T")

# Numbers that an explanation has as floats, under the names of their fields.
_COMPONENTS = (
    "dejavu_prediction",
    "lstm_prediction",
    "ensemble_forecast",
    "baseline_prediction",
    "dejavu_weight",
    "lstm_weight",
)


def optional(convert: Callable[[_S], _T], value: _S | None) -> _T | None:
    """Converts a value; None stays None."""
    return None if value is None else convert(value)


def floats(source: object, names: Iterable[str]) -> dict[str, float]:
    """Returns attributes of an object as floats, by name."""
    return {name: float(getattr(source, name)) for name in names}


def values(entry: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Returns some values of a JSON object, by name."""
    return {name: entry[name] for name in names}


def encode_adaptation(adaptation: Adaptation) -> dict[str, Any]:
    """Returns the JSON object of an adaptation."""
    return {
        "adapted_lower": float(adaptation.adapted.lower),
        "adapted_upper": float(adaptation.adapted.upper),
        "mode": adaptation.mode.value,
        "rolling_coverage": optional(float, adaptation.rolling_coverage),
        "rolling_games": int(adaptation.rolling_games),
        "static_lower": float(adaptation.static.lower),
        "static_rolling_coverage": optional(float, adaptation.static_rolling_coverage),
        "static_upper": float(adaptation.static.upper),
    }


def read_adaptation(value: dict[str, Any]) -> Adaptation:
    """Returns the adaptation of a JSON object."""
    return Adaptation(
        mode=AdaptationMode(value["mode"]),
        adapted=Interval(value["adapted_lower"], value["adapted_upper"]),
        static=Interval(value["static_lower"], value["static_upper"]),
        rolling_games=value["rolling_games"],
        rolling_coverage=value["rolling_coverage"],
        static_rolling_coverage=value["static_rolling_coverage"],
    )


def encode_explanation(explanation: Explanation) -> Any:
    """Returns the JSON object of an explanation, or what `canonical_json` writes as the same."""
    if explanation.source is not None:
        return explanation.source.numbers
    return {
        **floats(explanation, _COMPONENTS),
        "attribution": optional(_attribution, explanation.attribution),
        "calibration_games": int(explanation.calibration_games),
        "linear_prediction": float(explanation.linear_prediction),
        "similar_games": [
            {
                "away_team": game.away_team,
                "date": game.date.isoformat(),
                "differential_at_horizon": float(game.differential_at_horizon),
                "distance": float(game.distance),
                "games": int(game.games),
                "home_team": game.home_team,
                "increment": float(game.increment),
                "increment_spread": float(game.increment_spread),
            }
            for game in explanation.similar_games
        ],
    }


def read_explanation(value: dict[str, Any]) -> Explanation:
    """Returns the explanation of a JSON object; what an earlier release did not write gets its default."""
    return Explanation(
        **values(value, _COMPONENTS),
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


def _attribution(attribution: Attribution) -> dict[str, Any]:
    return {
        "before_tipoff": float(attribution.before_tipoff),
        "minutes": [float(minute) for minute in attribution.minutes],
        "similar_games": float(attribution.similar_games),
    }


def _read_attribution(value: dict[str, Any]) -> Attribution:
    return Attribution(value["before_tipoff"], tuple(value["minutes"]), value["similar_games"])
