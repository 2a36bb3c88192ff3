"""Converts issued forecasts to messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dejavu.v1 import forecast_pb2
from dejavu_feed import live_inputs
from dejavu_feed import moment as moments
from dejavu_ledger.records import IssuedForecast, LateReason
from dejavu_models.types import (
    AdaptationMode,
    ExpectedMarginTerms,
    Explanation,
    Forecast,
    SimilarGame,
    TeamKnowledge,
    TotalForecast,
)
from dejavu_server.api.converters.fields import HORIZON_VALUES, set_timestamp
from dejavu_server.api.converters.forecast_warnings import forecast_warnings
from dejavu_server.api.converters.line_origin import put_issued_origin

_MODE_VALUES = {mode: forecast_pb2.AdaptationMode.Value(f"ADAPTATION_MODE_{mode.name}") for mode in AdaptationMode}

_LATE_VALUES = {reason: forecast_pb2.LateReason.Value(f"LATE_REASON_{reason.name}") for reason in LateReason}

CourseOf = Callable[[Forecast, SimilarGame], Sequence[float]]
"""Returns the course of a similar game of a forecast; see `ServingModels.course`."""


def forecast_message(
    issued: IssuedForecast, *, explanation: bool, distribution: bool = False, course_of: CourseOf | None = None
) -> forecast_pb2.Forecast:
    """Convert an issued forecast to a message; see `put_forecast`."""
    message = forecast_pb2.Forecast()
    put_forecast(message, issued, explanation=explanation, distribution=distribution, course_of=course_of)
    return message


def put_forecast(
    message: forecast_pb2.Forecast,
    issued: IssuedForecast,
    *,
    explanation: bool,
    distribution: bool = False,
    course_of: CourseOf | None = None,
) -> None:
    """Write an issued forecast to an empty message, such as a part of another one, which saves a copy.

    Explanation, distribution and courses of similar games are optional.
    """
    forecast = issued.forecast
    message.horizon = HORIZON_VALUES[forecast.horizon]
    message.elapsed_minutes = forecast.elapsed_minutes
    message.alpha = forecast.alpha
    message.point_forecast = forecast.point
    message.interval_lower = forecast.interval.lower
    message.interval_upper = forecast.interval.upper
    message.coverage_probability = 1.0 - forecast.alpha
    message.home_lead_probability = forecast.home_lead_probability
    message.model_version = forecast.model_version
    set_timestamp(message.generated_time, issued.generated_time)
    set_timestamp(message.expires_time, issued.expires_time)
    message.game_date = issued.day.isoformat()
    # Setting a field to its default costs as much as any value, so rare fields are set only if the forecast has them.
    if issued.game_id:
        _put_place(message, issued)
    _put_strengths(message, issued)
    _put_learned(message, forecast)
    live_inputs.put(message, issued.live)
    if forecast.moment is not None:
        moments.put(message, forecast.moment)
    if forecast.warnings or issued.recomputed is not None or issued.recomputed_total is not None:
        message.warnings.extend(forecast_warnings(issued))
    for each in forecast.quantiles:
        message.quantiles.add(level=each.level, value=each.value)
    if explanation and forecast.explanation is not None:
        message.explanation.CopyFrom(_explanation_message(forecast.explanation, forecast, course_of))
    if distribution:
        message.distribution.extend(forecast.distribution)
    if forecast.total is not None:
        message.total.CopyFrom(_total_message(forecast.total, distribution=distribution))


def _put_place(message: forecast_pb2.Forecast, issued: IssuedForecast) -> None:
    """Write the game of a forecast, and its place in the ledger."""
    message.game_id = issued.game_id
    if issued.sequence:
        message.sequence = issued.sequence
    if issued.revision:
        message.revision = issued.revision
    if issued.late is not None:
        message.late = _LATE_VALUES[issued.late]


def _put_strengths(message: forecast_pb2.Forecast, issued: IssuedForecast) -> None:
    """Write the teams, and what is known about their strengths."""
    forecast = issued.forecast
    if issued.home_team or issued.away_team:
        message.home_team = issued.home_team
        message.away_team = issued.away_team
        message.finals_since = forecast.finals_since
    if forecast.expected_margin is not None:
        message.expected_margin = forecast.expected_margin
        put_issued_origin(message, issued)
    if forecast.expected_margin_terms is not None:
        _put_margin_terms(message.expected_margin_terms, forecast.expected_margin_terms)
    if forecast.ratings_date is not None:
        message.ratings_date = forecast.ratings_date.isoformat()
    if forecast.teams_known:
        home, away = forecast.teams_known
        _put_team_known(message.home_known, home)
        _put_team_known(message.away_known, away)


def _put_margin_terms(message: forecast_pb2.ExpectedMarginTerms, terms: ExpectedMarginTerms) -> None:
    # Named, since a loop over the names takes a microsecond longer, of the eight of all fields.
    message.strength_difference = terms.strength_difference
    message.home_advantage = terms.home_advantage
    message.schedule = terms.schedule
    message.playoffs = terms.playoffs
    message.altitude = terms.altitude
    message.schedule_known = terms.schedule_known
    message.usual_players = terms.usual_players
    message.missing_players = terms.missing_players
    message.home_missing = terms.home_missing
    message.away_missing = terms.away_missing


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


def _put_learned(target: forecast_pb2.Forecast, forecast: Forecast) -> None:
    """Write what the model has learned from outcomes."""
    if forecast.calibration_sequence:
        target.calibration_sequence = forecast.calibration_sequence
    adaptation = forecast.adaptation
    if adaptation is None:
        return
    message = target.adaptation
    message.mode = _MODE_VALUES[adaptation.mode]
    message.adapted_lower, message.adapted_upper = adaptation.adapted.lower, adaptation.adapted.upper
    message.static_lower, message.static_upper = adaptation.static.lower, adaptation.static.upper
    if adaptation.rolling_games:
        message.rolling_games = adaptation.rolling_games
    if adaptation.rolling_coverage is not None:
        message.rolling_coverage = adaptation.rolling_coverage
    if adaptation.static_rolling_coverage is not None:
        message.static_rolling_coverage = adaptation.static_rolling_coverage
