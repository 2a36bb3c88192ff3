"""LeaseService of a real worker: granted, renewed, released."""

from __future__ import annotations

from dejavu_client import AsyncDejavuClient


async def test_a_lease_has_one_holder_until_it_is_released(client: AsyncDejavuClient) -> None:
    first = await client.acquire_lease("poll", "host-a:1", 60.0)
    assert first.acquired
    assert (first.lease.name, first.lease.holder) == ("poll", "host-a:1")
    assert 0 < first.lease.remaining_seconds <= 60
    assert first.lease.expire_time.ToMilliseconds() > first.lease.acquired_time.ToMilliseconds()
    other = await client.acquire_lease("poll", "host-b:2", 60.0)
    assert not other.acquired
    assert other.lease.holder == "host-a:1"
    assert (await client.get_lease("poll") or other.lease).acquired_time == first.lease.acquired_time
    assert await client.release_lease("poll", "host-a:1")
    assert not await client.release_lease("poll", "host-a:1")
    assert await client.get_lease("poll") is None
    assert (await client.acquire_lease("poll", "host-b:2", 60.0)).acquired
