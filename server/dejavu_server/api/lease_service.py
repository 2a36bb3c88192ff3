"""LeaseService: grants leases from the ledger's database. The interceptor maps errors to statuses."""

from __future__ import annotations

from functools import partial

from dejavu.ops.v1 import lease_service_pb2 as pb
from dejavu_ledger.ledger import CurrentLedger
from dejavu_server.api.converters.fields import message_of
from dejavu_server.coordination import leases
from dejavu_server.limits import Caller

LEASE_SERVICE = pb.DESCRIPTOR.services_by_name["LeaseService"]


class LeaseService:
    """Grants leases.

    Args:
        ledger: the ledger whose database contains them.
    """

    def __init__(self, ledger: CurrentLedger) -> None:
        self._ledger = ledger

    async def acquire_lease(self, request: pb.AcquireLeaseRequest, caller: Caller) -> pb.AcquireLeaseResponse:
        """Grant or renew a lease."""
        name, holder = leases.check_free_name(request.name, "name"), leases.check_name(request.holder, "holder")
        ttl = leases.time_span(request.ttl_seconds)
        grant = partial(leases.acquire, name=name, holder=holder, caller=caller.identity, ttl=ttl)
        acquired, lease = await self._ledger().write(grant, caller.turn)
        return pb.AcquireLeaseResponse(acquired=acquired, lease=_message(lease))

    async def release_lease(self, request: pb.ReleaseLeaseRequest, caller: Caller) -> pb.ReleaseLeaseResponse:
        """End a lease."""
        name, holder = leases.check_free_name(request.name, "name"), leases.check_name(request.holder, "holder")
        release = partial(leases.release, name=name, holder=holder, caller=caller.identity)
        return pb.ReleaseLeaseResponse(released=await self._ledger().write(release, caller.turn))

    async def get_lease(self, request: pb.GetLeaseRequest, _: Caller) -> pb.GetLeaseResponse:
        """Return the current lease."""
        name = leases.check_name(request.name, "name")
        lease = await self._ledger().read(partial(leases.standing, name=name))
        return pb.GetLeaseResponse(lease=None if lease is None else _message(lease))


def _message(lease: leases.Lease) -> pb.Lease:
    return message_of(pb.Lease, lease, remaining_seconds=lease.remaining.total_seconds())
