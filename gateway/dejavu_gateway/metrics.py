"""Prometheus metrics of a gateway, served at /metrics.

| metric                                              | meaning                                                    |
|-----------------------------------------------------|------------------------------------------------------------|
| dejavu_dashboard_requests_total{endpoint, status}   | answered requests; endpoint: the template of the path;     |
|                                                     | status 499: the browser disconnected before its answer     |
| dejavu_dashboard_request_seconds{endpoint}          | duration of answers, except live streams                   |
| dejavu_dashboard_browsers{transport}                | live streams: sse or websocket                             |
| dejavu_dashboard_events_sent_total{transport}       | events sent to browsers                                    |
| dejavu_dashboard_cut_off_total{reason}              | browsers cut off: stalled (took nothing), lagging (the     |
|                                                     | next event is no longer kept), crowded (another one got    |
|                                                     | their live stream)                                         |
| dejavu_dashboard_events_received_total              | events that the server sent                                |
| dejavu_dashboard_upstream_lag_seconds               | seconds from the recording of an event to its arrival      |
| dejavu_dashboard_upstream_streaming                 | 1 while the stream to the server works: a message came in  |
|                                                     | the last 45 s, heartbeats included                         |
| dejavu_dashboard_upstream_reconnects_total          | how often the stream to the server was lost                |
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LAG_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TRANSPORTS: Final = ("sse", "websocket")


class GatewayMetrics:
    """The metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        prefix = "dejavu_dashboard"
        self.requests = Counter(f"{prefix}_requests", "Answered requests.", ["endpoint", "status"], registry=registry)
        self.seconds = Histogram(f"{prefix}_request_seconds", "Seconds to an answer.", ["endpoint"], registry=registry)
        self.browsers = Gauge(f"{prefix}_browsers", "Live streams.", ["transport"], registry=registry)
        self.sent = Counter(f"{prefix}_events_sent", "Events sent to browsers.", ["transport"], registry=registry)
        self.cut_off = Counter(f"{prefix}_cut_off", "Browsers that were cut off.", ["reason"], registry=registry)
        self.received = Counter(f"{prefix}_events_received", "Events that the server sent.", registry=registry)
        self.lag = Histogram(
            f"{prefix}_upstream_lag_seconds",
            "Seconds from recording to arrival.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.streaming = Gauge(
            f"{prefix}_upstream_streaming", "1 while the stream to the server works.", registry=registry
        )
        self.reconnects = Counter(
            f"{prefix}_upstream_reconnects", "How often the stream to the server was lost.", registry=registry
        )
        # Start all counters at 0, so that a first one shows as an increase.
        for transport in TRANSPORTS:
            self.browsers.labels(transport)
            self.sent.labels(transport)
        for reason in ("stalled", "lagging", "crowded"):
            self.cut_off.labels(reason)
