"""A broadcaster on a ledger, and subscribers that read it message by message."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.support.harness.tokens import token_of

from dejavu.v1 import forecast_pb2, record_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_ledger import Ledger
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_server.streaming.broadcaster import Broadcaster

ALL = frozenset[str]()


def encode(forecast: IssuedForecast) -> forecast_pb2.Forecast:
    return forecast_pb2.Forecast(
        game_id=forecast.game_id, sequence=forecast.sequence, point_forecast=forecast.forecast.point
    )


def encode_outcome(outcome: ReportedOutcome) -> record_pb2.Outcome:
    return record_pb2.Outcome(game_id=outcome.game_id, sequence=outcome.sequence, differential=outcome.differential)


new_broadcaster = partial(Broadcaster, encode=encode, encode_outcome=encode_outcome)
"""Creates a broadcaster on a ledger without starting it; other arguments by keyword."""


@asynccontextmanager
async def started(ledger: Ledger, *, heartbeat_seconds: float = 3600.0) -> AsyncIterator[Broadcaster]:
    broadcaster = new_broadcaster(ledger, heartbeat_seconds=heartbeat_seconds)
    await broadcaster.start()
    try:
        yield broadcaster
    finally:
        await broadcaster.close()


class Subscriber:
    """Reads a stream message by message, like a client."""

    def __init__(
        self,
        broadcaster: Broadcaster,
        game_ids: frozenset[str] = ALL,
        token: str = "",
        current: bool = False,
        caller: str = "",
    ) -> None:
        self.stream: AsyncGenerator[bytes, None] = broadcaster.subscribe(game_ids, token, current, caller)

    async def next(self) -> pb.StreamPredictionsResponse:
        return pb.StreamPredictionsResponse.FromString(await anext(self.stream))

    async def heartbeat(self) -> str:
        """Read the next message, which must be a heartbeat; return its token."""
        message = await self.next()
        assert message.WhichOneof("event") == "heartbeat"
        assert abs(message.heartbeat.sent_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
        return message.resume_token

    async def forecasts(self, count: int) -> list[int]:
        """Return the sequences of the next `count` forecasts; skip heartbeats."""
        sequences: list[int] = []
        while len(sequences) < count:
            message = await self.next()
            if message.WhichOneof("event") == "forecast":
                sequences.append(message.forecast.sequence)
        return sequences

    async def __aenter__(self) -> Subscriber:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()


async def reached(ledger: Ledger, broadcaster: Broadcaster, sequence: int) -> None:
    """Wait until the broadcaster has sent the entry at a sequence to subscribers of all games."""
    async with Subscriber(broadcaster, token=await token_of(ledger, sequence - 1)) as last:
        assert await last.forecasts(1) == [sequence]
