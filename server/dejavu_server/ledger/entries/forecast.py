"""Canonical form of a forecast entry: writes it and parses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import (
    Adaptation,
    AdaptationMode,
    Attribution,
    Explanation,
    Forecast,
    Horizon,
    Interval,
    SimilarGame,
)
from dejavu_server.ledger.entries.encoding import (
    FORECAST,
    decode_entry,
    dumps,
    parse_errors,
)
from dejavu_server.records import IssuedForecast

_SCORE_DIGITS = 6  # decimals of static scores; with more, insignificant digits would make up half of an entry


@dataclass(frozen=True, slots=True)
class PreparedForecast:
    """A forecast ready to be recorded: everything that does not depend on its sequence.

    Attributes:
        issued: the forecast, with static scores rounded as they are recorded.
        key: the key it is stored under, as canonical JSON; forecasts with equal keys are revisions of one another.
        pattern: the pattern as canonical JSON, with −0 as 0; equal exactly when the patterns are.
        payload: the payload of its canonical form.
    """

    issued: IssuedForecast
    key: str
    pattern: str
    payload: str


def prepare(issued: IssuedForecast) -> PreparedForecast:
    """Prepares a forecast for the ledger.

    Raises:
        ValueError: if the game id is empty, a time is not UTC, or a value has no canonical form.
    """
    if not issued.game_id:
        raise ValueError("cannot record a forecast without a game")
    issued = _rounded(issued)
    forecast = issued.forecast
    margin = issued.pregame_margin
    key = dumps(
        [
            issued.game_id,
            forecast.horizon.value,
            int(forecast.elapsed_minutes),
            float(forecast.alpha),
            forecast.model_version,
            None if margin is None else float(margin) + 0.0,  # −0 + 0 is 0
        ]
    )
    pattern = dumps([float(value) + 0.0 for value in issued.pattern.differentials])
    return PreparedForecast(issued, key, pattern, dumps({"forecast": _forecast(issued), "request": _request(issued)}))


def parse(canonical: str, *, explanation: bool = True) -> IssuedForecast:
    """Parses the canonical form of a forecast entry, with its explanation if requested.

    Raises:
        ValueError: if the text is not one.
    """
    entry = decode_entry(FORECAST, canonical)
    with parse_errors(FORECAST):
        request, forecast = entry["payload"]["request"], entry["payload"]["forecast"]
        return IssuedForecast(
            game_id=request["game_id"],
            home_team=request["home_team"],
            away_team=request["away_team"],
            pattern=ScorePattern(tuple(request["pattern"])),
            pregame_margin=request["pregame_margin"],
            forecast=Forecast(
                horizon=Horizon(request["horizon"]),
                elapsed_minutes=forecast["elapsed_minutes"],
                alpha=request["alpha"],
                point=forecast["point"],
                interval=Interval(forecast["interval_lower"], forecast["interval_upper"]),
                home_lead_probability=forecast["home_lead_probability"],
                model_version=forecast["model_version"],
                explanation=_read_explanation(forecast["explanation"]) if explanation else None,
                expected_margin=forecast.get("expected_margin"),
                calibration_sequence=forecast.get("calibration_sequence", 0),
                adaptation=_read_adaptation(forecast.get("adaptation")),
                distribution=tuple(forecast.get("distribution", ())),
                static_scores=tuple(forecast.get("static_scores", ())),
            ),
            generated_time=from_microseconds(forecast["generated_us"]),
            expires_time=from_microseconds(forecast["expires_us"]),
            sequence=entry["sequence"],
            revision=entry["revision"],
        )


def _rounded(issued: IssuedForecast) -> IssuedForecast:
    """Returns the forecast as it is read back from the ledger."""
    if not issued.forecast.static_scores:
        return issued
    scores = tuple(round(float(score), _SCORE_DIGITS) for score in issued.forecast.static_scores)
    return replace(issued, forecast=replace(issued.forecast, static_scores=scores))


def _request(issued: IssuedForecast) -> dict[str, Any]:
    return {
        "alpha": float(issued.forecast.alpha),
        "away_team": issued.away_team,
        "game_id": issued.game_id,
        "home_team": issued.home_team,
        "horizon": issued.forecast.horizon.value,
        "pattern": [float(value) for value in issued.pattern.differentials],
        "pregame_margin": _optional(issued.pregame_margin),
    }


def _forecast(issued: IssuedForecast) -> dict[str, Any]:
    forecast = issued.forecast
    return {
        "adaptation": None if forecast.adaptation is None else _adaptation(forecast.adaptation),
        "calibration_sequence": int(forecast.calibration_sequence),
        "distribution": [float(value) for value in forecast.distribution],
        "elapsed_minutes": int(forecast.elapsed_minutes),
        "expected_margin": _optional(forecast.expected_margin),
        "expires_us": microseconds(issued.expires_time),
        "explanation": None if forecast.explanation is None else _explanation(forecast.explanation),
        "generated_us": microseconds(issued.generated_time),
        "home_lead_probability": float(forecast.home_lead_probability),
        "interval_lower": float(forecast.interval.lower),
        "interval_upper": float(forecast.interval.upper),
        "model_version": forecast.model_version,
        "point": float(forecast.point),
        "static_scores": [float(score) for score in forecast.static_scores],
    }


def _adaptation(adaptation: Adaptation) -> dict[str, Any]:
    return {
        "adapted_lower": float(adaptation.adapted.lower),
        "adapted_upper": float(adaptation.adapted.upper),
        "mode": adaptation.mode.value,
        "rolling_coverage": _optional(adaptation.rolling_coverage),
        "rolling_games": int(adaptation.rolling_games),
        "static_lower": float(adaptation.static.lower),
        "static_rolling_coverage": _optional(adaptation.static_rolling_coverage),
        "static_upper": float(adaptation.static.upper),
    }


def _optional(value: float | None) -> float | None:
    return None if value is None else float(value)


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "attribution": None if explanation.attribution is None else _attribution(explanation.attribution),
        "baseline_prediction": float(explanation.baseline_prediction),
        "calibration_games": int(explanation.calibration_games),
        "dejavu_prediction": float(explanation.dejavu_prediction),
        "dejavu_weight": float(explanation.dejavu_weight),
        "ensemble_forecast": float(explanation.ensemble_forecast),
        "linear_prediction": float(explanation.linear_prediction),
        "lstm_prediction": float(explanation.lstm_prediction),
        "lstm_weight": float(explanation.lstm_weight),
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


def _attribution(attribution: Attribution) -> dict[str, Any]:
    return {
        "before_tipoff": float(attribution.before_tipoff),
        "minutes": [float(minute) for minute in attribution.minutes],
        "similar_games": float(attribution.similar_games),
    }


def _read_explanation(value: dict[str, Any] | None) -> Explanation | None:
    if value is None:
        return None
    return Explanation(
        dejavu_prediction=value["dejavu_prediction"],
        lstm_prediction=value["lstm_prediction"],
        ensemble_forecast=value["ensemble_forecast"],
        baseline_prediction=value["baseline_prediction"],
        dejavu_weight=value["dejavu_weight"],
        lstm_weight=value["lstm_weight"],
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
        attribution=_read_attribution(value.get("attribution")),
    )


def _read_attribution(value: dict[str, Any] | None) -> Attribution | None:
    if value is None:
        return None
    return Attribution(value["before_tipoff"], tuple(value["minutes"]), value["similar_games"])


def _read_adaptation(value: dict[str, Any] | None) -> Adaptation | None:
    if value is None:
        return None
    return Adaptation(
        mode=AdaptationMode(value["mode"]),
        adapted=Interval(value["adapted_lower"], value["adapted_upper"]),
        static=Interval(value["static_lower"], value["static_upper"]),
        rolling_games=value["rolling_games"],
        rolling_coverage=value["rolling_coverage"],
        static_rolling_coverage=value["static_rolling_coverage"],
    )
