"""Limits of each caller: calls and streams in progress, calls a second, and records a day.

A caller is identified by its token, else by its address: for IPv6 by the first 64 bits, the usual allocation of one
customer. Each worker keeps its own state: a caller that spreads its calls over all workers gets the limits of each. A
connection stays with one worker.

An answer counts until it is sent: it stays in memory, without any traffic, if the caller never reads it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from typing import Final

from dejavu_server.admission.controller import Permit, current_permit
from dejavu_server.admission.errors import CallerLimit, WatchLimit

MAX_CALLERS: Final = 4096
"""Maximum number of callers whose state is kept; beyond it, a caller that has not called for long is dropped."""

MAX_LOOKED_AT: Final = 16
"""Number of callers searched for one without calls in progress, before one with such calls is dropped."""

BURST_SECONDS: Final = 2.0
"""A caller that has paused may make as many calls at once as its rate allows in this time."""

DAY_SECONDS: Final = 86_400

UNSENT: Final = 2
"""Factor of a caller's limit if calls whose answers are being sent count too: a caller can have an answer and call
again before the server knows that it was sent."""

MAX_UNSENT_BYTES: Final = 16 * 1024 * 1024
"""Maximum bytes of one caller's unread answers, which take the worker's memory; equal to the largest single answer."""

MAX_ALL_UNSENT_BYTES: Final = 64 * 1024 * 1024
"""Maximum bytes of unread answers of all callers with limits together, and likewise of all callers without limits.
Beyond it, a call of a caller with limits ends the oldest calls whose answers have been unread for UNREAD_SECONDS, or
else those of the callers with the most bytes. Many addresses with one answer each could otherwise take any amount. An
answer to a caller without limits is refused."""

UNREAD_SECONDS: Final = 2.0
"""Age from which an answer counts as unread, rather than as read slowly. Answers that are never read are older than the
answer of a slow reader, which may be the largest."""

MAX_ALL_UNSENT: Final = 2048
"""Limit of unanswered or unread calls of all callers with limits. At the limit, a new call ends a call of the caller
with the most unread answers, if these are more than FEW_UNSENT. If not, each caller may have FEW_UNSENT calls."""

FEW_UNSENT: Final = 16

MAX_ALL_FEW_UNSENT: Final = 2 * MAX_ALL_UNSENT
"""Second limit of these calls. At this one, a new call ends a call of the caller with the most unread answers, however
few. Many addresses with FEW_UNSENT each could otherwise have any number. gRPC's core keeps some 20 KiB for each."""

LARGE: Final = MAX_ALL_UNSENT_BYTES // (4 * MAX_ALL_FEW_UNSENT)
"""Bytes from which an answer can be ended for its age: smaller ones cannot add up to MAX_ALL_UNSENT_BYTES."""

MODELS: Final = ""
"""Stands for the game in an entry that changes models."""

MODEL_CHANGE: Final = MODELS, 4096
"""Game and bytes for which a change of models counts: about the size of its largest possible entry."""

