"""Limits of each caller: calls and streams in progress, calls a second, and records a day.

A caller is identified by its token, else by its address: for IPv6 by the first 64 bits, the usual allocation of one
customer. Each worker keeps its own state: a caller that spreads its calls over all workers gets the limits of each. A
connection stays with one worker.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Final

from dejavu_ledger.ledger import MODEL_CHANGE, MODELS
from dejavu_server.access.caller import ANYBODY, Principal
from dejavu_server.admission.refusals import CallerLimit, WatchLimit

MAX_CALLERS: Final = 4096
"""Maximum number of callers whose state is kept; beyond it, a caller that has not called for long is dropped."""

MAX_LOOKED_AT: Final = 16
"""Number of callers searched for one without calls in progress, before one with such calls is dropped."""

BURST_SECONDS: Final = 2.0
"""A caller that has paused may make as many calls at once as its rate allows in this time."""

DAY_SECONDS: Final = 86_400

WATCHES: Final = 10
"""A caller's limit of health watches, as a multiple of its limit of streams: clients have one watch per connection,
without a token. A watch with unread data from its caller can take a hundred KiB."""


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """Limits of every caller; 0: no limit.

    Attributes:
        calls: calls in progress, without streams and control calls.
        batches: batches among these calls.
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
    streams: int = 0
    watches: int = 0
    day: int = 0
    games: Counter[str] = field(default_factory=Counter)
    model_changes: int = 0
    ledger_bytes: int = 0


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


@dataclass(slots=True, eq=False)
class Caller:
    """The caller of a call: made when the call arrives, and passed to all that acts for it.

    It is the `Recorder` of a ledger.

    Attributes:
        principal: its identity and scopes.
        address: its address; see `address_of`. Empty if it is not known.
        request_id: id of the call.
        turn: name by which callers take turns: its token or address; empty if it is not limited.
        recording: its daily quota; None: unlimited.
    """

    principal: Principal = ANYBODY
    address: str = ""
    request_id: str = ""
    turn: str = ""
    recording: Recording | None = None

    @property
    def identity(self) -> str:
        """`token:NAME` or `jwt:SUBJECT`; empty if it is not known."""
        return self.principal.identity

    @property
    def name(self) -> str:
        """Its identity, or else its address."""
        return self.principal.identity or self.address

    def take_of_rate(self, rate: float, what: str) -> None:
        """Take as much of the calls a second as leaves it a lower rate of a method that costs more.

        Args:
            rate: calls of the method a second, above 0.
            what: the calls in words, for the error.

        Raises:
            CallerLimit: if it has made too many of them.
        """
        if self.recording is not None:
            self.recording.take(rate, what)

    def reserved(self, entries: Sequence[tuple[str, int]]) -> AbstractContextManager[list[tuple[str, int]]]:
        """Count entries while the block records them; entering it raises CallerLimit if they exceed a daily limit."""
        return nullcontext([]) if self.recording is None else _reserved(self.recording, entries)

    def check_model_change(self) -> None:
        """Raise CallerLimit if it may record no further change of models today."""
        with self.reserved([MODEL_CHANGE]) as unused:
            unused.append(MODEL_CHANGE)


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


SERVER: Final = Caller()
"""The server itself, which is not limited."""


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

    def __len__(self) -> int:
        """Return the number of callers whose state is kept."""
        return len(self._states)

    @contextmanager
    def counted_watch(self, caller: Caller) -> Iterator[None]:
        """Count a stream that costs next to nothing; see `counted`."""
        state, most = self._limited(caller, self._clock()), WATCHES * self._limits.streams
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
    def counted(self, caller: Caller, *, stream: bool, batch: bool = False) -> Iterator[None]:
        """Count a call while the block runs; give its caller its turn and quota.

        Args:
            caller: its caller.
            stream: whether it is a stream.
            batch: whether it is a batch.

        Raises:
            CallerLimit: if the caller may not make the call now.
        """
        limits, now = self._limits, self._clock()
        state = self._limited(caller, now)
        if state is None:
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
        caller.recording = Recording(limits, state, now)
        state.streams += stream
        state.calls += not stream
        state.batches += batch
        try:
            yield
        finally:
            state.streams -= stream
            state.calls -= not stream
            state.batches -= batch

    def _limited(self, caller: Caller, now: float) -> _State | None:
        """Return the state of a caller; None if the limits do not apply to it."""
        if not self._limits.loopback and is_loopback(caller.address):
            return None
        caller.turn = caller.name
        return self._state(caller.turn, now)

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
            if not (state.calls or state.streams or state.watches):
                del self._states[caller]
                return
            self._states.move_to_end(caller)
        self._states.popitem(last=False)


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
