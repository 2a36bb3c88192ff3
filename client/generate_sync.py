"""Generates the synchronous client (client.py, operations.py, transport/caller.py) from the asynchronous one.

`make gen` runs it. With --check it only compares: `make check` fails if a file differs from the result for its source.

Code that differs by more than `async` and `await` (opening a channel, waiting, reading a stream) is written twice, in
transport/connection.py and transport/aio_connection.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "dejavu_client"
SOURCES = {
    PACKAGE / "aio.py": PACKAGE / "client.py",
    PACKAGE / "aio_operations.py": PACKAGE / "operations.py",
    PACKAGE / "transport" / "aio_caller.py": PACKAGE / "transport" / "caller.py",
}

TEXTS = {
    "The asynchronous client; client.py, the synchronous one, is generated from this file by `make gen`.": (
        "The synchronous client, generated from aio.py by `make gen`: edit that file instead."
    ),
    "Calls of the asynchronous client; caller.py, of the synchronous one, is generated from this file by `make gen`.": (
        "Calls of the synchronous client, generated from aio_caller.py by `make gen`: edit that file instead."
    ),
    "Operations of the asynchronous client; operations.py is generated from this file by `make gen`.": (
        "Operations of the synchronous client, generated from aio_operations.py by `make gen`: edit that file instead."
    ),
    "# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one\n": "",
    "over a pool of connections.": "over a pool of connections. Thread-safe.",
    "Client of a Dejavu server for use in one event loop; connects on first use.": (
        "Client of a Dejavu server. Thread-safe; connects on first use."
    ),
    """    async with AsyncDejavuClient("127.0.0.1:50051") as client:
        async for event in client.stream_predictions(include_current=True):
            if event.HasField("forecast"):
                print(event.forecast.game_id, event.forecast.point_forecast)
""": """    with DejavuClient("127.0.0.1:50051") as client:
        forecast = client.predict([0, 2, 3, 1, -2, 0, 1, 4, 6, 5, 5, 7, 8, 6, 9, 11, 8, 10], explain=True)
        print(forecast.point_forecast, forecast.interval_lower, forecast.interval_upper)
""",
    """ Cancelling the
    task that awaits a call cancels the call.
""": "\n",
}
"""Passages that read differently in the synchronous files; each occurs in at least one source, and only once in a
source."""

NAMES = {
    "AsyncDejavuClient": "DejavuClient",
    "AsyncRecordedPredictions": "RecordedPredictions",
    "AsyncCaller": "Caller",
    "AsyncOpen": "Open",
    "AsyncOperations": "Operations",
    "dejavu_client.aio_": "dejavu_client.",
    "AsyncConnection": "Connection",
    "AsyncClosed": "Closed",
    "AsyncStreamReader": "StreamReader",
    "AsyncAttempt": "Attempt",
    "AsyncRepeatable": "Repeatable",
    "async_send_probe": "send_probe",
    "transport.aio_": "transport.",
    "grpc.aio.": "grpc.",
    "aclosing": "closing",
    "asynccontextmanager": "contextmanager",
    "AsyncIterator": "Iterator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
}


def synchronous(source: str) -> str:
    """Return the source text of the synchronous client.

    Raises:
        ValueError: if a passage of TEXTS occurs more than once, or something asynchronous is left.
    """
    for old, new in TEXTS.items():
        if source.count(old) > 1:
            raise ValueError(f"{source.count(old)} times: {old!r}")
        source = source.replace(old, new)
    for old, new in NAMES.items():
        source = source.replace(old, new)
    source = re.sub(r"AsyncGenerator\[(.*), None\]", r"Generator[\1, None, None]", source)
    source = source.replace("AsyncGenerator", "Generator")
    source = re.sub(r"\basync (def|with|for)\b", r"\1", source)
    source = re.sub(r"\bawait ", "", source)
    if left := re.findall(r".*(?:[Aa]sync|await|\baio\b).*", source.split("\n", 1)[1]):
        raise ValueError(f"not synchronous: {left}")
    return _formatted(source)


def _formatted(source: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--select", "I,UP028", "--fix-only", "--unsafe-fixes", "-q"], ["format", "-q"]):
        source = subprocess.run(  # noqa: S603 - a fixed command
            [*ruff, *command, "--stdin-filename", str(PACKAGE / "generated.py"), "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return source


def main() -> None:
    """Write the synchronous files; with --check, exit with 1 if one differs.

    Raises:
        ValueError: if a passage of TEXTS occurs in no source, for example after it was edited there.
    """
    sources = "".join(source.read_text() for source in SOURCES)
    if unused := [passage for passage in TEXTS if passage not in sources]:
        raise ValueError(f"in no source: {unused}")
    for source, target in SOURCES.items():
        generated = synchronous(source.read_text())
        if sys.argv[1:] != ["--check"]:
            target.write_text(generated)
        elif target.read_text() != generated:
            sys.exit(f"{target} differs from what {source.name} gives: run make gen and commit it")


if __name__ == "__main__":
    main()
