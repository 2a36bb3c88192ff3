"""A gRPC server that survives any call path, whatever its bytes.

The accept loop of grpc.aio decodes the path of a call outside of any handler, so a path that is not valid UTF-8 ends
the loop, and with it the service (grpcio 1.85.1, and upstream's master). No client library sends one, but any peer can.

This server registers its methods with gRPC's core, which compares paths as bytes, and accepts the calls of each method
in a task of its own. Calls of all other paths get UNIMPLEMENTED, and their paths are not read. This also saves the
`asyncio.wait` over all registered methods that grpc.aio runs for every call: 3 % of the CPU time of a what-if of a
single game.

It overrides and calls parts of `grpc._cython.cygrpc` that are not public. tests/server/worker/test_grpc_server.py
checks that they exist and work, so a release of grpcio that changes them fails the tests. Decision:
docs/decisions/0036-hangs.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final, Never

import grpc
from grpc._cython import cygrpc
from grpc.aio._server import Server

from dejavu_common.tasks import retrieve
from dejavu_server.access.policy import CallKind, kind_of
from dejavu_server.api.admissions import REQUEST_SECONDS, STATUS_SECONDS, Admissions, Arrival, Refusal
from dejavu_server.api.handlers import Handler, Handlers
from dejavu_server.api.interceptors import CallInterceptor, Resolver

ACCEPTED_AT_ONCE: Final = 8
"""Calls of a method that the core may hand over in one turn of the event loop; the others wait in the core.

With fewer, refusals wait longer; with more, calls that were admitted wait for refusals at every turn, and fewer are
answered.
"""

STREAMS_AT_ONCE: Final = 896
"""Streams of forecasts, and health checks, that the core may hand over at once, which then wait here; a request for a
call takes 3 KiB.

