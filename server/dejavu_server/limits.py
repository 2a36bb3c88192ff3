"""The limits of a worker: calls in progress by kind, what each caller uses, and streams that last.

A call takes its place when it arrives, before its request is received, and gives it back once its answer is made, read
or not: `Limits.take`. What it records counts towards its caller's quota of the day: `Caller.reserved`.

Kinds: each kind of call has places of its own. Forecasts can't crowd out health checks, and scorecards, which take long
and wait for a thread, can't crowd out forecasts. The limit is on calls in progress, not on their rate: by Little's law
it bounds their duration on any machine without tuning. Short bursts may exceed it. As in CoDel, the age of a queue
counts, not its existence (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; for servers: Maurer,
"Fail at Scale", ACM Queue 13(8), 2015).

Callers: a caller is identified by its token, else by its address. Each worker keeps its own state: a caller that
spreads its calls over all workers gets the limits of each. A connection stays with one worker.

Streams that last, health watches and reflection, take memory of the worker for each. At the limit, a new one ends the
oldest of the caller that has the most. A caller that has the most itself gets no further one.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from dejavu_common.address import share_of
from dejavu_common.slots import Holdings, NoSlotError, StreamSlots
from dejavu_ledger.ledger import MODEL_CHANGE, MODELS
from dejavu_models.errors import DejavuError
from dejavu_server.access.caller import ANYBODY, Principal
from dejavu_server.access.policy import CallKind
from dejavu_server.settings import Settings

BURST_SECONDS: Final = 0.1
"""Time for which the calls in progress may exceed the limit."""

CALM_SECONDS: Final = 1.0
"""Time below the limit before the next burst."""

FEW_SHARE: Final = 16
"""Divisor of a limit: callers with fewer calls in progress than the quotient (at least 1) may use reserved places."""

RATE_BURST_SECONDS: Final = 2.0
"""A caller that has paused may make as many calls at once as its rate allows in this time."""

DAY_SECONDS: Final = 86_400

MAX_CALLERS: Final = 4096
"""Maximum number of callers whose state is kept; beyond it, a caller that has not called for long is dropped."""

MODEL_CHANGES: Final = 100
"""Changes of models that one caller records in a day by a worker; each is read once by each worker."""

GAME_FORECASTS: Final = 200
"""Minimum of the limit of one game's forecasts by one caller: a poller's forecasts of both horizons, and
corrections."""

CALLER_WATCHES: Final = 10
"""A caller's limit of health watches, as a multiple of its limit of streams: clients have one watch per connection,
without a token. A watch with unread data from its caller can take a hundred KiB."""

MAX_WATCHES: Final = 4096
"""Maximum number of health watches of a worker without a limit of its memory."""

WATCH_BYTES: Final = 25 * 1024
"""Measured memory of a health watch; unread data that its client sends can take 64 KiB more."""

WATCHES_SHARE: Final = 0.1
"""Share of a worker's memory limit that health watches may take."""

MAX_REFLECTIONS: Final = 64
"""Maximum number of reflection streams of a worker. A tool has one for a second; with answers that are never read, each
takes up to 350 KiB."""

_MEBIBYTE: Final = 1024 * 1024

_OF_CALLER: Final[Mapping[CallKind, Sequence[str]]] = MappingProxyType(
    {
        CallKind.PREDICT: ["calls"],
        CallKind.BATCH: ["calls", "batches"],
        CallKind.RECORD: ["calls"],
        CallKind.REPORT: ["calls"],
        CallKind.STREAM: ["streams"],
        CallKind.WATCH: ["watches"],
    }
)
"""Limits of a caller that calls of a kind count against while they are in progress; the other kinds: none."""


class Overloaded(DejavuError, reason="OVERLOADED", category="RESOURCE_EXHAUSTED"):
    """The worker has as much work as it can finish in time."""


class CallerLimit(DejavuError, reason="CALLER_LIMIT", category="RESOURCE_EXHAUSTED"):
    """A caller exceeds a limit of each caller.

    Args:
        limit: name of the limit: calls, batches, rate, streams, games, game_forecasts, model_changes or ledger_bytes.
        most: the limit, in words.
        retry_seconds: seconds after which the caller may try again.
    """

    def __init__(self, limit: str, most: str, retry_seconds: float = 1.0) -> None:
        super().__init__(f"the caller is at its limit of {most}")
        self.limit = limit
        self.retry_seconds = retry_seconds


