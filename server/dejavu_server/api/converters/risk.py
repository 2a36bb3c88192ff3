"""Reads risk requests and writes risk assessments.

Readers return only valid values; an invalid field raises an InvalidInput that names it.
"""

from __future__ import annotations

from dejavu.v1.prediction_service_pb2 import AssessRiskRequest, AssessRiskResponse, RiskFactor
from dejavu_models import risk
from dejavu_models.errors import FieldErrors
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.risk import RiskAssessment
from dejavu_server.api.converters.fields import message_of
from dejavu_server.api.converters.market import RISK_LEVEL_VALUES


def risk_request(request: AssessRiskRequest) -> tuple[ScorePattern, int | None]:
    """Reads the pattern and the combined points of both teams; None if the request has no points.

    Raises:
        InvalidPattern, InvalidTotalPoints: if a field is invalid; `others` has the error of the other field.
    """
    faults = FieldErrors()
    pattern = faults.read(_pattern, ScorePattern((0.0,)), request)
    total = request.total_points if request.HasField("total_points") else None
    if total is not None:
        faults.read(risk.check_total_points, None, total, pattern.last)
    faults.raise_first()
    return pattern, total


def _pattern(request: AssessRiskRequest) -> ScorePattern:
    risk.check_slots(len(request.pattern))  # before the copy: a message can hold a million slots
    return ScorePattern(tuple(request.pattern))


def risk_message(assessment: RiskAssessment) -> AssessRiskResponse:
    """Converts a risk assessment to a message."""
    return AssessRiskResponse(
        score=assessment.score,
        level=RISK_LEVEL_VALUES[assessment.level],
        factors=[message_of(RiskFactor, factor) for factor in assessment.factors],
        warnings=assessment.warnings,
    )