All subscribers of a worker that died come to another worker together. The core would cancel those that do not fit in
its queue, without a reason that tells their clients when to come back.
"""

_LAST_ANSWERS_SECONDS: Final = 1.0

_READING_SECONDS: Final = 0.1
"""Time for reading requests that arrived while the event loop stood still, before their calls are found to be late."""

_DEADLINE_EXCEEDED: Final = int(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])

_HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"

NO_PATH: Final = ""
"""Path of a call whose path belongs to no method."""


class GrpcServer(Server):
    """A `grpc.aio.Server` that accepts calls of registered methods only.

    Args:
        calls: wraps every method.
        admissions: refuses calls before their requests are received.
        options: gRPC channel arguments.
    """

    def __init__(self, calls: CallInterceptor, admissions: Admissions, options: Sequence[tuple[str, Any]] = ()) -> None:
        # The base class would make a server of its own here; all its other methods go to `_server`.
        self._loop = cygrpc.get_working_loop()
        self._server = _CoreServer(self._loop, calls, admissions, tuple(options))

    def add_methods(self, service: str, handlers: Handlers) -> None:
        """Add the methods of a service, by name. Call it before the start."""
        self.add_registered_method_handlers(service, handlers)


class _CoreServer(cygrpc.AioServer):  # type: ignore[misc]  # cygrpc is not typed
    """Overrides how calls are accepted."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        calls: CallInterceptor,
        admissions: Admissions,
        options: tuple[tuple[str, Any], ...],
    ) -> None:
        super().__init__(loop, None, (), (), options, None)
        self._event_loop = loop
        self._interceptor = calls
        self._admissions = admissions
        self._handlers: dict[str, Handler] = {}
        self._calls = set[asyncio.Task[None]]()
        self._waiting = deque[tuple[asyncio.Future[None], str, Any]]()

    def add_registered_method_handlers(self, method_handlers: dict[str, Handler]) -> None:
        super().add_registered_method_handlers(method_handlers)
        self._handlers |= {path: self._interceptor.wrap(path, each) for path, each in method_handlers.items()}

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Task[Never]:
        """Accept the calls of one method; for None the calls of all other paths.

        The loop of the base class calls this once for each method and for None, and waits for the returned tasks.

        Returns:
            A task that ends when the server stops, with the exception that the base class expects then.
        """
        return self._event_loop.create_task(self._accept(method), name=f"accept {method!r}")

    async def _accept(self, method: bytes | None) -> Never:
        path = NO_PATH if method is None else method.decode()
        # Streams last, and health checks are answered in microseconds: the core's queue must not be their limit.
        if kind_of(path) is CallKind.STREAM or path == _HEALTH_CHECK:
            await self._accept_at_once(method, path)
        accepting = [self._event_loop.create_task(self._accept_in_turn(method, path)) for _ in range(ACCEPTED_AT_ONCE)]
        for task in accepting:
            task.add_done_callback(retrieve)
        try:
            ended, _ = await asyncio.wait(accepting, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            # When the server ends, the core answers every request for a call. An answer that arrived after the event
            # loop is gone would be written to memory that is no longer the loop's.
            await asyncio.wait(accepting, timeout=_LAST_ANSWERS_SECONDS)
        raise next(error for task in ended if (error := task.exception()))

    async def _accept_in_turn(self, method: bytes | None, path: str) -> Never:
        while True:
            # No variable here refers to the call: the core keeps a call as long as anything refers to it, and the next
            # call may be far off.
            self._answer(
                path, await (self._request_call() if method is None else self._request_registered_call(method))
            )

    async def _accept_at_once(self, method: bytes | None, path: str) -> Never:
        """Have STREAMS_AT_ONCE calls handed over at once; in callbacks, because so many waiting tasks end slowly."""
        requests = STREAMS_AT_ONCE
        failed, all_ended = self._event_loop.create_future(), self._event_loop.create_future()

        def request(_: object = None) -> None:
            self._event_loop.create_task(self._request_registered_call(method)).add_done_callback(accepted)

        def accepted(task: asyncio.Task[Any]) -> None:
            nonlocal requests
            if task.cancelled() or task.exception() is not None:
                requests -= 1
                if not failed.done():
                    failed.set_result(task)
                if not requests:
                    all_ended.set_result(None)
                return
            begun = self._event_loop.create_future()
            begun.add_done_callback(request)  # not before: at most as many calls wait here as there are requests
            self._waiting.append((begun, path, task.result()))
            if len(self._waiting) == 1:
                self._event_loop.call_soon(self._answer_waiting)

        for _ in range(requests):
            request()
        try:
            await asyncio.wait([failed])
        finally:
            await asyncio.wait([all_ended], timeout=_LAST_ANSWERS_SECONDS)  # see `_accept`
        raise failed.result().exception()

    def _answer_waiting(self) -> None:
        """Answer ACCEPTED_AT_ONCE of the calls that wait here, and the next ones in the next turn of the loop."""
        calls = [self._waiting.popleft() for _ in range(min(ACCEPTED_AT_ONCE, len(self._waiting)))]
        if self._waiting:
            self._event_loop.call_soon(self._answer_waiting)
        while calls:  # no variable keeps a call: see `_accept_in_turn`
            calls[0][0].set_result(None)
            self._answer(*calls.pop(0)[1:])

    def _answer(self, path: str, state: Any) -> None:
        """Answer a call, or refuse it."""
        loop = self._event_loop
        context = cygrpc._ServicerContext(state, None, None, loop)
        arrival = self._admissions.admit(path, context)
        if isinstance(arrival, Refusal):
            if arrival.code != _DEADLINE_EXCEEDED:  # whose callers have gone: the core ends those calls itself
                self._run(self._refuse(state, arrival))
            return
        resolver = Resolver(self._interceptor, arrival, self._handlers.get(path))
        call = cygrpc._handle_rpc(path, resolver, (), state, loop, False)
        task = self._run(cygrpc._schedule_rpc_coro(call, state, loop, path))
        arrival.timer = loop.call_later(REQUEST_SECONDS, self._expire, arrival, path, state, task)
        task.add_done_callback(partial(self._release, arrival, path))

    def _release(self, arrival: Arrival, path: str, _: object = None) -> None:
        """Give back the place of a call that has ended."""
        if arrival.stop_timer():
            # The core refused the request, or its caller disconnected first. Calls that this server ends without their
            # requests are counted when it ends them.
            self._admissions.count_no_request(path)
        arrival.place.close()

    def _expire(self, arrival: Arrival, path: str, state: Any, task: asyncio.Task[None]) -> None:
        """End a call whose request has not been received, unless it has arrived and is only not read yet."""
        wait = self._event_loop.call_later
        arrival.timer = wait(_READING_SECONDS, self._end_without_request, arrival, path, state, task)

    def _end_without_request(self, arrival: Arrival, path: str, state: Any, task: asyncio.Task[None]) -> None:
        """End a call whose request was not received in time.

        Args:
            arrival: the call.
            path: path of its method.
            state: the core's call, which is gone once the task has ended: using it after that would crash the process.
            task: answers it.
        """
        if task.done():
            return  # `_release` is about to be called
        arrival.stop_timer()
        arrival.answered = True
        arrival.place.close()
        context = cygrpc._ServicerContext(state, None, None, self._event_loop)
        self._run(self._refuse(state, self._admissions.no_request(path, context, arrival), task))

    async def _refuse(self, state: Any, refusal: Refusal, task: asyncio.Task[None] | None = None) -> None:
        """End a call with a status, as its whole answer.

        Args:
            state: the core's call.
            refusal: the status.
            task: the task that has begun to answer the call; the call is gone once this task has ended.
        """
        if task is not None and task.done():
            return
        # The caller has disconnected, or does not read.
        with contextlib.suppress(cygrpc.ExecuteBatchError, TimeoutError):
            async with asyncio.timeout(STATUS_SECONDS):
                await cygrpc._send_error_status_from_server(
                    state,
                    refusal.code,
                    refusal.message,
                    refusal.metadata,
                    cygrpc.SendInitialMetadataOperation(None, 0),
                    self._event_loop,
                )

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._event_loop.create_task(coroutine)
        self._calls.add(task)  # the event loop itself keeps no strong reference
        task.add_done_callback(self._calls.discard)
        return task
