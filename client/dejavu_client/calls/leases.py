"""Lease calls of the synchronous client, generated from aio_leases.py by `make gen`: edit that file instead."""

from __future__ import annotations

from dejavu.ops.v1.lease_service_pb2 import (
    AcquireLeaseRequest,
    AcquireLeaseResponse,
    GetLeaseRequest,
    Lease,
    ReleaseLeaseRequest,
)
from dejavu_client.transport.caller import Caller


class LeaseCalls(Caller):
    """The methods of DejavuClient for leases, which decide which of several programs does a piece of work."""

    def acquire_lease(
        self, name: str, holder: str, ttl: float, *, timeout: float | None = None
    ) -> AcquireLeaseResponse:
        """Acquire or renew a lease. Returns whether the holder has it, and the current lease.

        Args:
            name: name of the lease.
            holder: name of the requesting process; each process needs a name of its own.
            ttl: seconds for which the lease is granted, 1 to 300; count them from the time before this call.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = AcquireLeaseRequest(name=name, holder=holder)
        request.ttl.FromNanoseconds(round(ttl * 1e9))
        return self._unary("AcquireLease", lambda stubs: stubs.leases.AcquireLease, request, timeout)

    def release_lease(self, name: str, holder: str, *, timeout: float | None = None) -> bool:
        """Release a lease; return whether `holder` had it until now.

        Args:
            name: name of the lease.
            holder: name of the process that holds it.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = ReleaseLeaseRequest(name=name, holder=holder)
        response = self._unary("ReleaseLease", lambda stubs: stubs.leases.ReleaseLease, request, timeout)
        return response.released

    def get_lease(self, name: str, *, timeout: float | None = None) -> Lease | None:
        """Return the lease of a name; None if nobody holds it.

        Args:
            name: name of the lease.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = GetLeaseRequest(name=name)
        response = self._unary("GetLease", lambda stubs: stubs.leases.GetLease, request, timeout)
        return response.lease if response.HasField("lease") else None
