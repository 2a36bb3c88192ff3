"""Measures the cost of a what-if from memory, from Redis and computed, compared with a bare grpc.aio echo.

Run with `python -m bench.cache` from the project's folder. A `dejavu-server --workers 1` with the cache, one without,
and the echo run pinned to one CPU; the callers are a process pinned to another. The kinds alternate within every round,
so a busy machine slows all of them equally: compare the ratios, not the microseconds. CPU is user and system time of
the serving process. With `--redis URL` a second server finds in Redis what the first one computed. Exits with 1 if a
call fails, or if a hit takes more than `--most-hit` times the echo's CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict

from bench.cache.calls import HIT, MISS, OFF, REDIS_HIT, Calls, line, worst_ratio
from bench.latency import ECHO, Callers, Sample, dejavu_server, echo_server, helper, one_answer

from dejavu_models.registry.registry import default_bundle


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--callers", type=int, nargs="+", default=[1, 16], help="numbers of concurrent callers")
    made.add_argument("--calls", type=int, default=2000, help="calls of each kind per round")
    made.add_argument("--rounds", type=int, default=10, help="measured rounds, after one warm-up round")
    made.add_argument("--redis", default="", metavar="URL", help="measure answers found in this Redis too")
    made.add_argument("--most-hit", type=float, metavar="RATIO", help="fail above RATIO × the echo's CPU")
    made.add_argument("--json", action="store_true", help="print every sample as JSON")
    made.set_defaults(minutes=[18], seed=0)
    return made


def measure(kinds: list[Calls], callers: Callers, options: argparse.Namespace) -> list[list[Sample]]:
    """Measure all rounds; the first one warms up and fills the cache."""
    rounds = []
    first = 1_000_000
    for number in range(options.rounds + 1):
        samples = []
        for calls in kinds if number % 2 == 0 else reversed(kinds):
            for count in options.callers:
                samples.append(calls.measure(callers, count, first, options.calls))
                first += options.calls
        rounds.append(samples)
    return rounds


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    options = parser().parse_args(arguments)
    available = sorted(os.sched_getaffinity(0))
    servers, caller = {available[0]}, {available[-1]}
    with ExitStack() as stack:
        callers = Callers(stack.enter_context(helper("bench.load", caller)))
        cached = stack.enter_context(dejavu_server(servers, default_bundle()))
        off = stack.enter_context(dejavu_server(servers, default_bundle(), "--cache", "off"))
        echo = stack.enter_context(echo_server(servers, one_answer(off.address, options)))
        kinds = [Calls(ECHO, echo, True), Calls(HIT, cached, True), Calls(MISS, cached, False), Calls(OFF, off, False)]
        if options.redis:
            with_redis = ("--cache", options.redis)
            one, other = (stack.enter_context(dejavu_server(servers, default_bundle(), *with_redis)) for _ in range(2))
            kinds.append(Calls(REDIS_HIT, other, False, other=one))
        warm_up, *rounds = measure(kinds, callers, options)
    failed = sum(each.failed for samples in (warm_up, *rounds) for each in samples)
    ratio = worst_ratio(rounds, options.callers, HIT)
    if options.json:
        print(json.dumps({"rounds": [[asdict(each) for each in samples] for samples in rounds], "failed": failed}))
    else:
        print(f"{'callers':>7} {'kind':14} {'CPU, µs':>8} {'× the echo':>22} {'p50, ms':>8}")
        for count in options.callers:
            print(*(line(rounds, count, calls.kind) for calls in kinds), sep="\n")
        print(f"calls that failed: {failed}")
    return int(failed > 0 or (options.most_hit is not None and ratio > options.most_hit))


if __name__ == "__main__":
    sys.exit(main())
