"""The client's options and what they mean for a channel.

| option     | default         | meaning                                                                              |
|------------|-----------------|--------------------------------------------------------------------------------------|
| target     | 127.0.0.1:50051 | address of the server, as gRPC writes it                                              |
| timeout    | 3 s             | deadline of a call, its retries included; not of a stream                             |
|            | 60 s            | … of GetScorecard and GetLeaderboard, unless the call says otherwise                  |
| channels   | 4               | connections; each lands on one worker of the server, and the pool sees to it that all |
|            |                 | workers are reached, or as many as there are connections                              |
| silence    | 60 s            | a stream without any message, heartbeats included, for so long is taken to be dead    |
| slow       | 0.2 s           | a call that takes longer is logged as a warning …                                     |
| very_slow  | 1 s             | … and one that takes this long as an error                                            |

Retries are gRPC's own, by service_config.json beside this file, which clients in other languages can load as well: two
more attempts, after about 0.5 and 1 second, for UNAVAILABLE and for CANCELLED (a draining server cancels calls it never
ran; a call that the caller cancels is over at once). They end long before the default deadline. A retry is safe: the
server answers a repeated request for a recorded forecast with the one it has. Streams and health checks are not in
there: a stream is resumed by the client, with its token, and a health check has to tell what is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT = 3.0
SCORES_TIMEOUT = 60.0
"""Deadline of a scorecard: some seconds a million settled forecasts, and one after the other."""
DEFAULT_CHANNELS = 4
DEFAULT_SILENCE = 60.0
DEFAULT_SLOW = 0.2
DEFAULT_VERY_SLOW = 1.0

MAX_SECONDS = 1e6
"""Longest time that can be asked for: eleven days, of which clocks and libraries think nothing yet."""

Metadata = Sequence[tuple[str, str | bytes]]
"""Key–value pairs that go out with every call."""


def seconds(name: str, value: float) -> float:
    """A time to wait, as it is given.

    Args:
        name: what it is for, as the argument is called.
        value: in seconds.

    Raises:
        ValueError: if nobody can wait for so long: 0, less, more than `MAX_SECONDS`, NaN.
    """
    if not 0 < value <= MAX_SECONDS:  # false for NaN too
        raise ValueError(f"{name}={value!r} is not a time to wait; expected seconds above 0, up to {MAX_SECONDS:,.0f}")
    return value


@cache
def service_config() -> str:
    """The retry policy: a gRPC service config in JSON."""
    text = files("dejavu_client").joinpath("service_config.json").read_text(encoding="utf-8")
    return json.dumps(json.loads(text))


def channel_options() -> list[tuple[str, str | int]]:
    """Options of every channel of the pool."""
    return [
        ("grpc.service_config", service_config()),
        # The policy above is the client's; none is looked for in DNS.
        ("grpc.service_config_disable_resolution", 1),
        # Channels of one process to one address share a connection otherwise, and so a worker.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A server that comes back is found again while a call's retries last, which is for 1.2 s at the least.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 2_000),
        ("grpc.max_reconnect_backoff_ms", 800),
        # A thousand explained forecasts are larger than gRPC's default of 4 MiB.
        ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ]
