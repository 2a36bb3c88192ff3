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
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from bench.fuzz import wire
from bench.fuzz.checks import TRACES, wrong_with_answer, wrong_with_status
from bench.fuzz.messages import PREDICT, STREAM, Case, Manner, case, valid
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME

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
class Run:
    """State of a run.

    Attributes:
        host, port: the server's address.
        seed: seed of the messages.
        codes: number of calls by (method, code).
        breaches: descriptions of failed checks.
        workers: ids of the workers that answered.
        memory: worker → its PSS in MiB after each third of the run.
        token: a resume token of the server.
    """

    host: str
    port: int
    seed: int
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)
    memory: dict[str, list[float]] = field(default_factory=dict)
    token: str = ""

    @property
    def address(self) -> str:
        """HOST:PORT of the server."""
        return f"{self.host}:{self.port}"

    def breach(self, sent: Case, what: str) -> None:
        """Add a failed check, with the command that reproduces it."""
        body = sent.body.hex() if len(sent.body) <= 2000 else f"{sent.body[:2000].hex()}… ({len(sent.body)} bytes)"
        self.breaches.append(
            f"{what}\n    message {sent.number} of seed {self.seed}: {sent.rpc.path}, {sent.manner.value}: {body}"
            f"\n    reproduce: python -m bench.fuzz --seed {self.seed} --only {sent.number}"
        )


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
    run.codes[sent.rpc.name, outcome.code] += 1
    if outcome.wrong:
        run.breach(sent, outcome.wrong)


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
    received = await wire.send(run.host, run.port, data, abort=sent.rng.random() < 0.3, seconds=0.02 + sent.moment)
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
        if len(run.breaches) >= MOST_BREACHES:
            return
        await send_case(run, channel, case(run.seed, number, run.token))


async def _still_answers(run: Run) -> None:
    """Check that valid requests over new connections are still answered."""
    for number in range(CONNECTIONS):
        drawn = case(run.seed, number)
        request = valid(drawn.rng, PREDICT, "")
        assert isinstance(request, pb.PredictRequest)
        request.game_id = f"99001{number:05d}"  # no message reports an outcome of it
        request.horizon = request.horizon or HORIZON_HALFTIME
        plain = Case(number, PREDICT, request.SerializeToString(), Manner.PATIENT, 0.0, 1, drawn.rng)
        async with dialled(run.address) as channel:
            outcome = await _call(run, channel, plain)
            if outcome.code != "OK":
                run.breach(plain, f"a valid request fails: {outcome.code} {outcome.wrong}")


def _measure_memory(run: Run) -> None:
    for worker in run.workers:
        with contextlib.suppress(OSError, ValueError):  # the worker is on another machine
            rollup = Path(f"/proc/{int(worker.partition('-')[2])}/smaps_rollup").read_text()
            kibibytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            run.memory.setdefault(worker, []).append(kibibytes / 1024)


def look_back(run: Run, server: SpawnedServer | None) -> None:
    """Run the checks that are only possible at the end of a run: dead workers, log, memory."""
    for worker, (early, *_, late) in ((worker, sizes) for worker, sizes in run.memory.items() if len(sizes) > 1):
        if late - early > MARGIN_MEBIBYTES:
            run.breaches.append(
                f"worker {worker} grew from {early:.1f} to {late:.1f} MiB, more than {MARGIN_MEBIBYTES:g}"
            )
    if server is None:
        return
    for entry in server.events:
        if entry["event"] in {"worker_died", "call_failed", "batch_item_failed"} or "exception" in entry:
            run.breaches.append(f"in the server's log: {json.dumps(entry)}")
    for line in server.other_lines:
        if any(trace in line for trace in TRACES[:2]):
            run.breaches.append(f"in the server's log: {line}")


def print_report(run: Run, messages: int, seconds: float) -> None:
    """Print the codes of each method, the memory and the breaches."""
    methods = sorted({method for method, _ in run.codes})
    codes = sorted({code for _, code in run.codes})
    print(f"{messages} messages of seed {run.seed} in {seconds:.0f} s\n")
    print(f"{'':<22}" + "".join(f"{method:>14}" for method in methods))
    for code in codes:
        print(f"{code:<22}" + "".join(f"{run.codes[method, code] or '':>14}" for method in methods))
    print()
    for worker, sizes in sorted(run.memory.items()):
        steps = " → ".join(f"{size:.1f}" for size in sizes)
        print(f"worker {worker}: {steps} MiB (PSS after each third; may grow by {MARGIN_MEBIBYTES:g} from the first)")
    for breach in run.breaches[:MOST_BREACHES]:
        print(f"\nBREACH: {breach}")
    print("\nNothing gave way." if not run.breaches else f"\n{len(run.breaches)} breaches.")


def fuzz(options: argparse.Namespace) -> int:
    """Run once; return the exit code."""
    numbers = range(options.messages) if options.only is None else range(options.only, options.only + 1)
    with contextlib.ExitStack() as stack:
        server = None
        address = options.address
        if not address:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dejavu-fuzz-"))
            ledger = f"sqlite:///{folder}/ledger.sqlite3"
            server = stack.enter_context(
                spawned_server(
                    *("--workers", "2", "--ledger", ledger),
                    environment={"DEJAVU_HEARTBEAT_SECONDS": "0.05"},
                )
            )
            address = str(server.wait_for("listening", seconds=START_SECONDS)["address"])
        host, _, port = address.rpartition(":")
        run = Run(host, int(port), options.seed)
        start = time.monotonic()
        asyncio.run(send_all(run, numbers))
        seconds = time.monotonic() - start
        if server is not None and (code := server.stop()):
            run.breaches.append(f"the server ended with exit code {code}")
        look_back(run, server)
    print_report(run, len(numbers), seconds)
    if options.json:
        figures = {
            "messages": len(numbers),
            "seed": run.seed,
            "seconds": seconds,
            "codes": {f"{method} {code}": count for (method, code), count in sorted(run.codes.items())},
            "memory_mebibytes": run.memory,
            "breaches": run.breaches,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if run.breaches else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000, help="number of messages to send (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the messages (default: %(default)s)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="send only this message of the seed")
    parser.add_argument("--address", default="", metavar="HOST:PORT", help="a running server (default: starts one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE as JSON")
    return fuzz(parser.parse_args(arguments))
