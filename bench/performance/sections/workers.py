"""Cost of a call with one worker and with two."""

from __future__ import annotations

from contextlib import ExitStack

from bench.performance.measuring import Contest, alternate, callers_process, new_order, plural, timed_calls
from bench.performance.samples import Run
from bench.performance.sections.section import CALLS, Section
from bench.performance.sections.single_calls import TOGETHER
from bench.performance.servers import dejavu, echo, what_if_response
from bench.performance.setting import Setting

NAME = "workers"
WHAT_IF, NAMED, BARE = "what-ifs", "named games", "echo"
CALLERS = 16


def contender_of(workers: int) -> str:
    """Return the contender of a number of workers."""
    return plural(workers, "worker")


def measure(setting: Setting, run: Run) -> None:
    """Measure one worker and two, on one CPU."""
    with ExitStack() as stack:
        callers = stack.enter_context(callers_process(setting))
        servers = {count: stack.enter_context(dejavu(setting, workers=count)) for count in (1, 2)}
        calls = setting.size(TOGETHER, 2 * CALLERS)
        answer = what_if_response(servers[1])
        echoes = {count: stack.enter_context(echo(setting, answer, processes=count)) for count in (1, 2)}
        contests = [
            Contest(
                case,
                contender_of(count),
                timed_calls(callers, server, new_order(server, CALLERS, calls, named=case == NAMED)),
            )
            for case, contenders in ((WHAT_IF, servers), (NAMED, servers), (BARE, echoes))
            for count, server in contenders.items()
        ]
        alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="Workers",
    text=(
        f"{CALLERS} callers, each with its own connection. Both servers run on the same CPU, so that the cost of a call"
        " can be compared; the CPU column counts all workers of a server. Two processes of the echo share a port as"
        " workers do: the additional cost of two is gRPC's and the kernel's."
    ),
    columns=CALLS,
    measure=measure,
    base=contender_of(1),
)
