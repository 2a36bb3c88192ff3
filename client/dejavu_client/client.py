"""The synchronous client: the asynchronous one (aio.py), whose calls run in the thread of an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import ClientClosedError
from dejavu_client.export import AsyncRecordedPredictions, RecordedPredictions
from dejavu_client.transport.statistics import CallStatistics

P = ParamSpec("P")
T = TypeVar("T")


class _LoopThread(threading.Thread):
    """Runs an event loop; does not keep the process from ending."""

    def __init__(self) -> None:
        super().__init__(name="dejavu-client", daemon=True)
        self.loop = asyncio.new_event_loop()
        self.start()

    def run(self) -> None:
        """Run the loop."""
        self.loop.run_forever()

    def submit(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in the loop; to cancel the future cancels the call.

        The coroutine is created in the loop too: one of a caller that is interrupted would never be awaited, which
        Python reports on the terminal.

        Raises:
            ClientClosedError: in a process that was forked from the one of this thread.
        """
        if not self.is_alive():
            raise ClientClosedError(
                "forked from a process with a client, which gRPC does not survive; spawn it instead"
            )
        future: Future[T] = Future()

        def start() -> None:
            if future.cancelled():
                return
            try:
                task = self.loop.create_task(function(*args, **kwargs))
            except Exception as error:  # wrong arguments
                future.set_exception(error)
                return
            future.add_done_callback(
                lambda done: self.loop.call_soon_threadsafe(task.cancel) if done.cancelled() else None
            )
            task.add_done_callback(finish)

        def finish(task: asyncio.Task[T]) -> None:
            error = CancelledError() if task.cancelled() else task.exception()
            if not future.set_running_or_notify_cancel():
                return  # cancelled meanwhile
            if error is None:
                future.set_result(task.result())
            else:
                future.set_exception(error)

        self.loop.call_soon_threadsafe(start)
        return future


_thread = cache(_LoopThread)
"""Returns the thread of all synchronous clients of this process."""


def _made_as(
    constructor: Callable[Concatenate[AsyncDejavuClient, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[DejavuClient, P], None]]:
    """Give a constructor the parameters of the asynchronous client's."""
    return wraps(constructor)


def _call(
    method: Callable[Concatenate[AsyncDejavuClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[DejavuClient, P], T]:
    @wraps(method)
    def call(self: DejavuClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(method, self._client, *args, **kwargs)

    return call


def _stream(
    method: Callable[Concatenate[AsyncDejavuClient, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[DejavuClient, P], Generator[T, None, None]]:
    @wraps(method)
    def stream(self: DejavuClient, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return self._each(method(self._client, *args, **kwargs))

    return stream


def _list(
    method: Callable[Concatenate[AsyncDejavuClient, P], AsyncRecordedPredictions],
) -> Callable[Concatenate[DejavuClient, P], RecordedPredictions]:
    @wraps(method)
    def listed(self: DejavuClient, /, *args: P.args, **kwargs: P.kwargs) -> RecordedPredictions:
        pages = self._each(method(self._client, *args, **kwargs).pages)
        return RecordedPredictions(each for page in pages for each in page.predictions)

    return listed


class DejavuClient:
    """Client of a Dejavu server. Thread-safe; connects on first use.

    ```python
    with DejavuClient("127.0.0.1:50051") as client:
        forecast = client.predict([0, 2, 3, 1, -2, 0, 1, 4, 6, 5, 5, 7, 8, 6, 9, 11, 8, 10], explain=True)
        print(forecast.point_forecast, forecast.interval_lower, forecast.interval_upper)
    ```

    Its options, methods and errors are those of `AsyncDejavuClient`, which makes the calls; a method returns once its
    call has ended. A process that was forked from one with a client can't make calls; start it by another method.

    Attributes:
        target: server address.
        timeout: deadline of a call, in seconds.
    """

    @_made_as(AsyncDejavuClient.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = AsyncDejavuClient(*args, **kwargs)
        self._thread = _thread()
        self.target, self.timeout = self._client.target, self._client.timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stats(self) -> CallStatistics:
        """Statistics of the calls so far."""
        return self._client.stats

    def _wait(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the event loop and return its result; cancel it if the wait is interrupted."""
        future = self._thread.submit(function, *args, **kwargs)
        try:
            return future.result()
        finally:
            future.cancel()

    def _each(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield items of the event loop, and end their generator with this one."""
        try:
            while (item := self._wait(_next, items)) is not None:
                yield item
        finally:
            # Without waiting for it: the garbage collector may close this generator in any thread.
            self._thread.submit(_end, items)

    close = _call(AsyncDejavuClient.close)
    call = _call(AsyncDejavuClient.call)
    predict = _call(AsyncDejavuClient.predict)
    quote = _call(AsyncDejavuClient.quote)
    assess_risk = _call(AsyncDejavuClient.assess_risk)
    predict_batch = _call(AsyncDejavuClient.predict_batch)
    predict_columns = _call(AsyncDejavuClient.predict_columns)
    health = _call(AsyncDejavuClient.health)
    report_outcome = _call(AsyncDejavuClient.report_outcome)
    withdraw_outcome = _call(AsyncDejavuClient.withdraw_outcome)
    get_prediction = _call(AsyncDejavuClient.get_prediction)
    list_predictions = _list(AsyncDejavuClient.list_predictions)
    get_scorecard = _call(AsyncDejavuClient.get_scorecard)
    get_leaderboard = _call(AsyncDejavuClient.get_leaderboard)
    get_checkpoint = _call(AsyncDejavuClient.get_checkpoint)
    stream_predictions = _stream(AsyncDejavuClient.stream_predictions)
    list_games = _call(AsyncDejavuClient.list_games)
    stream_games = _stream(AsyncDejavuClient.stream_games)
    list_models = _call(AsyncDejavuClient.list_models)
    get_model = _call(AsyncDejavuClient.get_model)
    load_model = _call(AsyncDejavuClient.load_model)
    unload_model = _call(AsyncDejavuClient.unload_model)
    promote_model = _call(AsyncDejavuClient.promote_model)
    rollback_model = _call(AsyncDejavuClient.rollback_model)
    retire_model = _call(AsyncDejavuClient.retire_model)
    compare_models = _call(AsyncDejavuClient.compare_models)
    list_model_changes = _call(AsyncDejavuClient.list_model_changes)
    get_cache_stats = _call(AsyncDejavuClient.get_cache_stats)
    clear_cache = _call(AsyncDejavuClient.clear_cache)
    warm_cache = _call(AsyncDejavuClient.warm_cache)
    get_service_stats = _call(AsyncDejavuClient.get_service_stats)
    report_feed = _call(AsyncDejavuClient.report_feed)
    publish_games = _call(AsyncDejavuClient.publish_games)
    acquire_lease = _call(AsyncDejavuClient.acquire_lease)
    release_lease = _call(AsyncDejavuClient.release_lease)
    get_lease = _call(AsyncDejavuClient.get_lease)
    claim_notification = _call(AsyncDejavuClient.claim_notification)
    confirm_notification = _call(AsyncDejavuClient.confirm_notification)
    list_notifications = _call(AsyncDejavuClient.list_notifications)


async def _next(items: AsyncGenerator[T, None]) -> T | None:
    return await anext(items, None)


async def _end(items: AsyncGenerator[T, None]) -> None:
    await items.aclose()