WATCHES: Final = 10
"""A caller's limit of health watches, as a multiple of its limit of streams: clients have one watch per connection,
without a token. A watch with unread data from its caller can take a hundred KiB."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """Limits of every caller; 0: no limit.

    Attributes:
        calls: calls in progress, without streams and control calls. If control calls and calls whose answers are being
            sent are counted too, UNSENT times as many.
        batches: batches among these calls. If batches whose answers are being sent are counted too, half as many more.
        rate: calls a second.
        streams: streams in progress; WATCHES times as many of the cheap kind (CallKind.WATCH).
        games: games of which forecasts or outcomes are recorded in a day (UTC).
        game_forecasts: forecasts and outcomes of one game that are recorded in a day; usually a fraction of the number
            that the ledger accepts.
        model_changes: changes of models that are recorded in a day.
        ledger_bytes: bytes of entries recorded in a day.
        loopback: whether callers of this machine are limited too.
    """

    calls: int = 0
    batches: int = 0
    rate: float = 0.0
    streams: int = 0
    games: int = 0
    game_forecasts: int = 0
    model_changes: int = 0
    ledger_bytes: int = 0
    loopback: bool = False


@dataclass(slots=True, eq=False)
class _State:
    tokens: float
    refilled: float
    calls: int = 0
    batches: int = 0
    unsent: int = 0  # calls of any kind but streams that were not yet answered, or whose answers are being sent
    unsent_batches: int = 0
    unsent_bytes: int = 0
    unread: OrderedDict[UnsentAnswer, Callable[[], object]] = field(default_factory=OrderedDict)
    """Answers that are being sent, oldest first, each with the function that ends its call."""
    streams: int = 0
    watches: int = 0
    day: int = 0
    games: Counter[str] = field(default_factory=Counter)
    model_changes: int = 0
    ledger_bytes: int = 0


class UnsentAnswer:
    """The answer of a call; it counts towards its caller's limits until it is sent."""

    def __init__(self, state: _State, total: _State | None, batch: bool) -> None:
        self.state = state  # of its caller, or of all without limits
        self.size = 0  # in bytes, as far as they count
        self._total = total  # of all callers with limits; None: this one has none
        self._batch = batch
        state.unsent += 1
        state.unsent_batches += batch
        if total is not None:
            total.unsent += 1

    def made(self, size: int) -> None:
        """Count the bytes of the answer.

        Raises:
            CallerLimit: if the caller has too many bytes of unread answers already.
        """
        most = MAX_ALL_UNSENT_BYTES if self._total is None else MAX_UNSENT_BYTES
        if self.state.unsent_bytes and self.state.unsent_bytes + size > most:
            raise CallerLimit("bytes", f"{most // 1024**2} MiB of answers that it has not read")
        self._count_bytes(size)

    def ended(self) -> None:
        """Stop counting the bytes, because the call was ended and they are about to be freed."""
        self._count_bytes(0)

    def sent(self) -> None:
        """Stop counting the answer, because it was sent or the caller has gone."""
        self.state.unsent -= 1
        self.state.unsent_batches -= self._batch
        if self._total is not None:
            self._total.unsent -= 1
        self._count_bytes(0)

    def _count_bytes(self, size: int) -> None:
        """Count these bytes instead of those that were counted before."""
        self.state.unsent_bytes += size - self.size
        if self._total is not None:
            self._total.unsent_bytes += size - self.size
        self.size = size


unsent_answer: ContextVar[UnsentAnswer | None] = ContextVar("unsent_answer", default=None)
"""The answer of the current call; None if the call is a stream, or if its answer is not counted."""


