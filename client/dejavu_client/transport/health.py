"""Health status of a server."""

from __future__ import annotations

import enum

from grpc_health.v1.health_pb2 import HealthCheckResponse

LEDGER = "dejavu.ledger"
"""Name of the health check of the server's ledger. What-ifs work without the ledger."""


class HealthStatus(enum.Enum):
    """Status of a server or one of its services, from the standard gRPC health protocol."""

    UNKNOWN = HealthCheckResponse.UNKNOWN
    SERVING = HealthCheckResponse.SERVING
    NOT_SERVING = HealthCheckResponse.NOT_SERVING

    @classmethod
    def _missing_(cls, value: object) -> HealthStatus:
        """Return UNKNOWN for a status that this client does not know."""
        return cls.UNKNOWN
