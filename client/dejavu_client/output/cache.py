"""Text output of the statistics of a server's cache."""

from __future__ import annotations

from typing import Final

from dejavu.v1 import cache_service_pb2 as pb
from dejavu_client.formatting import percent
from dejavu_client.output.responsive_table import name_value_rows
from dejavu_common.rich_console import Console, titled_panel

_MEBIBYTE: Final = 1024 * 1024

_BACKENDS: Final = {
    pb.CACHE_BACKEND_OFF: "off",
    pb.CACHE_BACKEND_MEMORY: "memory of each worker",
    pb.CACHE_BACKEND_REDIS: "memory of each worker, and Redis",
}

_SHARED: Final = {
    pb.SHARED_CACHE_STATE_USED: "used",
    pb.SHARED_CACHE_STATE_FAILED: "not used: it fails or is slow; see the server's log",
}


def print_cache_stats(stats: pb.GetCacheStatsResponse) -> None:
    """Print the statistics of a cache."""
    rows = name_value_rows()
    rows.add_row("answers are kept in", _BACKENDS.get(stats.backend, "unknown (newer server)"))
    if stats.backend != pb.CACHE_BACKEND_OFF:
        rows.add_row("workers", f"{stats.workers}")
        rows.add_row("answers", f"{stats.entries:,}")
        rows.add_row("memory", f"{stats.bytes / _MEBIBYTE:.1f} of {stats.max_bytes / _MEBIBYTE:.0f} MiB")
        rows.add_row("kept for at most", f"{stats.max_age.ToTimedelta().total_seconds():g} s")
        rows.add_row("hits", f"{stats.hits:,}")
        rows.add_row("misses", f"{stats.misses:,}")
        rows.add_row("hit rate", percent(stats.hit_rate) if stats.HasField("hit_rate") else "–")
        rows.add_row("evictions", f"{stats.evictions:,}")
        if stats.shared_state in _SHARED:
            rows.add_row("Redis", _SHARED[stats.shared_state])
    Console().print(titled_panel(rows, "cache of what-ifs"))
