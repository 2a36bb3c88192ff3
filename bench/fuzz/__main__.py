"""Fuzzes all methods of a server with mutated and random messages, and checks that nothing breaks.

    python -m bench.fuzz --messages 100000 --seed 1          # starts its own server, with two workers
    python -m bench.fuzz --only 4711 --seed 1                # repeats one message of that run
    python -m bench.fuzz --address 127.0.0.1:50051           # uses a running server; cannot check its log

Sends many messages at a time over several connections: as usual calls, with deadlines that cannot be met, cancelled,
without a message, and on connections that are cut or do not speak HTTP/2. Checks: no worker dies; every call ends; no
code blames the server; no response and no log contains a traceback; each answer is finite, with lower ≤ point ≤ upper
and probabilities in [0, 1]; each error says what was expected; memory (PSS) does not grow by more than the margin from
the first third of the run to its end. If a check fails, prints the message and exits with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil
from bench.fuzz import wire
from bench.fuzz.checks import TRACES, wrong_with_answer, wrong_with_status
from bench.fuzz.messages import PREDICT, STREAM, Case, Manner, case, valid
from bench.result import Result, program
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb

CONNECTIONS = 8
CALLERS = 32
DEADLINE_SECONDS = 60.0
"""Deadline of a patient call; no call takes that long, even on a busy machine."""

HANG_SECONDS = 30.0
"""Seconds that a call may take to end after its deadline or cancellation."""

MUTE_SECONDS = 0.05
"""Deadline of a call without a message; gRPC waits for one until then."""

START_SECONDS = 120.0
"""Seconds that the server may take to start, on a busy machine."""

MARGIN_MEBIBYTES = 24.0
"""Allowed growth of a worker's memory after the first third of a run, in MiB."""

MOST_BREACHES = 10
"""Breaches after which a run stops."""


@dataclass
class FuzzResult(Result):
    """Results of a run.

    Attributes:
        seed: seed of the messages.
        codes: number of calls by method and code.
        memory: worker → its PSS in MiB after each third of the run.
        broken: descriptions of failed checks.
    """

    seed: int
    codes: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[float]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def breaches(self) -> list[str]:
        """Return the failed checks."""
        return self.broken[:MOST_BREACHES]

    def report(self) -> str:
        """Return the number of calls by method and code, and the memory of each worker."""
        lines = [f"{name:40} {number:,}" for name, number in sorted(self.codes.items())]
        for worker, sizes in sorted(self.memory.items()):
            lines.append(f"worker {worker}: {' → '.join(f'{size:.1f}' for size in sizes)} MiB (PSS after each third)")
        return "\n".join(lines)

    def breach(self, sent: Case, what: str) -> None:
        """Add a failed check, with the command that reproduces it."""
        body = sent.body.hex() if len(sent.body) <= 2000 else f"{sent.body[:2000].hex()}… ({len(sent.body)} bytes)"
        self.broken.append(
            f"{what}\n    message {sent.number} of seed {self.seed}: {sent.rpc.path}, {sent.manner.value}: {body}"
            f"\n    reproduce: python -m bench.fuzz --seed {self.seed} --only {sent.number}"
        )


class Run:
    """Sends messages to a server.

    Args:
        address: HOST:PORT of the server.
        result: receives codes, memory and failed checks.
    """

    def __init__(self, address: str, result: FuzzResult) -> None:
        self.address = address
        self.result = result
        self.workers = set[str]()
        self.token = ""


class Outcome(NamedTuple):
    """Status of a call, and its faults; empty if there are none."""

    code: str
    wrong: str = ""


async def send_case(run: Run, channel: grpc.aio.Channel, sent: Case) -> None:
    """Send one message in its manner and check the result."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS + HANG_SECONDS):
            if sent.manner is Manner.BROKEN:
                outcome = await _send_broken(run, sent)
            elif sent.manner is Manner.HANG_UP:
                async with dialled(run.address) as own:
                    outcome = await _call(run, own, sent)
            else:
                outcome = await _call(run, channel, sent)
    except TimeoutError:
        outcome = Outcome("HANG", f"no end {HANG_SECONDS:g} s after the deadline")
    except OSError as error:
        outcome = Outcome("NO CONNECTION", f"no connection: {error}")
    run.result.codes[f"{sent.rpc.name} {outcome.code}"] += 1
    if outcome.wrong:
        run.result.breach(sent, outcome.wrong)


async def _call(run: Run, channel: grpc.aio.Channel, sent: Case) -> Outcome:
    """Call a method of any kind as unary-stream; they are the same on the wire."""
    patient = sent.manner is Manner.PATIENT
    timeout = {Manner.HURRIED: sent.moment, Manner.MUTE: MUTE_SECONDS}.get(sent.manner, DEADLINE_SECONDS)
    if sent.manner is Manner.MUTE:
        opened: Any = channel.stream_stream(sent.rpc.path)
        call = opened(iter(()), timeout=timeout)
    else:
        opened = channel.unary_stream(sent.rpc.path)
        call = opened(sent.body, timeout=timeout)
    if sent.manner in {Manner.FICKLE, Manner.HANG_UP}:
        await asyncio.sleep(sent.moment)
        if sent.manner is Manner.FICKLE:
            call.cancel()
        else:
            await channel.close()
    limit = sent.read if sent.rpc.streams else 2
    responses, error = await _read(call, limit)
    # A stream that was read up to the limit is cancelled here; that is not a failure.
    code = grpc.StatusCode.OK if len(responses) == limit else await call.code()
    wrong = next(filter(None, (wrong_with_answer(sent.rpc, sent.body, response) for response in responses)), "")
    if error is not None:
        wrong = wrong or wrong_with_status(sent.rpc, error, patient=patient)
    elif responses and not sent.rpc.streams:
        run.workers.add(str((await call.trailing_metadata()).get("dejavu-worker", "")))
    return Outcome(code.name, wrong)


async def _read(call: Any, limit: int) -> tuple[list[bytes], grpc.aio.AioRpcError | None]:
    """Return the first responses of a call and its error, if any; ends the call."""
    responses: list[bytes] = []
    try:
        while len(responses) < limit:
            response = await call.read()
            if response is grpc.aio.EOF:
                return responses, None
            responses.append(response)
    except grpc.aio.AioRpcError as error:
        return responses, error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # the task was cancelled, not the call
            raise
    call.cancel()
    return responses, None


async def _send_broken(run: Run, sent: Case) -> Outcome:
    """Send a message over a broken connection."""
    data = wire.broken(sent.rng, sent.rpc.path, sent.body[:60_000])
    host, _, port = run.address.rpartition(":")
    received = await wire.send(host, int(port), data, abort=sent.rng.random() < 0.3, seconds=0.02 + sent.moment)
    # Errors of HTTP/2 or gRPC itself may be INTERNAL; these texts come from the server's own code.
    at_fault = any(text in received for text in (b"internal error", b"Invalid metadata", b"Traceback"))
    return Outcome("(broken)", f"a fault of the server: {received!r}" if at_fault else "")


@contextlib.asynccontextmanager
async def dialled(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """Open a separate connection."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


