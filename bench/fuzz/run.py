"""Sends a server mutated and random messages over every method, and sees whether anything gives way.

    python -m bench.fuzz --messages 100000 --seed 1          # against a server of its own, with two workers
    python -m bench.fuzz --only 4711 --seed 1                # one message of that run again
    python -m bench.fuzz --address 127.0.0.1:50051           # against a server that runs: without its log

The messages come over several connections, many at a time: in peace, with deadlines that cannot be met, cancelled,
without an end, on connections that are cut or speak no HTTP/2. What must hold: no worker dies, every call ends, no code
says that the server is at fault, no caller and no log sees a traceback, each answer is finite with lower ≤ point ≤
upper and probabilities in [0, 1], each refusal says what was expected, and memory (PSS) does not grow from the first
third of the run to its end by more than the margin. Exits with 1 if one does not, and prints the message.
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

CONNECTIONS = 8
CALLERS = 32
DEADLINE_SECONDS = 60.0
"""Of a patient call: no time that a call ever takes, however busy the machine."""

HANG_SECONDS = 30.0
"""How long after its deadline, or its cancellation, a call may take to end."""

MUTE_SECONDS = 0.05
"""Deadline of a call without a message: gRPC waits for one until then."""

START_SECONDS = 120.0
"""How long a server of its own may take to start, on a machine that has other things to do."""

MARGIN_MEBIBYTES = 24.0
"""How much a worker's memory may grow after the first third of a run."""

MOST_BREACHES = 10
"""After so many a run gives up."""


@dataclass
class Run:
    """What is known of a run so far.

    Attributes:
        codes: how often each (method, code) came.
        breaches: what should not have been.
        memory: worker → its PSS in MiB after each third of the run.
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

    def breach(self, told: Case, what: str) -> None:
        """Notes what should not have been, with what it takes to see it again."""
        body = told.body.hex() if len(told.body) <= 2000 else f"{told.body[:2000].hex()}… ({len(told.body)} bytes)"
        self.breaches.append(
            f"{what}\n    message {told.number} of seed {self.seed}: {told.rpc.path}, {told.manner.value}: {body}"
            f"\n    again: python -m bench.fuzz --seed {self.seed} --only {told.number}"
        )


class Outcome(NamedTuple):
    """How a call ended, and what should not have been; empty: nothing."""

    code: str
    wrong: str = ""


async def bring(run: Run, channel: grpc.aio.Channel, told: Case) -> None:
    """Sends one message in its manner, and judges what comes of it."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS + HANG_SECONDS):
            if told.manner is Manner.BROKEN:
                outcome = await _break(run, told)
            elif told.manner is Manner.HANG_UP:
                async with dialled(run.address) as own:
                    outcome = await _call(run, own, told)
            else:
                outcome = await _call(run, channel, told)
    except TimeoutError:
        outcome = Outcome("HANG", f"no end {HANG_SECONDS:g} s after the deadline")
    except OSError as error:
        outcome = Outcome("NO CONNECTION", f"no connection: {error}")
    run.codes[told.rpc.name, outcome.code] += 1
    if outcome.wrong:
        run.breach(told, outcome.wrong)


async def _call(run: Run, channel: grpc.aio.Channel, told: Case) -> Outcome:
    """Calls a method, whatever its kind, as one of a message and a stream of answers: on the wire they are alike."""
    patient = told.manner is Manner.PATIENT
    timeout = {Manner.HURRIED: told.moment, Manner.MUTE: MUTE_SECONDS}.get(told.manner, DEADLINE_SECONDS)
    if told.manner is Manner.MUTE:
        opened: Any = channel.stream_stream(told.rpc.path)
        call = opened(iter(()), timeout=timeout)
    else:
        opened = channel.unary_stream(told.rpc.path)
        call = opened(told.body, timeout=timeout)
    if told.manner in {Manner.FICKLE, Manner.HANG_UP}:
        await asyncio.sleep(told.moment)
        if told.manner is Manner.FICKLE:
            call.cancel()
        else:
            await channel.close()
    limit = told.read if told.rpc.streams else 2
    responses, error = await _read(call, limit)
    # A stream that was read as far as was wanted is left: that is no failure.
    code = grpc.StatusCode.OK if len(responses) == limit else await call.code()
    wrong = next(filter(None, (wrong_with_answer(told.rpc, told.body, response) for response in responses)), "")
    if error is not None:
        wrong = wrong or wrong_with_status(told.rpc, error, patient=patient)
    elif responses and not told.rpc.streams:
        run.workers.add(str((await call.trailing_metadata()).get("dejavu-worker", "")))
    return Outcome(code.name, wrong)


async def _read(call: Any, limit: int) -> tuple[list[bytes], grpc.aio.AioRpcError | None]:
    """The first responses of a call, and with what it failed; it is over then."""
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
        if task is not None and task.cancelling():  # it is not the call that was cancelled
            raise
    call.cancel()
    return responses, None


async def _break(run: Run, told: Case) -> Outcome:
    """Brings a message over a connection that goes wrong."""
    data = wire.broken(told.rng, told.rpc.path, told.body[:60_000])
    received = await wire.send(run.host, run.port, data, abort=told.rng.random() < 0.3, seconds=0.02 + told.moment)
    # What HTTP/2 or gRPC itself refuse may well be INTERNAL; this is what the server's own code would say.
    at_fault = any(text in received for text in (b"internal error", b"Invalid metadata", b"Traceback"))
    return Outcome("(broken)", f"a fault of the server: {received!r}" if at_fault else "")


