"""Converts the parts of a forecast that not every answer has: explanation, quantiles, adaptation, total points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from dejavu.v1 import forecast_pb2
from dejavu_models.types import (
    Adaptation,
    AdaptationMode,
    Explanation,
    Forecast,
    SimilarGame,
    TeamKnowledge,
    TotalForecast,
)

_MODE_VALUES = {mode: forecast_pb2.AdaptationMode.Value(f"ADAPTATION_MODE_{mode.name}") for mode in AdaptationMode}

_TERMS: Final = tuple(forecast_pb2.ExpectedMarginTerms.DESCRIPTOR.fields_by_name)

CourseOf = Callable[[Forecast, SimilarGame], Sequence[float]]
"""Returns the course of a similar game of a forecast; see `Registry.course`."""


def add_parts(
    message: forecast_pb2.Forecast,
    forecast: Forecast,
    *,
    explanation: bool,
    distribution: bool,
    course_of: CourseOf | None,
) -> None:
    """Add the optional parts of a forecast to its message; explanation and distribution only if requested."""
    for each in forecast.quantiles:
        message.quantiles.add(level=each.level, value=each.value)
    if forecast.ratings_date is not None:
        message.ratings_date = forecast.ratings_date.isoformat()
    if forecast.teams_known:
        home, away = forecast.teams_known
        _put_team_known(message.home_known, home)
        _put_team_known(message.away_known, away)
    if explanation and forecast.explanation is not None:
        message.explanation.CopyFrom(_explanation_message(forecast.explanation, forecast, course_of))
    if forecast.adaptation is not None:
        _put_adaptation(message.adaptation, forecast.adaptation)
    if distribution:
        message.distribution.extend(forecast.distribution)
    if forecast.expected_margin_terms is not None:
        terms = forecast.expected_margin_terms
        message.expected_margin_terms.MergeFrom(
            forecast_pb2.ExpectedMarginTerms(**{name: getattr(terms, name) for name in _TERMS})
        )
    if forecast.total is not None:
        message.total.CopyFrom(_total_message(forecast.total, distribution=distribution))


def _put_team_known(message: forecast_pb2.TeamKnowledge, known: TeamKnowledge) -> None:
    message.deviation, message.finals = known.deviation, known.finals
    if known.earlier_date is not None:
        message.earlier_date = known.earlier_date.isoformat()


def _total_message(total: TotalForecast, *, distribution: bool) -> forecast_pb2.TotalForecast:
    return forecast_pb2.TotalForecast(
        point_forecast=total.point,
        interval_lower=total.interval.lower,
        interval_upper=total.interval.upper,
        quantiles=[forecast_pb2.Quantile(level=each.level, value=each.value) for each in total.quantiles],
        expected_total=total.expected_total,
        distribution=total.distribution if distribution else (),
    )


def _explanation_message(
    explanation: Explanation, forecast: Forecast, course_of: CourseOf | None
) -> forecast_pb2.Explanation:
    summary = explanation.similar_summary
    return forecast_pb2.Explanation(
        baseline_prediction=explanation.baseline_prediction,
        similar_games=[
            _similar_game_message(game, () if course_of is None else course_of(forecast, game))
            for game in explanation.similar_games
        ],
        attribution=forecast_pb2.Attribution(
            before_tipoff=explanation.attribution.before_tipoff,
            minutes=explanation.attribution.minutes,
            components=explanation.attribution.components,
        ),
        calibration_games=explanation.calibration_games,
        components=[forecast_pb2.ComponentPrediction(**each._asdict()) for each in explanation.components],
        similar_summary=None if summary is None else forecast_pb2.SimilarSummary(**summary._asdict()),
        contributions=[forecast_pb2.Contribution(**each._asdict()) for each in explanation.contributions],
    )


def _similar_game_message(game: SimilarGame, course: Sequence[float]) -> forecast_pb2.SimilarGame:
    home_points, away_points = game.points or (None, None)
    final_home_points, final_away_points = game.final_points or (None, None)
    return forecast_pb2.SimilarGame(
        label=game.label,
        home_team=game.home_team,
        away_team=game.away_team,
        game_date=game.date.isoformat(),
        distance=game.distance,
        mirrored=game.mirrored,
        differential=game.differential,
        differential_at_horizon=game.differential_at_horizon,
        home_points=home_points,
        away_points=away_points,
        final_home_points=final_home_points,
        final_away_points=final_away_points,
        course=map(int, course),
    )


def _put_adaptation(message: forecast_pb2.Adaptation, adaptation: Adaptation) -> None:
    message.mode = _MODE_VALUES[adaptation.mode]
    message.adapted_lower, message.adapted_upper = adaptation.adapted.lower, adaptation.adapted.upper
    message.static_lower, message.static_upper = adaptation.static.lower, adaptation.static.upper
    if adaptation.rolling_games:
        message.rolling_games = adaptation.rolling_games
    if adaptation.rolling_coverage is not None:
        message.rolling_coverage = adaptation.rolling_coverage
    if adaptation.static_rolling_coverage is not None:
        message.static_rolling_coverage = adaptation.static_rolling_coverage
