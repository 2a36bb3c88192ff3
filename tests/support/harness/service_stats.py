"""Waits for a condition on a server's statistics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dejavu.ops.v1.operations_service_pb2 import GetServiceStatsResponse
from dejavu_client import AsyncDejavuClient


async def stats_when(
    client: AsyncDejavuClient, condition: Callable[[GetServiceStatsResponse], Any]
) -> GetServiceStatsResponse:
    """Return the first statistics that meet a condition."""
    async with asyncio.timeout(30):
        while not condition(stats := await client.get_service_stats()):  # noqa: ASYNC110 - no event says that it changed
            await asyncio.sleep(0.02)
    return stats
