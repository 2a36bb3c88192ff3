"""How unsettled a game is: what is asked is read, what was found is written.

What is read is valid once it is read; a bad field raises the InvalidInput that names it.
"""

from __future__ import annotations

from dejavu.v1.prediction_service_pb2 import AssessRiskRequest, AssessRiskResponse, RiskFactor
from dejavu_models import risk
from dejavu_models.errors import InvalidInput
from dejavu_models.risk import RiskAssessment
from dejavu_models.types import ScorePattern
from dejavu_server.api.converters.market import RISK_LEVEL_VALUES


def risk_request(request: AssessRiskRequest) -> tuple[ScorePattern, int | None]:
    """The pattern asked about, and the points of both teams together, if they were given.

    Raises:
        InvalidPattern, InvalidTotalPoints: if a field cannot be right; in `others`, if the other can't be either.
    """
    total = request.total_points if request.HasField("total_points") else None
    try:
        # Counted before it is read: a message has room for a million slots.
        risk.check_slots(len(request.pattern))
        pattern = ScorePattern(tuple(request.pattern))
    except InvalidInput as error:
        try:
            if total is not None:
                risk.check_total_points(total)
        except InvalidInput as other:
            error.others = (other,)
        raise
    if total is not None:
        risk.check_total_points(total, pattern.last)
    return pattern, total


def risk_message(assessment: RiskAssessment) -> AssessRiskResponse:
    """How unsettled a game is, as the contract's message."""
    return AssessRiskResponse(
        score=assessment.score,
        level=RISK_LEVEL_VALUES[assessment.level],
        factors=[
            RiskFactor(
                name=factor.name,
                value=factor.value,
                unit=factor.unit,
                score=factor.score,
                weight=factor.weight,
                contribution=factor.contribution,
            )
            for factor in assessment.factors
        ],
        warnings=assessment.warnings,
    )