async def _token(channel: grpc.aio.Channel) -> str:
    """Return a resume token of the server."""
    opened: Any = channel.unary_stream(STREAM.path)
    stream = opened(b"", timeout=DEADLINE_SECONDS)
    event = pb.StreamPredictionsResponse.FromString(await stream.read())
    stream.cancel()
    return event.resume_token


async def send_all(run: Run, numbers: Sequence[int]) -> None:
    """Send the messages with these numbers, many at a time, and measure the server's memory after each third."""
    async with contextlib.AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(dialled(run.address)) for _ in range(CONNECTIONS)]
        run.token = await _token(channels[0])
        third = max(1, -(-len(numbers) // 3))
        for start in range(0, len(numbers), third):
            waiting = iter(numbers[start : start + third])
            async with asyncio.TaskGroup() as callers:
                for channel in itertools.islice(itertools.cycle(channels), CALLERS):
                    callers.create_task(_caller(run, channel, waiting))
            await _still_answers(run)
            _measure_memory(run)


async def _caller(run: Run, channel: grpc.aio.Channel, numbers: Iterator[int]) -> None:
    for number in numbers:
        if len(run.result.broken) >= MOST_BREACHES:
            return
        await send_case(run, channel, case(run.result.seed, number, run.token))


async def _still_answers(run: Run) -> None:
    """Check that valid requests over new connections are still answered."""
    for number in range(CONNECTIONS):
        drawn = case(run.result.seed, number)
        request = valid(drawn.rng, pb.PredictRequest)
        assert isinstance(request, pb.PredictRequest)
        request.game_id = f"99001{number:05d}"  # no message reports an outcome of it
        plain = Case(number, PREDICT, request.SerializeToString(), Manner.PATIENT, 0.0, 1, drawn.rng)
        async with dialled(run.address) as channel:
            outcome = await _call(run, channel, plain)
            if outcome.code != "OK":
                run.result.breach(plain, f"a valid request fails: {outcome.code} {outcome.wrong}")


def _measure_memory(run: Run) -> None:
    for worker in run.workers:
        with contextlib.suppress(psutil.Error, ValueError):  # the worker is on another machine
            pss = psutil.Process(int(worker.partition("-")[2])).memory_full_info().pss
            run.result.memory.setdefault(worker, []).append(pss / 2**20)


def look_back(result: FuzzResult, server: SpawnedServer | None) -> None:
    """Run the checks that are only possible at the end of a run: dead workers, log, memory."""
    for worker, (early, *_, late) in ((worker, sizes) for worker, sizes in result.memory.items() if len(sizes) > 1):
        if late - early > MARGIN_MEBIBYTES:
            result.broken.append(f"worker {worker} grew by {late - early:.1f} MiB, more than {MARGIN_MEBIBYTES:g}")
    if server is None:
        return
    if code := server.stop():
        result.broken.append(f"the server ended with exit code {code}")
    for entry in server.events:
        if entry["event"] in {"worker_died", "call_failed", "batch_item_failed"} or "exception" in entry:
            result.broken.append(f"in the server's log: {json.dumps(entry)}")
    for line in server.other_lines:
        if any(trace in line for trace in TRACES[:2]):
            result.broken.append(f"in the server's log: {line}")


def fuzz(options: argparse.Namespace, folder: Path) -> FuzzResult:
    """Run once."""
    numbers = range(options.messages) if options.only < 0 else range(options.only, options.only + 1)
    result = FuzzResult(options.seed)
    with contextlib.ExitStack() as stack:
        server, address = None, options.address
        if not address:
            arguments = ("--workers", "2", "--ledger", f"sqlite:///{folder}/ledger.sqlite3")
            environment = {"DEJAVU_HEARTBEAT_SECONDS": "0.05"}
            server = stack.enter_context(spawned_server(*arguments, environment=environment))
            address = str(server.wait_for("listening", seconds=START_SECONDS)["address"])
        asyncio.run(send_all(Run(address, result), numbers))
        look_back(result, server)
    return result


if __name__ == "__main__":
    sys.exit(program(__doc__, fuzz, messages=5000, only=-1, address=""))