class Recording:
    """The remaining daily quota of a caller."""

    def __init__(self, limits: CallerLimits, state: _State, now: float) -> None:
        self._limits = limits
        self._state = state
        self._now = now
        self._day = int(now // DAY_SECONDS)

    def take(self, rate: float, what: str) -> None:
        """Take as much of the caller's calls a second as leaves it this rate.

        Raises:
            CallerLimit: if the caller has made too many of these calls.
        """
        of_calls = self._limits.rate
        if of_calls > rate:
            more = of_calls / rate - 1  # than the call itself took
            _take_tokens(self._state, of_calls, self._now, f"{rate:g} {what} a second", more)

    def reserve(self, entries: Sequence[tuple[str, int]]) -> None:
        """Count entries that are about to be recorded, so that all calls in progress together stay within the limits.

        Args:
            entries: game (or MODELS) and size in bytes of each.

        Raises:
            CallerLimit: if the entries exceed a limit of the day; then none of them is counted.
        """
        limits, state = self._limits, self._state
        # A call of the previous day may still be in progress. A larger difference means that the clock was wrong: start
        # anew.
        if not self._day <= state.day <= self._day + 1:
            state.day, state.games, state.model_changes, state.ledger_bytes = self._day, Counter(), 0, 0
        tomorrow = DAY_SECONDS - self._now % DAY_SECONDS
        games = Counter(game for game, _ in entries)
        changes = games.pop(MODELS, 0)
        if limits.model_changes and state.model_changes + changes > limits.model_changes:
            raise CallerLimit("model_changes", f"{limits.model_changes} changes of models a day", tomorrow)
        if limits.games and len(state.games) + sum(game not in state.games for game in games) > limits.games:
            raise CallerLimit("games", f"{limits.games} games a day", tomorrow)
        most = limits.game_forecasts
        if most and any(state.games[game] + number > most for game, number in games.items()):
            raise CallerLimit("game_forecasts", f"{most} forecasts of a game a day", tomorrow)
        size = sum(size for _, size in entries)
        if limits.ledger_bytes and state.ledger_bytes + size > limits.ledger_bytes:
            raise CallerLimit("ledger_bytes", f"{limits.ledger_bytes} bytes of the ledger a day", tomorrow)
        if limits.games or most:
            state.games.update(games)
        state.model_changes += changes
        state.ledger_bytes += size

    def give_back(self, entries: Sequence[tuple[str, int]]) -> None:
        """Take back entries that were reserved and not recorded."""
        state = self._state
        if state.day != self._day:
            return  # the count was dropped at midnight
        state.ledger_bytes -= sum(size for _, size in entries)
        games = [game for game, _ in entries if game != MODELS]
        state.model_changes -= len(entries) - len(games)
        for game in games if self._limits.games or self._limits.game_forecasts else ():
            state.games[game] -= 1
            if not state.games[game]:
                del state.games[game]


limited_caller: ContextVar[str] = ContextVar("limited_caller", default="")
"""Token or address of the current call's caller; empty if it is not limited."""

current_recording: ContextVar[Recording | None] = ContextVar("current_recording", default=None)
"""The daily quota of the current call's caller; None: unlimited."""


def take_of_rate(rate: float, what: str) -> None:
    """Take as much of the current caller's calls a second as leaves it a lower rate of a method that costs more.

    Args:
        rate: calls of the method a second, above 0.
        what: the calls in words, for the error.

    Raises:
        CallerLimit: if the caller has made too many of them.
    """
    recording = current_recording.get()
    if recording is not None:
        recording.take(rate, what)


def reserved(entries: Sequence[tuple[str, int]]) -> AbstractContextManager[list[tuple[str, int]]]:
    """Count entries (game or MODELS, size in bytes) for the caller of the current call while the block records them.

    If the block fails, no entry was recorded, and none counts. If it is cancelled, entries may still be recorded: they
    count.

    Returns:
        A context whose value is a list, to which the block adds the entries that turned out not to be recorded.
        Entering it raises CallerLimit if the entries exceed a daily limit of the caller.
    """
    recording = current_recording.get()
    return nullcontext([]) if recording is None else _reserved(recording, entries)


@contextmanager
def _reserved(recording: Recording, entries: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    unused = list[tuple[str, int]]()
    recording.reserve(entries)
    try:
        yield unused
    except Exception:
        recording.give_back(entries)
        raise
    recording.give_back(unused)


def check_model_change() -> None:
    """Raise CallerLimit if the caller of the current call may record no further change of models today."""
    with reserved([MODEL_CHANGE]) as unused:
        unused.append(MODEL_CHANGE)


class Callers:
    """Counts the usage of each caller, and refuses excess.

    Args:
        limits: the limits.
        clock: returns the time in seconds since 1970.
        most: maximum number of callers whose state is kept.
    """

    def __init__(self, limits: CallerLimits, clock: Callable[[], float] = time.time, most: int = MAX_CALLERS) -> None:
        self._limits = limits
        self._clock = clock
        self._most = most
        self._states: OrderedDict[str, _State] = OrderedDict()
        # Totals of the answers to all callers with limits, and to those without.
        self._total, self._unlimited = (_State(tokens=0.0, refilled=0.0) for _ in range(2))
        # Large unread answers of callers with limits, oldest first, with the time since which each is unread.
        self._unread = OrderedDict[UnsentAnswer, float]()
        # Callers with limits by their number of unread answers. Kept by number because each call of a crowd looks for
        # the caller with the most, among thousands.
        self._by_unread = defaultdict[int, dict[_State, None]](dict)

    def __len__(self) -> int:
        """Return the number of callers whose state is kept."""
        return len(self._states)

    @contextmanager
    def counted_control(self, identity: str, peer: str) -> Iterator[None]:
        """Count a control call, whose only limit is that of unsent answers; see `counted`."""
        state = self._limited(identity, peer, self._clock())
        with self._until_sent(state):
            yield

    @contextmanager
    def counted_watch(self, identity: str, peer: str) -> Iterator[None]:
        """Count a stream that costs next to nothing; see `counted`."""
        state, most = self._limited(identity, peer, self._clock()), WATCHES * self._limits.streams
        if state is None:
            yield
            return
        if most and state.watches >= most:
            raise WatchLimit("streams", f"{most} watches at a time")
        state.watches += 1
        try:
            yield
        finally:
            state.watches -= 1

    @contextmanager
    def _until_sent(self, state: _State | None, *, batch: bool = False) -> Iterator[None]:
        """Count a call while the block runs, and from then on until its answer was sent or its caller has gone.

        Args:
            state: the caller's; None if it has no limits.
            batch: whether the call is a batch.
        """
        if state is None:
            answer = UnsentAnswer(self._unlimited, None, batch)
        else:
            most, most_batches = UNSENT * self._limits.calls, 3 * self._limits.batches // 2
            crowded = most and self._total.unsent >= MAX_ALL_UNSENT and not self._end_unread(beyond=FEW_UNSENT)
            if crowded:
                most = min(most, FEW_UNSENT)
            if most and state.unsent >= most:
                raise CallerLimit("calls", f"{most} calls whose answers it has not read")
            if batch and most_batches and state.unsent_batches >= most_batches:
                raise CallerLimit("batches", f"{most_batches} batches whose answers it has not read")
            if crowded and self._total.unsent >= MAX_ALL_FEW_UNSENT:
                self._end_unread(beyond=0)
            answer = UnsentAnswer(state, self._total, batch)
        unsent_answer.set(answer)
        try:
            yield
        finally:
            permit = current_permit.get()
            if permit is None or permit.is_released:
                answer.sent()
            else:
                permit.on_release = lambda _: self._sent(answer, state)
                if state is not None:
                    self._end_largest()
                    state.unread[answer] = _ending(permit)
                    if answer.size >= LARGE:
                        self._unread[answer] = self._clock()
                    self._move(state, len(state.unread) - 1)

    def _sent(self, answer: UnsentAnswer, state: _State | None) -> None:
        if state is not None and state.unread.pop(answer, None) is not None:
            self._unread.pop(answer, None)
            self._move(state, len(state.unread) + 1)
        answer.sent()

    def _move(self, state: _State, before: int) -> None:
        """Update the index of callers by unread answers after a caller's number has changed."""
        if before:
            del self._by_unread[before][state]
            if not self._by_unread[before]:
                del self._by_unread[before]
        if state.unread:
            self._by_unread[len(state.unread)][state] = None

    def _end_unread(self, *, beyond: int) -> bool:
        """End the oldest call of the caller with the most unread answers; return whether there was one.

        A caller that merely reads slowly has few unread answers, and keeps them while another caller has more.

        Args:
            beyond: number of unread answers that every caller keeps.
        """
        most = max(self._by_unread, default=0)
        if most <= beyond:
            return False
        self._end_oldest(next(iter(self._by_unread[most])))
        return True

    def _end_largest(self) -> None:
        """End unread answers while all together have too many bytes; see MAX_ALL_UNSENT_BYTES."""
        long_ago = self._clock() - UNREAD_SECONDS
        while self._total.unsent_bytes > MAX_ALL_UNSENT_BYTES and self._by_unread:
            answer = next(iter(self._unread), None)
            if answer is not None and self._unread[answer] <= long_ago:
                self._end(answer)
            else:
                self._end_oldest(max(chain(*self._by_unread.values()), key=lambda state: state.unsent_bytes))

    def _end_oldest(self, state: _State) -> None:
        """End the call with the oldest unread answer of a caller that has one."""
        self._end(next(iter(state.unread)))

    def _end(self, answer: UnsentAnswer) -> None:
        """End the call of an unread answer of a caller with limits."""
        state = answer.state
        end = state.unread.pop(answer)
        self._unread.pop(answer, None)
        self._move(state, len(state.unread) + 1)
        answer.ended()
        end()

    @contextmanager
    def counted(self, identity: str, peer: str, *, stream: bool, batch: bool = False) -> Iterator[None]:
        """Count a call while the block runs.

        Args:
            identity: identity of the caller; empty if unknown.
            peer: peer of the call; see `address_of`.
            stream: whether it is a stream.
            batch: whether it is a batch.

        Raises:
            CallerLimit: if the caller may not make the call now.
        """
        limits, now = self._limits, self._clock()
        state = self._limited(identity, peer, now)
        if state is None:
            with nullcontext() if stream else self._until_sent(None):
                yield
            return
        if stream and limits.streams and state.streams >= limits.streams:
            raise CallerLimit("streams", f"{limits.streams} streams at a time")
        if not stream and limits.calls and state.calls >= limits.calls:
            raise CallerLimit("calls", f"{limits.calls} calls at a time")
        if batch and limits.batches and state.batches >= limits.batches:
            raise CallerLimit("batches", f"{limits.batches} batches at a time")
        if limits.rate:
            _take_tokens(state, limits.rate, now, f"{limits.rate:g} calls a second")
        token = current_recording.set(Recording(limits, state, now))
        state.streams += stream
        state.calls += not stream
        state.batches += batch
        try:
            with nullcontext() if stream else self._until_sent(state, batch=batch):
                yield
        finally:
            current_recording.reset(token)
            state.streams -= stream
            state.calls -= not stream
            state.batches -= batch

    def _limited(self, identity: str, peer: str, now: float) -> _State | None:
        """Return the state of a caller; None if the limits do not apply to it."""
        address = address_of(peer)
        if not self._limits.loopback and is_loopback(address):
            return None
        limited_caller.set(identity or address)
        return self._state(identity or address, now)

    def _state(self, caller: str, now: float) -> _State:
        state = self._states.get(caller)
        if state is None:
            if len(self._states) >= self._most:
                self._drop()
            state = self._states[caller] = _State(tokens=max(1.0, self._limits.rate * BURST_SECONDS), refilled=now)
        else:
            self._states.move_to_end(caller)
        return state

    def _drop(self) -> None:
        for caller in list(islice(self._states, MAX_LOOKED_AT)):
            state = self._states[caller]
            if not (state.unsent or state.streams or state.watches):
                del self._states[caller]
                return
            self._states.move_to_end(caller)
        self._states.popitem(last=False)


def _ending(permit: Permit) -> Callable[[], object]:
    """Return a function that ends the current call before its caller has read the answer."""
    task = asyncio.current_task()

    def end() -> None:
        if task is not None:
            task.cancel()  # the task waits until the answer is sent
        permit.on_drop()

    return end


def _take_tokens(state: _State, rate: float, now: float, limit: str, tokens: float = 1.0) -> None:
    """Take tokens of a bucket that fills at the rate.

    Raises:
        CallerLimit: with the limit's text, if the bucket has too few.
    """
    most = max(1.0, rate * BURST_SECONDS)
    state.tokens = min(most, state.tokens + max(0.0, now - state.refilled) * rate)
    state.refilled = now
    if state.tokens < tokens:
        raise CallerLimit("rate", limit, (tokens - state.tokens) / rate)
    state.tokens -= tokens


@lru_cache(1024)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(address) if address.is_loopback else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


@lru_cache(1024)
def address_of(peer: str) -> str:
    """Return the address of a peer without its port; for IPv6 its network of 64 bits.

    Args:
        peer: the peer in gRPC's form: "ipv4:127.0.0.1:4000", "ipv6:[::1]:4000" or "unix:path".
    """
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return peer
    host = rest.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0].strip("[]").partition("%")[0]
    return _network(host)


@lru_cache(1024)
def is_loopback(address: str) -> bool:
    """Return whether an address, as `address_of` returns it, belongs to this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.startswith("unix")
