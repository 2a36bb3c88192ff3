"""Compares the server's CPU time per call with and without TLS and tokens.

Run with `python -m bench.network.access` from the project's folder. Servers with one worker each run pinned to one CPU,
the caller to another: plain text without tokens; only TLS; TLS with a random token; TLS with a JSON Web Token. All
calls ask for the same what-if, which is computed every time (the cache is off). Blocks of calls alternate between the
servers in a random order, so a busy machine slows all of them equally: compare the ratios. Exits with 1 if any call
fails and, with `--most 1.15`, if a case takes more than 1.15 times the plain server's CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import grpc
import psutil
from bench.latency import cpu_seconds, create_ledger, pinned_to
from tests.support.fakes.certificates import Authority
from tests.support.fakes.token_issuer import TokenIssuer
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import AsyncDejavuClient
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

PLAIN, TLS, TOKEN, JWT = "plain text", "TLS", "TLS and token", "TLS and JWT"
PATTERN = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9, 11)


class Case:
    """A server under test and its client.

    Attributes:
        us: mean CPU time of a call in each block so far, in microseconds.
        failed: number of failed calls.
    """

    def __init__(self, server: SpawnedServer, client: AsyncDejavuClient) -> None:
        [worker] = server.workers
        self._worker: psutil.Process = worker
        self._client = client
        self.us: list[float] = []
        self.failed = 0

    async def block(self, calls: int, callers: int) -> None:
        """Make a number of calls, and append the mean CPU time of one."""
        left = calls

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                try:
                    await self._client.predict(PATTERN, timeout=30.0)
                except Exception:
                    self.failed += 1

        before = cpu_seconds(self._worker.pid)
        await asyncio.gather(*(caller() for _ in range(callers)))
        self.us.append(1e6 * (cpu_seconds(self._worker.pid) - before) / calls)


async def measure(cases: dict[str, Case], options: argparse.Namespace) -> None:
    """Measure all blocks after one that warms up."""
    order = list(cases.values())
    chance = random.Random(options.seed)
    for _ in range(options.rounds + 1):
        chance.shuffle(order)
        for case in order:
            await case.block(options.calls, options.callers)
    for case in order:
        del case.us[0]


def options_of(folder: Path) -> dict[str, tuple[list[str], grpc.ChannelCredentials | None, str]]:
    """Return the server's options, the client's credentials and its token for each case."""
    authority = Authority(folder)
    pair = authority.issue("server")
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    tokens, issuer = folder / "tokens.json", TokenIssuer(folder)
    token = token_file.create(tokens, "bench", (AccessScope.PREDICT,), utc_now())
    tls = ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]
    jwks = ["--jwks", str(issuer.jwks), "--jwt-issuer", issuer.ISSUER, "--jwt-audience", issuer.AUDIENCE]
    return {
        PLAIN: ([], None, ""),
        TLS: (tls, credentials, ""),
        TOKEN: ([*tls, "--tokens", str(tokens)], credentials, token),
        JWT: ([*tls, *jwks], credentials, issuer.sign("bench", "predict", seconds=86_400)),
    }


async def run(options: argparse.Namespace) -> int:
    """Start the servers, measure and print; return the exit code."""
    available = sorted(os.sched_getaffinity(0))
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory()))
        async with AsyncExitStack() as clients:
            cases = {}
            for number, (name, (arguments, credentials, token)) in enumerate(options_of(folder).items()):
                ledger = f"sqlite:///{folder / f'{number}.sqlite3'}"
                await create_ledger(ledger)
                with pinned_to({available[0]}):
                    started = spawned_server("--workers", "1", "--ledger", ledger, "--cache", "off", *arguments)
                    server = await asyncio.to_thread(servers.enter_context, started)
                metadata = [("authorization", f"Bearer {token}")] if token else []
                client = AsyncDejavuClient(
                    server.address, credentials=credentials, metadata=metadata, channels=1, slow=60.0
                )
                cases[name] = Case(server, await clients.enter_async_context(client))
            os.sched_setaffinity(0, {available[-1]})
            await measure(cases, options)
            os.sched_setaffinity(0, available)
    print(
        f"server CPU, µs a what-if at {options.callers} callers; medians of {options.rounds} blocks of {options.calls}"
    )
    most = 0.0
    for name, case in cases.items():
        ratios = [own / plain for own, plain in zip(case.us, cases[PLAIN].us, strict=True)]
        most = max(most, statistics.median(ratios))
        spread = "" if name == PLAIN else f"  × {statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
        print(f"{name:14}{statistics.median(case.us):8.0f}{spread}")
    failed = sum(case.failed for case in cases.values())
    print(f"calls that failed: {failed}")
    return int(failed > 0 or (options.most is not None and most > options.most))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=16, help="number of concurrent callers")
    parser.add_argument("--calls", type=int, default=2000, help="calls in a block")
    parser.add_argument("--rounds", type=int, default=12, help="measured blocks of each server")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order")
    parser.add_argument("--most", type=float, metavar="RATIO", help="fail if a case takes more than RATIO × plain CPU")
    return asyncio.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
