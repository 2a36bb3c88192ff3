"""Publishes every recorded forecast and outcome to a stream of NATS JetStream, each at least once, in order.

python examples/python/bridge_nats.py       (server: DEJAVU_TARGET; broker: NATS_URL, default nats://127.0.0.1:4222)

Needs nats-py. Subjects are dejavu.forecasts.GAME and dejavu.outcomes.GAME; payloads are the contract's messages, as
protobuf. The resume token is kept in a key-value bucket of the broker, after the broker has confirmed the event: a
bridge that dies, here or on another machine, goes on where the token is. What it then publishes again has the same
Nats-Msg-Id, by which JetStream drops repetitions of the last two minutes, and consumers know later ones. The sequence
does not tell them: a ledger that was restored from a backup gives numbers again. Run one bridge at a time. Stop it with
Ctrl-C.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable

import nats
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import KeyNotFoundError

from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu_client import AsyncDejavuClient, InvalidArgumentError, OutOfRangeError

STREAM, BUCKET, KEY = "dejavu", "dejavu-bridge", "resume-token"


async def persistently(operation: Callable[[], Awaitable[object]]) -> None:
    """Repeat an operation of the broker until it succeeds: the broker may restart, and the ledger keeps the events."""
    while True:
        try:
            await operation()
        except (nats.errors.Error, nats.js.errors.Error) as error:
            print(f"the broker does not answer: {error!r}", file=sys.stderr)
            await asyncio.sleep(1)
        else:
            return


async def publish(js: JetStreamContext, event: StreamPredictionsResponse) -> None:
    """Publish an event; return once the broker has stored it."""
    for kind in ("forecast", "outcome"):
        if event.HasField(kind):
            message = getattr(event, kind)
            headers = {"Nats-Msg-Id": event.resume_token}  # of the ledger, its epoch and the sequence
            subject = f"dejavu.{kind}s.{message.game_id}"
            payload = message.SerializeToString()
            await persistently(lambda: js.publish(subject, payload, stream=STREAM, headers=headers))  # noqa: B023


async def bridge(client: AsyncDejavuClient, js: JetStreamContext, token: str) -> None:
    """Publish the events after a token; without one, all of the last 12 hours' newest forecasts and what follows."""
    bucket = await js.create_key_value(bucket=BUCKET, history=1)
    async for event in client.stream_predictions(resume_token=token, include_current=True, heartbeats=True):
        await publish(js, event)
        stored = event.resume_token.encode()
        await persistently(lambda: bucket.put(KEY, stored))  # noqa: B023


async def main() -> None:
    """Bridge until an error; start without the token if it has expired."""
    target = os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")
    broker = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), max_reconnect_attempts=-1)
    js = broker.jetstream(timeout=60.0)
    await js.add_stream(StreamConfig(name=STREAM, subjects=[f"{STREAM}.>"]))
    bucket = await js.create_key_value(bucket=BUCKET, history=1)
    try:
        token = ((await bucket.get(KEY)).value or b"").decode()
    except KeyNotFoundError:
        token = ""
    async with AsyncDejavuClient(target) as client:
        try:
            await bridge(client, js, token)
        # The ledger was restored or is another one: events may be missing.
        except (OutOfRangeError, InvalidArgumentError) as error:
            print(f"restarting without a token: {error}", file=sys.stderr)
            await bridge(client, js, "")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
