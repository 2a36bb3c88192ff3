"""What a server says about its health."""

from __future__ import annotations

import enum

from grpc_health.v1.health_pb2 import HealthCheckResponse

CHECK = "/grpc.health.v1.Health/Check"

LEDGER = "dejavu.ledger"
"""The name under which a server tells whether its ledger can be used; what-ifs are answered without."""


class HealthStatus(enum.Enum):
    """Whether a server, or one of its services, takes calls: the standard health protocol's answers."""

    UNKNOWN = HealthCheckResponse.UNKNOWN
    SERVING = HealthCheckResponse.SERVING
    NOT_SERVING = HealthCheckResponse.NOT_SERVING

    @classmethod
    def of(cls, response: HealthCheckResponse) -> HealthStatus:
        """The status in an answer; one that this client does not know counts as UNKNOWN."""
        try:
            return cls(response.status)
        except ValueError:
            return cls.UNKNOWN
