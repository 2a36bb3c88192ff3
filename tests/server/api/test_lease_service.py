"""LeaseService of a real worker: granted, renewed, released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.processes.servers import async_worker

from dejavu_client import AsyncDejavuClient, FailedPreconditionError
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.coordination.leases import MAX_LEASES_OF_CALLER
from dejavu_server.worker.worker import Worker


@pytest.fixture
async def holder(worker: Worker) -> AsyncIterator[AsyncDejavuClient]:
    async with AsyncDejavuClient(worker.address, timeout=30.0) as client:
        yield client


async def test_a_lease_has_one_holder_until_it_is_released(holder: AsyncDejavuClient) -> None:
    first = await holder.acquire_lease("poll", "host-a:1", 60.0)
    assert first.acquired
    assert (first.lease.name, first.lease.holder) == ("poll", "host-a:1")
    assert 0 < first.lease.remaining_seconds <= 60
    assert first.lease.expire_time.ToMilliseconds() > first.lease.acquired_time.ToMilliseconds()
    other = await holder.acquire_lease("poll", "host-b:2", 60.0)
    assert not other.acquired
    assert other.lease.holder == "host-a:1"
    assert (await holder.get_lease("poll") or other.lease).acquired_time == first.lease.acquired_time
    assert await holder.release_lease("poll", "host-a:1")
    assert not await holder.release_lease("poll", "host-a:1")
    assert await holder.get_lease("poll") is None
    assert (await holder.acquire_lease("poll", "host-b:2", 60.0)).acquired


async def test_an_expired_lease_of_anybody_counts_as_a_new_one_of_its_caller(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    many, poller = (token_file.create(path, name, tuple(AccessScope), utc_now()) for name in ("many", "poller"))
    async with (
        async_worker(tmp_path, tokens=str(path)) as worker,
        AsyncDejavuClient(worker.address, metadata=[("authorization", f"Bearer {many}")]) as greedy,
        AsyncDejavuClient(worker.address, metadata=[("authorization", f"Bearer {poller}")]) as other,
    ):
        for number in range(MAX_LEASES_OF_CALLER):
            assert (await greedy.acquire_lease(f"lease-{number}", "a", 60.0)).acquired
        assert (await other.acquire_lease("poll", "b", 1.0)).acquired
        while await other.get_lease("poll") is not None:  # noqa: ASYNC110 - until it expires
            await asyncio.sleep(0.05)
        with pytest.raises(FailedPreconditionError, match="the caller has 8 leases") as refused:
            await greedy.acquire_lease("poll", "a", 60.0)
        assert refused.value.reason == "TOO_MANY_LEASES"
        assert (await greedy.acquire_lease("lease-0", "a", 60.0)).acquired, "it is renewed"
        assert (await other.acquire_lease("poll", "b", 60.0)).acquired