class WatchLimit(CallerLimit, reason="WATCH_LIMIT", category="UNIMPLEMENTED"):
    """A caller has too many health watches.

    UNIMPLEMENTED: a client that checks health then takes its connection for healthy (gRFC A17). After any other status
    it would not use the connection, and watches that strangers hold would keep callers from their forecasts.
    """


class DeadlineExceeded(DejavuError, reason="DEADLINE_PASSED", category="DEADLINE_EXCEEDED"):
    """A call arrived after its deadline, or had no deadline and exceeded the server's deadline."""


def _caller_limits(settings: Settings) -> Mapping[str, float]:
    """Return the limits of every caller in one worker, by name; 0: no limit."""
    of_game = max(GAME_FORECASTS, settings.max_game_forecasts // (4 * settings.workers))
    return {
        # In progress; calls are without streams and control calls, and batches are among them: no caller has all.
        "calls": settings.caller_calls,
        "batches": batch_limit(settings.max_in_flight) // 2 if settings.caller_calls else 0,
        "streams": settings.caller_streams,
        "watches": CALLER_WATCHES * settings.caller_streams,
        # Calls and streams a second, without watches.
        "rate": settings.caller_rate,
        # What is recorded in a day (UTC): games; forecasts and outcomes of one game; changes of models; bytes.
        "games": settings.caller_games,
        "game_forecasts": of_game if settings.caller_games else 0,
        "model_changes": MODEL_CHANGES,
        "ledger_bytes": settings.caller_ledger_mib * _MEBIBYTE,
    }


def batch_limit(max_in_flight: int) -> int:
    """Return the limit of batches, at least 1, for a limit of single forecasts; a batch takes up to 10 MiB."""
    return max(1, max_in_flight // 4)


def max_watches(max_rss: int) -> int:
    """Return the maximum number of health watches of a worker.

    Args:
        max_rss: resident memory in MiB above which the worker is replaced, and all its streams end; 0: none.
    """
    return min(MAX_WATCHES, int(WATCHES_SHARE * max_rss * _MEBIBYTE / WATCH_BYTES)) if max_rss else MAX_WATCHES


class Quota:
    """What one caller uses of its limits: calls in progress, calls a second, and records a day.

    Args:
        limits: the limits, see `_caller_limits`.
        clock: returns the time in seconds; must not go back.
        today: returns the time in seconds since 1970.
    """

    def __init__(self, limits: Mapping[str, float], clock: Callable[[], float], today: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._today = today
        self._in_progress = Counter[str]()  # by limit
        self._rate = limits["rate"]
        self._burst = max(1.0, self._rate * RATE_BURST_SECONDS)
        self._tokens, self._refilled = self._burst, clock()
        self._day = 0
        self._games = Counter[str]()  # entries of the day by game
        self._model_changes = 0
        self._ledger_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether the caller has no calls in progress."""
        return not any(self._in_progress.values())

    def begin(self, kind: CallKind) -> None:
        """Count a call in.

        Raises:
            CallerLimit: if the caller may not make it now.
        """
        for limit in _OF_CALLER[kind]:
            most = self._limits[limit]
            if most and self._in_progress[limit] >= most:
                error, name = (WatchLimit, "streams") if kind is CallKind.WATCH else (CallerLimit, limit)
                raise error(name, f"{most} {limit} at a time")
        if self._rate and kind is not CallKind.WATCH:
            self._spend(1.0, f"{self._rate:g} calls a second")
        for limit in _OF_CALLER[kind]:
            self._in_progress[limit] += 1

    def end(self, kind: CallKind) -> None:
        """Count a call out."""
        for limit in _OF_CALLER[kind]:
            self._in_progress[limit] -= 1

    def take_of_rate(self, rate: float, what: str) -> None:
        """Take as much of the calls a second as leaves a lower rate; see `Caller.take_of_rate`."""
        more = self._rate / rate - 1  # than the call itself took
        if more > 0:
            self._spend(more, f"{rate:g} {what} a second")

    def _spend(self, calls: float, limit: str) -> None:
        """Take calls from a bucket that fills at the caller's rate; raise CallerLimit if it has too few."""
        rate, now = self._rate, self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled) * rate)
        self._refilled = now
        if self._tokens < calls:
            raise CallerLimit("rate", limit, (calls - self._tokens) / rate)
        self._tokens -= calls

    @contextmanager
    def reserved(self, entries: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
        """Count entries while the block records them; see `Recorder.reserved`."""
        self._count(entries)
        day, unused = self._day, list[tuple[str, int]]()
        try:
            yield unused
        except Exception:
            self._count_out(day, entries)
            raise
        self._count_out(day, unused)

    def _count(self, entries: Sequence[tuple[str, int]]) -> None:
        now = self._today()
        if self._day != (day := int(now // DAY_SECONDS)):
            self._day, self._model_changes, self._ledger_bytes = day, 0, 0
            self._games.clear()
        games = Counter(game for game, _ in entries)
        changes = self._model_changes + games.pop(MODELS, 0)
        size = self._ledger_bytes + sum(size for _, size in entries)
        new = sum(game not in self._games for game in games)
        of_one = max((self._games[game] + number for game, number in games.items()), default=0)
        for limit, wanted, what in (
            ("model_changes", changes, "changes of models"),
            ("games", len(self._games) + new, "games"),
            ("game_forecasts", of_one, "forecasts of a game"),
            ("ledger_bytes", size, "bytes of the ledger"),
        ):
            if 0 < (most := self._limits[limit]) < wanted:
                raise CallerLimit(limit, f"{most} {what} a day", DAY_SECONDS - now % DAY_SECONDS)
        self._model_changes, self._ledger_bytes = changes, size
        if self._limits["games"]:  # otherwise their number would have no bound
            self._games += games

    def _count_out(self, day: int, entries: Sequence[tuple[str, int]]) -> None:
        """Count entries out that were not recorded, unless their day is over."""
        if not entries or day != self._day:
            return
        games = Counter(game for game, _ in entries)
        self._model_changes -= games.pop(MODELS, 0)
        self._ledger_bytes -= sum(size for _, size in entries)
        self._games -= games  # keeps none whose number becomes 0


@dataclass(slots=True, eq=False)
class Caller:
    """The caller of a call: made when the call arrives, and passed to all that acts for it.

    It is the `Recorder` of a ledger.

    Attributes:
        principal: its identity and scopes.
        address: its address; see `address_of`. Empty if it is not known.
        request_id: id of the call.
        turn: name by which callers take turns: its token or address; empty if it is not limited.
        quota: what it uses of its limits; None: unlimited.
    """

    principal: Principal = ANYBODY
    address: str = ""
    request_id: str = ""
    turn: str = ""
    quota: Quota | None = None

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
        if self.quota is not None:
            self.quota.take_of_rate(rate, what)

    def reserved(self, entries: Sequence[tuple[str, int]]) -> AbstractContextManager[list[tuple[str, int]]]:
        """Count entries while the block records them; entering it raises CallerLimit if they exceed a daily limit."""
        return nullcontext([]) if self.quota is None else self.quota.reserved(entries)

    def check_model_change(self) -> None:
        """Raise CallerLimit if it may record no further change of models today."""
        with self.reserved([MODEL_CHANGE]) as unused:
            unused.append(MODEL_CHANGE)


SERVER: Final = Caller()
"""The server itself, which is not limited."""


class _Places:
    """Places of the calls of one kind.

    Args:
        number: calls in progress, at least 1.
        burst: calls in progress for BURST_SECONDS after they reached their number, if they did not in the CALM_SECONDS
            before; by default none more.
        reserved: places for callers with few calls in progress (see FEW_SHARE); below `number`. Others may use them in
            a burst only.

    Attributes:
        in_progress: number of calls in progress.
    """

    def __init__(self, number: int, *, burst: int = 0, reserved: int = 0) -> None:
        self._number = number
        self._burst = burst
        self._unreserved = number - reserved
        self._few = max(1, number // FEW_SHARE)
        self._of_callers = Holdings()
        self._last_full = self._burst_ends = float("-inf")
        self.in_progress = 0

    def take(self, caller: str, now: float) -> bool:
        """Count a call in, unless it exceeds the limit; return whether it was counted."""
        few = self._of_callers[caller] < self._few
        if self.in_progress >= (self._number if few else self._unreserved):
            if now - self._last_full > CALM_SECONDS:
                self._burst_ends = now + BURST_SECONDS
            self._last_full = now
            if now >= self._burst_ends or self.in_progress >= self._burst:
                return False
        self.in_progress += 1
        self._of_callers[caller] += 1
        return True

    def give_back(self, caller: str) -> None:
        """Count a call out."""
        self.in_progress -= 1
        self._of_callers.give_back(caller)


class Limits:
    """Counts the calls of a worker, and refuses excess.

    Args:
        settings: the settings of the server.
        clock: returns the time in seconds; must not go back.
        today: returns the time in seconds since 1970.
        most_callers: maximum number of callers whose state is kept.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], float] = time.time,
        most_callers: int = MAX_CALLERS,
    ) -> None:
        forecasts, batches = settings.max_in_flight, batch_limit(settings.max_in_flight)
        self._places = {
            CallKind.CONTROL: _Places(1024),
            # The reserve comes on top, so that a caller alone has all of max_in_flight.
            CallKind.PREDICT: _Places(forecasts + forecasts // 4, burst=3 * forecasts, reserved=forecasts // 4),
            CallKind.BATCH: _Places(batches, reserved=batches // 4),
            CallKind.RECORD: _Places(4 * forecasts, reserved=forecasts),
            CallKind.REPORT: _Places(forecasts, reserved=forecasts // 4),
            CallKind.STREAM: _Places(settings.max_streams),
        }
        watches = max_watches(settings.max_rss)
        self._lasting = {
            CallKind.WATCH: (StreamSlots(watches), WatchLimit, f"{watches} watches"),
            CallKind.REFLECTION: (StreamSlots(MAX_REFLECTIONS), CallerLimit, f"{MAX_REFLECTIONS} reflection streams"),
        }
        self._caller_limits = _caller_limits(settings)
        self._loopback = settings.caller_loopback == "on"
        self._quotas: dict[str, Quota] = {}  # the caller that has not called for longest comes first
        self._most_callers = most_callers
        self._clock = clock
        self._today = today

    def take(self, kind: CallKind, caller: Caller, end: Callable[[DejavuError], None] = lambda _: None) -> ExitStack:
        """Count a call in; give its caller its turn and quota.

        Args:
            kind: kind of the call.
            caller: its caller.
            end: ends the call with an error, if it is a stream that lasts and another caller needs its place.

        Returns:
            Its place; closing it counts the call out.

        Raises:
            Overloaded: if there are too many calls of its kind.
            CallerLimit: if its caller may not make it now.
        """
        place = ExitStack()
        if (places := self._places.get(kind)) is None:
            self._hold(kind, caller, end, place)
        elif places.take(caller.name, self._clock()):
            place.callback(places.give_back, caller.name)
        else:
            raise Overloaded(f"the worker has too many {kind.value} calls in progress; try again later")
        with place:  # which gives it back if the caller is refused
            if kind in _OF_CALLER and (quota := self._quota(caller)) is not None:
                quota.begin(kind)
                place.callback(quota.end, kind)
            return place.pop_all()

    def in_progress(self, kind: CallKind) -> int:
        """Return the number of calls in progress of a kind that does not last."""
        return self._places[kind].in_progress

    @property
    def one_forecast(self) -> bool:
        """Whether exactly one single forecast is in progress, and no batch: no other query is about to come."""
        return self.in_progress(CallKind.PREDICT) == 1 and not self.in_progress(CallKind.BATCH)

    def _hold(self, kind: CallKind, caller: Caller, end: Callable[[DejavuError], None], place: ExitStack) -> None:
        """Hold a slot of a stream that lasts, if necessary that of another caller's stream."""
        slots, error, most = self._lasting[kind]
        too_many = error("streams", f"{most} of all callers, of which it has most")
        try:
            place.enter_context(slots.held(caller.name, lambda: end(too_many)))
        except NoSlotError:
            raise too_many from None

    def _quota(self, caller: Caller) -> Quota | None:
        """Give a caller its turn and quota, and return that; None if it is not limited."""
        if not self._loopback and is_loopback(caller.address):
            return None
        caller.turn = caller.name
        caller.quota = self._quotas.pop(caller.turn, None)
        if caller.quota is None:
            if len(self._quotas) >= self._most_callers:
                idle = (name for name, quota in self._quotas.items() if quota.is_idle)
                del self._quotas[next(idle, next(iter(self._quotas)))]
            caller.quota = Quota(self._caller_limits, self._clock, self._today)
        self._quotas[caller.turn] = caller.quota
        return caller.quota


@lru_cache(1024)
def address_of(peer: str) -> str:
    """Return the address of a peer without its port, as `share_of` of it.

    Args:
        peer: the peer in gRPC's form: "ipv4:127.0.0.1:4000", "ipv6:[::1]:4000" or "unix:path".
    """
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return peer
    host = rest.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0].strip("[]").partition("%")[0]
    return share_of(host)


@lru_cache(1024)
def is_loopback(address: str) -> bool:
    """Return whether an address, as `address_of` returns it, belongs to this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.startswith("unix")
