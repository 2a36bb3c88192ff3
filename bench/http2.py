"""An HTTP/2 connection that makes unary gRPC calls for a hundredth of the CPU of a client library.

A load generator that shares a machine with the server must cost little, or it slows down the server. Requests are
encoded once: each call repeats the same header fields, as references to the connection's table (RFC 7541), and the same
message. The server gets no table for its headers, so that it sends them as text, in which the status is searched.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from bench.fuzz import wire

RST_STREAM, PING, WINDOW_UPDATE = 0x3, 0x6, 0x8
ACK = 0x1
MAX_CONCURRENT_STREAMS = 0x3
"""Identifier of the setting."""

DEADLINE_EXCEEDED = 4


RESET = -1
"""Status of a call whose stream was reset, whose connection ended, or whose trailers have no readable status."""

_STATIC_ENTRIES = 61
"""Number of entries of HPACK's static table; the indices of the dynamic table start after them."""

_STATUS = re.compile(rb"grpc-status.(\d+)", re.DOTALL)
"""Name, length and value of the status in a header block without a table."""


class Connection(asyncio.Protocol):
    """One connection on which any number of equal unary calls can be open.

    Args:
        path: path of the method.
        message: the serialized request.
        timeout_ms: deadline of each call, sent as `grpc-timeout`; none if 0.
        ended: called at the end of each call with its start, in seconds of `time.perf_counter`, its status (RESET if
            it has none) and the header block of its trailers; empty if it has none.
        extra: further header fields.
    """

    def __init__(
        self,
        path: str,
        message: bytes,
        timeout_ms: int,
        ended: Callable[[float, int, bytes], None],
        extra: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        timeout = [(b"grpc-timeout", b"%dm" % timeout_ms)] if timeout_ms else []
        fields = wire.fields(path, [*timeout, *extra])
        # The first call adds its fields to the table of the server (0x40 instead of 0x00); the others refer to them.
        first = b"".join(b"\x40" + wire.header_block([field])[1:] for field in fields)
        again = bytes(0x80 | (_STATIC_ENTRIES + len(fields) - number) for number in range(len(fields)))
        self._first, self._again = first, again
        self._body = wire.prefixed(message)
        self._ended = ended
        self._next = 1
        self._starts: dict[int, float] = {}
        self._waiting = deque[float]()
        self._most = 100  # until the server's settings arrive
        self._buffer = bytearray()
        self._received = 0
        self.closed = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    @property
    def open_calls(self) -> int:
        """Number of calls that have not ended, including calls that wait for a stream."""
        return len(self._starts) + len(self._waiting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface; see asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)
        # A window of 2^31 - 1 bytes for the connection, and as much for each call (setting 4); no table (setting 1).
        settings = struct.pack(">HIHI", 0x1, 0, 0x4, 2**31 - 1)
        window = struct.pack(">I", 2**31 - 1 - 65535)
        self.transport.write(
            wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0, settings) + wire.frame(WINDOW_UPDATE, 0, 0, window)
        )

    def call(self, number: int = 1) -> None:
        """Start a number of calls; they wait here while the connection has as many streams as the server allows."""
        self._waiting.extend([time.perf_counter()] * number)
        self._send_waiting()

    def _send_waiting(self) -> None:
        frames = []
        while self._waiting and len(self._starts) < self._most:
            stream = self._next
            self._next += 2
            self._starts[stream] = self._waiting.popleft()
            block = self._first if stream == 1 else self._again
            frames.append(wire.frame(wire.HEADERS, wire.END_HEADERS, stream, block))
            frames.append(wire.frame(wire.DATA, wire.END_STREAM, stream, self._body))
        if frames:
            self.transport.write(b"".join(frames))

    def expire(self, seconds: float) -> None:
        """Reset the calls older than `seconds`, as a client does at a deadline; they end with DEADLINE_EXCEEDED."""
        oldest = time.perf_counter() - seconds
        expired = [stream for stream, start in self._starts.items() if start < oldest]
        code = struct.pack(">I", 0x8)
        if expired:
            self.transport.write(b"".join(wire.frame(RST_STREAM, 0, stream, code) for stream in expired))
        for stream in expired:
            self._ended(self._starts.pop(stream), DEADLINE_EXCEEDED, b"")
        while self._waiting and self._waiting[0] < oldest:
            self._ended(self._waiting.popleft(), DEADLINE_EXCEEDED, b"")
        self._send_waiting()

    def data_received(self, data: bytes) -> None:
        """Read frames; see asyncio.Protocol."""
        buffer = self._buffer
        buffer += data
        at, end = 0, len(buffer)
        while end - at >= 9:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if end - at < 9 + length:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._frame(kind, flags, stream, bytes(buffer[at + 9 : at + 9 + length]))
            at += 9 + length
        del buffer[:at]
        self._send_waiting()

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == wire.HEADERS:
            if flags & wire.END_STREAM and (start := self._starts.pop(stream, None)) is not None:
                status = _STATUS.search(payload)
                self._ended(start, int(status[1]) if status else RESET, payload)
        elif kind == wire.DATA:
            self._received += len(payload)
            if self._received > 2**28:
                window = struct.pack(">I", self._received)
                self.transport.write(wire.frame(WINDOW_UPDATE, 0, 0, window))
                self._received = 0
        elif kind == RST_STREAM:
            if (start := self._starts.pop(stream, None)) is not None:
                self._ended(start, RESET, b"")
        elif not flags & ACK:
            self._acknowledge(kind, payload)

    def _acknowledge(self, kind: int, payload: bytes) -> None:
        if kind == wire.SETTINGS:
            for identifier, value in struct.iter_unpack(">HI", payload):
                if identifier == MAX_CONCURRENT_STREAMS:
                    self._most = value
            self.transport.write(wire.frame(wire.SETTINGS, ACK, 0))
        elif kind == PING:
            self.transport.write(wire.frame(PING, ACK, 0, payload))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the open calls; see asyncio.Protocol."""
        starts = [*self._starts.values(), *self._waiting]
        self._starts.clear()
        self._waiting.clear()
        for start in starts:
            self._ended(start, RESET, b"")
        if not self.closed.done():
            self.closed.set_result(None)
