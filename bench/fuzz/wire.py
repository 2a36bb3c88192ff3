"""Bytes that no gRPC client would send: broken HTTP/2, partial calls, other protocols, connections cut off.

Builds frames by hand (RFC 9113; headers as HPACK literals, RFC 7541), because libraries refuse to write them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable, Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, CONTINUATION = 0x0, 0x1, 0x4, 0x9
END_STREAM, END_HEADERS = 0x1, 0x4

Fields = Iterable[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return an HTTP/2 frame; its length field is that of the payload."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header_block(headers: Fields) -> bytes:
    """Encode header fields as unindexed literals, with any bytes."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in headers)


def fields(path: str | bytes, extra: Fields = (), authority: bytes = b"dejavu") -> list[tuple[bytes, bytes]]:
    """Return the header fields of a call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode() if isinstance(path, str) else path),
        (b":authority", authority),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *extra,
    ]


def call(path: str | bytes, body: bytes, extra: Fields = (), *, authority: bytes = b"dejavu") -> bytes:
    """Return a connection preface and one complete call of a method.

    Args:
        path: the method's path, such as "/dejavu.v1.PredictionService/Predict"; bytes need not be text.
        body: payload of the DATA frame; `prefixed` makes a well-formed one.
        extra: further header fields, also ones that gRPC forbids.
        authority: value of the :authority header.
    """
    opening = PREFACE + frame(SETTINGS, 0, 0)
    return opening + request(1, path, body, extra, authority=authority)


def request(stream: int, path: str | bytes, body: bytes, extra: Fields = (), *, authority: bytes = b"dejavu") -> bytes:
    """Return one complete call, on a stream of an open connection; see `call`."""
    headers = frame(HEADERS, END_HEADERS, stream, header_block(fields(path, extra, authority)))
    return headers + frame(DATA, END_STREAM, stream, body)


def begun_block(stream: int, path: str) -> bytes:
    """Return the beginning of a call's headers, which `more_of_block` continues without end."""
    return frame(HEADERS, 0, stream, header_block(fields(path)))


def more_of_block(stream: int, *, indexed: bool = False) -> bytes:
    """Return 5 KB of an unfinished header block: of the smallest literal fields, or of indexed fields of one byte."""
    return frame(CONTINUATION, 0, stream, b"\x8f" * 5000 if indexed else header_block([(b"a", b"v")] * 1000))


def prefixed(message: bytes, *, compressed: int = 0) -> bytes:
    """Return a message in gRPC framing: flag, length, bytes."""
    return struct.pack(">BI", compressed, len(message)) + message


def broken(rng: random.Random, path: str, message: bytes) -> bytes:
    """Return the bytes of a connection that is broken in one of several ways."""
    return rng.choice(_FAULTS)(rng, path, message)


def _noise(rng: random.Random, _: str, __: bytes) -> bytes:
    return rng.randbytes(rng.randrange(1, 2000))


def _another_protocol(_: random.Random, __: str, ___: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: dejavu\r\n\r\n"


def _cut(rng: random.Random, path: str, message: bytes) -> bytes:
    good = call(path, prefixed(message))
    return good[: rng.randrange(1, len(good))]


def _garbled(rng: random.Random, path: str, message: bytes) -> bytes:
    data = bytearray(call(path, prefixed(message)))
    for _ in range(rng.randrange(1, 8)):
        data[rng.randrange(len(PREFACE), len(data))] = rng.randrange(256)
    return bytes(data)


def _undecodable_path(rng: random.Random, path: str, message: bytes) -> bytes:
    changed = bytearray(path.encode())
    changed[rng.randrange(1, len(changed))] = rng.randrange(128, 256)
    return call(bytes(changed), prefixed(message))


def _frames(rng: random.Random, _: str, __: bytes) -> bytes:
    frames = (
        frame(rng.randrange(12), rng.randrange(256), rng.randrange(6), rng.randbytes(rng.randrange(40)))
        for _ in range(rng.randrange(1, 20))
    )
    return PREFACE + frame(SETTINGS, 0, 0) + b"".join(frames)


def _not_compressed_as_said(rng: random.Random, path: str, message: bytes) -> bytes:
    encoding = rng.choice([b"gzip", b"deflate", b"identity", b"br"])
    return call(path, prefixed(message, compressed=1), [(b"grpc-encoding", encoding)])


def _not_as_long_as_said(rng: random.Random, path: str, message: bytes) -> bytes:
    length = rng.choice([0, len(message) + 1, 2**31 - 1, 2**32 - 1])
    return call(path, struct.pack(">BI", 0, length) + message)


def _forbidden_metadata(rng: random.Random, path: str, message: bytes) -> bytes:
    names = [b"x-request-id", b"X-Request-Id", b"grpc-timeout", b"grpc-status", b"a b", b"te", b"x-bin"]
    return call(path, prefixed(message), [(rng.choice(names), rng.randbytes(rng.randrange(1, 300)))])


def _messages_too_many_or_none(rng: random.Random, path: str, message: bytes) -> bytes:
    return call(path, prefixed(message) * rng.choice([0, 2, 3]))


def _no_hpack(rng: random.Random, _: str, __: bytes) -> bytes:
    return PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, rng.randbytes(rng.randrange(1, 200)))


_FAULTS: tuple[Callable[[random.Random, str, bytes], bytes], ...] = (
    _noise,
    _another_protocol,
    _cut,
    _garbled,
    _undecodable_path,
    _frames,
    _not_compressed_as_said,
    _not_as_long_as_said,
    _forbidden_metadata,
    _messages_too_many_or_none,
    _no_hpack,
)


async def send(host: str, port: int, data: bytes, *, abort: bool, seconds: float) -> bytes:
    """Open a connection, write the data, and read until the server closes the connection or time is up.

    Args:
        host: the server's host.
        port: the server's port.
        data: bytes to write.
        abort: reset the connection at once instead of reading.
        seconds: time limit; a server may wait for the rest of a call.

    Returns:
        The bytes read.

    Raises:
        OSError: if the connection fails.
    """
    reader, writer = await asyncio.open_connection(host, port)
    received = bytearray()
    try:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                writer.write(data)
                await writer.drain()
                if not abort:
                    while chunk := await reader.read(65536):
                        received += chunk
    finally:
        if abort:
            # With zero linger the kernel sends a reset instead of closing properly.
            connection: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return bytes(received)


def _string(data: bytes) -> bytes:
    """Encode an HPACK string literal without Huffman coding."""
    return _integer(len(data)) + data


def _integer(value: int) -> bytes:
    """Encode an HPACK integer with a prefix of seven bits."""
    if value < 127:
        return bytes([value])
    encoded = bytearray([127])
    value -= 127
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    encoded.append(value)
    return bytes(encoded)
