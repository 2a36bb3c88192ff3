"""Messages of live streams, in the form of each transport; browsers share them."""

from __future__ import annotations

from dataclasses import dataclass, field

from dejavu_gateway.messages.encode import JsonObject, dump


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """A message of a live stream.

    Attributes:
        event: its kind: prediction, game, priced, status, position or reset.
        data: its JSON.
        token: the position after it, from which a stream resumes; empty: none is known any more; None: as before.
        chunk: the message as a server-sent event (html.spec.whatwg.org, 9.2), in a chunk of an HTTP/1.1 answer.
    """

    event: str
    data: bytes
    token: str | None = None
    chunk: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Make the chunk (RFC 9112, 7.1)."""
        text = self.sse
        object.__setattr__(self, "chunk", b"%x\r\n%b\r\n" % (len(text), text))

    @property
    def sse(self) -> bytes:
        """The message as a server-sent event."""
        position = b"" if self.token is None else b"id: %b\n" % self.token.encode()
        return b"%bevent: %b\ndata: %b\n\n" % (position, self.event.encode(), self.data)

    @property
    def text(self) -> str:
        """The message as a text of a WebSocket."""
        return f'{{"event":"{self.event}","id":"{self.token or ""}","data":{self.data.decode()}}}'


def position(token: str) -> StreamMessage:
    """Return the message that there is nothing new up to a position.

    Pages do not see comments of a stream, so they could not tell silence from a dead connection.
    """
    return StreamMessage("position", b"{}", token or None)


def reset(error: JsonObject) -> StreamMessage:
    """Return the message that the stream does not go on from the browser's position, and why.

    Its token is empty: a browser that loses its connection right after it must not resume from the unknown position.
    """
    return StreamMessage("reset", dump(error), "")
