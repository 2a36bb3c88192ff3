"""Defaults of the client's options, and the settings of its channels.

gRPC does the retries, configured by service_config.json next to this file, which clients in other languages can load
too. After UNAVAILABLE or CANCELLED it makes two more attempts, after about 0.5 and 1 second: a draining server cancels
calls that it never ran. A call cancelled by the caller ends at once. The attempts end well before the default deadline.
Retries are safe: the server answers a repeated request for a recorded forecast with the stored one. The retry policy
excludes streams, which the client resumes with a token, and health checks, which must report the current state.

service_config_servers.json is for several servers: calls rotate over the servers that are SERVING. This client has one
channel per connection, so it uses only the health check of this file, and repeats requests itself
(transport/retry_budget.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT = 3.0
SCORES_TIMEOUT = 60.0
"""Deadline of scorecard calls. They take a few seconds per million settled forecasts and run one at a time."""
MODELS_TIMEOUT = 75.0
"""Deadline of changes of models. A server waits up to a minute until all workers have loaded a model."""
DEFAULT_CHANNELS = 4
CALLS_PER_CHANNEL = 32
"""Calls in progress over a channel; more wait for their turn. On four channels these are as many forecasts as two
workers have in progress by default: more only overload the server, whose core then cancels some unseen."""
DEFAULT_SILENCE = 60.0
DEFAULT_SLOW = 0.2

MAX_SECONDS = 1e6
"""Maximum timeout: eleven days, a length that clocks and libraries can still handle."""

Metadata = Sequence[tuple[str, str | bytes]]
"""Key–value pairs sent with every call."""

CallMetadata = tuple[tuple[str, str | bytes], ...]
"""The metadata of one call, as gRPC takes them."""


def seconds(name: str, value: float) -> float:
    """Return a timeout unchanged after checking its range.

    Args:
        name: name of the argument, for the error message.
        value: timeout in seconds.

    Raises:
        ValueError: if `value` is zero, negative, NaN or above `MAX_SECONDS`.
    """
    if not 0 < value <= MAX_SECONDS:  # false for NaN too
        raise ValueError(f"{name}={value!r} is not a time to wait; expected seconds above 0, up to {MAX_SECONDS:,.0f}")
    return value


@cache
def service_config(*, several: bool = False) -> str:
    """Return a gRPC service config in JSON: the retry policy and, for several servers, the health check."""
    name = "service_config_servers.json" if several else "service_config.json"
    return json.dumps(json.loads(files("dejavu_client").joinpath(name).read_text(encoding="utf-8")))


def channel_options(*, several: bool = False, authority: str = "") -> list[tuple[str, str | int]]:
    """Return the options of every channel of the pool.

    Args:
        several: whether the channel is to one of several servers. The client then repeats requests itself, so that it
            can send them to another server, instead of gRPC.
        authority: name that the server's certificate must have; empty for the name in the target.
    """
    return [
        ("grpc.service_config", service_config(several=several)),
        *([("grpc.enable_retries", 0)] if several else []),
        *([("grpc.default_authority", authority)] if authority else []),
        # Use the policy above; do not look one up in DNS.
        ("grpc.service_config_disable_resolution", 1),
        # Otherwise channels of one process to one address share a connection, and so a worker.
        ("grpc.use_local_subchannel_pool", 1),
        # The server permits a ping every 10 s. Calls detect a silent connection earlier, by probes; an unanswered ping
        # ends streams.
        # gRPC waits for the answer to a ping for the longer of the two timeouts; ping_timeout_ms is a minute by
        # default.
        ("grpc.keepalive_time_ms", 12_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Reconnect to a restarted server while a call's retries last, which is at least 1.2 s.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 2_000),
        ("grpc.max_reconnect_backoff_ms", 800),
        # A thousand explained forecasts are larger than gRPC's default of 4 MiB.
        ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ]
