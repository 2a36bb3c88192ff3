"""The maximum number of connections of a worker."""

from __future__ import annotations

import pytest

from dejavu_server.worker.grpc_options import max_connections


@pytest.mark.parametrize(
    ("descriptors", "max_rss", "connections"),
    [
        (1024, 0, 870),  # the rest is for files
        (65_535, 0, 55_704),
        (65_535, 384, 3276),  # idle connections must not take a worker above max_rss
        (1024, 1024, 870),
        (2**40, 0, 2**31 - 1),
    ],
)
def test_connections_leave_descriptors_for_files_and_memory_for_work(
    descriptors: int, max_rss: int, connections: int
) -> None:
    assert max_connections(descriptors, max_rss) == connections