@contextlib.asynccontextmanager
async def dialled(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


async def _token(channel: grpc.aio.Channel) -> str:
    """A resume token of the server's."""
    opened: Any = channel.unary_stream(STREAM.path)
    stream = opened(b"", timeout=DEADLINE_SECONDS)
    event = pb.StreamPredictionsResponse.FromString(await stream.read())
    stream.cancel()
    return event.resume_token


async def send_all(run: Run, numbers: Sequence[int]) -> None:
    """Sends the messages of these numbers, many at a time, and looks after the server's memory meanwhile."""
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
            _weigh(run)


async def _caller(run: Run, channel: grpc.aio.Channel, numbers: Iterator[int]) -> None:
    for number in numbers:
        if len(run.breaches) >= MOST_BREACHES:
            return
        await bring(run, channel, case(run.seed, number, run.token))


async def _still_answers(run: Run) -> None:
    """Asks as a stranger would, over connections that nobody has used before."""
    for number in range(CONNECTIONS):
        asked = case(run.seed, number)
        request = valid(asked.rng, PREDICT, "")
        assert isinstance(request, pb.PredictRequest)
        request.game_id = f"99001{number:05d}"  # of which no message has reported an outcome
        plain = Case(number, PREDICT, request.SerializeToString(), Manner.PATIENT, 0.0, 1, asked.rng)
        async with dialled(run.address) as channel:
            outcome = await _call(run, channel, plain)
            if outcome.code != "OK":
                run.breach(plain, f"a good request is not answered any more: {outcome.code} {outcome.wrong}")


def _weigh(run: Run) -> None:
    for worker in run.workers:
        with contextlib.suppress(OSError, ValueError):  # it is on another machine
            rollup = Path(f"/proc/{int(worker.partition('-')[2])}/smaps_rollup").read_text()
            kibibytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            run.memory.setdefault(worker, []).append(kibibytes / 1024)


def look_back(run: Run, margin: float, server: SpawnedServer | None) -> None:
    """Judges what only the end of a run tells: deaths, the log, memory."""
    for worker, (early, *_, late) in ((worker, sizes) for worker, sizes in run.memory.items() if len(sizes) > 1):
        if late - early > margin:
            run.breaches.append(f"worker {worker} grew from {early:.1f} to {late:.1f} MiB, by more than {margin:g}")
    if server is None:
        return
    for entry in server.events:
        if entry["event"] in {"worker_died", "call_failed", "batch_item_failed"} or "exception" in entry:
            run.breaches.append(f"in the server's log: {json.dumps(entry)}")
    for line in server.other_lines:
        if any(trace in line for trace in TRACES[:2]):
            run.breaches.append(f"in the server's log: {line}")


def print_report(run: Run, messages: int, seconds: float, margin: float) -> None:
    """The codes of each method, the memory, and what went wrong."""
    methods = sorted({method for method, _ in run.codes})
    codes = sorted({code for _, code in run.codes})
    print(f"{messages} messages of seed {run.seed} in {seconds:.0f} s\n")
    print(f"{'':<22}" + "".join(f"{method:>14}" for method in methods))
    for code in codes:
        print(f"{code:<22}" + "".join(f"{run.codes[method, code] or '':>14}" for method in methods))
    print()
    for worker, sizes in sorted(run.memory.items()):
        steps = " → ".join(f"{size:.1f}" for size in sizes)
        print(f"worker {worker}: {steps} MiB (PSS after each third; may grow by {margin:g} from the first)")
    for breach in run.breaches[:MOST_BREACHES]:
        print(f"\nBREACH: {breach}")
    print("\nNothing gave way." if not run.breaches else f"\n{len(run.breaches)} breaches.")


def fuzz(options: argparse.Namespace) -> int:
    """One run, and its exit code."""
    numbers = range(options.messages) if options.only is None else range(options.only, options.only + 1)
    with contextlib.ExitStack() as stack:
        server = None
        address = options.address
        if not address:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dejavu-fuzz-"))
            ledger = f"sqlite:///{folder}/ledger.sqlite3"
            server = stack.enter_context(
                spawned_server("--workers", "2", "--ledger", ledger, "--heartbeat-seconds", "0.05")
            )
            address = str(server.wait_for("listening", seconds=START_SECONDS)["address"])
        host, _, port = address.rpartition(":")
        run = Run(host, int(port), options.seed)
        start = time.monotonic()
        asyncio.run(send_all(run, numbers))
        seconds = time.monotonic() - start
        if server is not None and (code := server.stop()):
            run.breaches.append(f"the server ended with exit code {code}")
        look_back(run, options.margin, server)
        if server is not None and options.log:
            options.log.write_text(server.log() + "\n")
    print_report(run, len(numbers), seconds, options.margin)
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
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000, help="how many to send (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which messages they are (default: %(default)s)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="send this one message of the seed")
    parser.add_argument(
        "--address", default="", metavar="HOST:PORT", help="a server that runs; default: one of its own"
    )
    parser.add_argument(
        "--margin", type=float, default=MARGIN_MEBIBYTES, help="MiB that a worker may grow by (default: %(default)s)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="write the log of the server of its own there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return fuzz(parser.parse_args(arguments))
