"""Single calls: what-ifs, explained and named, compared with an echo and MLServer."""

from __future__ import annotations

from contextlib import ExitStack

from bench.performance.measuring import (
    DEJAVU,
    ECHO,
    MLSERVER,
    Contest,
    alternate,
    callers_process,
    new_order,
    plural,
    timed_calls,
)
from bench.performance.processes.callers import INFER
from bench.performance.samples import Run
from bench.performance.sections.section import CALLS, Section
from bench.performance.servers import dejavu, echo, mlserver_beside, what_if_response
from bench.performance.setting import Setting

NAME = "calls"
WHAT_IF, EXPLAINED, NAMED = f"{DEJAVU}: what-if", f"{DEJAVU}: explained", f"{DEJAVU}: named"

ALONE, TOGETHER = 1000, 3200
"""Number of calls in a sample, for one caller and for several. A sample takes at least half a second: after another
contender's turn, the first calls find cold caches.
"""

GAMES_A_CASE = 1_000_000
"""Number of game ids reserved for each case."""


def case_of(callers: int) -> str:
    """Return the case of a number of callers."""
    return plural(callers, "caller")


def measure(setting: Setting, run: Run) -> None:
    """Measure single calls."""
    with ExitStack() as stack:
        callers = stack.enter_context(callers_process(setting))
        # By default a worker refuses a 65th concurrent call. 64 callers can cause one: a caller may call again before
        # the worker has counted its previous call out.
        server = stack.enter_context(dejavu(setting, "--max-in-flight", "128"))
        plain = stack.enter_context(echo(setting, what_if_response(server)))
        peer = stack.enter_context(mlserver_beside(setting, server))
        contests = []
        for number, count in enumerate(setting.sizes((1, 16, 64), (1, 4))):
            case, calls = case_of(count), setting.size(ALONE if count == 1 else TOGETHER, 4 * count)
            what_if = new_order(server, count, calls)
            explained = new_order(server, count, calls, explained=True)
            named = new_order(server, count, calls, named=True, first=number * GAMES_A_CASE)
            contests += [
                Contest(case, ECHO, timed_calls(callers, plain, new_order(plain, count, calls))),
                Contest(case, WHAT_IF, timed_calls(callers, server, what_if)),
                Contest(case, EXPLAINED, timed_calls(callers, server, explained)),
                Contest(case, NAMED, timed_calls(callers, server, named)),
            ]
            if peer:
                inference = new_order(peer, count, calls, protocol=INFER)
                contests.append(Contest(case, MLSERVER, timed_calls(callers, peer, inference)))
        alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="Single calls",
    text=(
        "One worker (`--max-in-flight 128`, because the default of 64 refuses some calls of 64 callers), at minute 18,"
        " with a new pattern in every call; named games are recorded in SQLite with the default durability before they"
        " are answered. The echo is a bare grpc.aio server that parses the same requests and returns a stored what-if."
        " MLServer runs the same bundle with the same code in its main process, called by gRPC with patterns as FP64."
    ),
    columns=CALLS,
    measure=measure,
    base=ECHO,
    plot="calls",
)
