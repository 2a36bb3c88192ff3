"""Finals that the models of a server have learned from."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.builders.calls import PATTERN

from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client import FINAL, AsyncDejavuClient


async def learned(client: AsyncDejavuClient, game_id: str, differential: int, **fields: Any) -> ReportOutcomeResponse:
    """Report a final, and wait until the model has learned it; return the answer."""
    report = await client.report_outcome(game_id, differential, horizon=FINAL, **fields)
    await until_learned(client, report)
    return report


async def until_learned(client: AsyncDejavuClient, report: ReportOutcomeResponse) -> None:
    """Wait until the model of a worker has learned a final that was reported, perhaps to another worker."""
    async with asyncio.timeout(20):
        while (await client.predict(PATTERN)).calibration_sequence < report.outcome.sequence:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)
