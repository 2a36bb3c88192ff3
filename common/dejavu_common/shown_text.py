"""Untrusted texts made safe for terminals and spreadsheets.

An attacker may have chosen a name, a reason, an error message or a status text. A terminal would obey its escape
sequences, bidirectional controls would change its appearance, and a spreadsheet would run a formula.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import IO, Any, Final

_UNSEEN: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and line feed, DEL, C1
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible, ALM
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # zero-width, separators of lines, bidirectional
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f"  # prepended marks, joiners
    "\ufe00-\ufe0f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # variation selectors, tags
    "\ud800-\udfff"  # lone surrogates: bytes of an argument or a file name that are not UTF-8
    "]"
)
"""Characters that act on a terminal or cannot be seen: the categories Cc, Cf, Cs, Zl and Zp of Unicode, and the rest of
its Default_Ignorable_Code_Point."""

_BREAKS: Final = re.compile("[\t\n]")

_FORMULA: Final = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""First characters with which a spreadsheet takes a cell for a formula (OWASP, CSV injection)."""


def visible(text: str, *, line: bool = False) -> str:
    r"""Escape the characters of a text that act on a terminal or are invisible, for example as \u001b.

    The escapes are those of JSON, so an escaped JSON document stays valid and keeps its values.

    Args:
        text: the text.
        line: whether tabs and line feeds are escaped too, so that it stays one line.
    """
    text = _UNSEEN.sub(_escape, text)
    return _BREAKS.sub(_escape, text) if line else text


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    return f"\\u{0xD7C0 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def visible_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make the fields of a log record `visible`: a structlog processor, placed before the human-readable renderer."""
    for name, value in event.items():
        if value is not None and not isinstance(value, bool | int | float):
            text = value if isinstance(value, str) else repr(value)
            event[name] = visible(text, line=name not in {"exception", "stack"})
    return event


def spreadsheet_cell(text: str) -> str:
    """Return a text as a cell of a spreadsheet: with a ' before it, if a spreadsheet would run it as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def escape_output() -> None:
    """Make all that this process writes to standard output and standard error `visible`.

    Text that should act on the terminal, such as colors, is written to the streams that `unescaped` returns. The
    process's own standard error is no longer buffered.
    """
    sys.stdout, sys.stderr = _escaped(sys.stdout), _escaped(_unbuffered(sys.stderr))


def unescaped(stream: IO[str]) -> IO[str]:
    """Return the stream wrapped by `escape_output`; any other stream unchanged."""
    return stream.stream if isinstance(stream, _EscapedStream) else stream


def _unbuffered(stream: Any) -> Any:
    own = sys.__stderr__
    if own is None or stream is not own:
        return stream
    # What a full disk or a gone reader did not take would stay in the buffer, and fail the process when it ends (120).
    raw = io.FileIO(own.fileno(), "w", closefd=False)
    return io.TextIOWrapper(raw, own.encoding, own.errors, write_through=True)


def _escaped(stream: Any) -> Any:
    return stream if stream is None or isinstance(stream, _EscapedStream) else _EscapedStream(stream)


class _EscapedStream:
    """A text stream that makes what it writes `visible`; otherwise it delegates to the wrapped stream."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self.stream.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)
