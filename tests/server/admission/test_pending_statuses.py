"""Statuses of refused calls that are being sent are bounded, of each address and in all."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from dejavu_server.admission.pending_statuses import PendingStatuses


@pytest.mark.parametrize(
    ("addresses", "sent"),
    [("aaaa", [1, 1, 0, 0]), ("aabbcc", [1, 1, 1, 1, 1, 0]), ("abcdef", [1, 1, 1, 1, 1, 0])],
)
def test_so_many_are_sent_and_no_more_until_some_were(addresses: str, sent: list[int]) -> None:
    statuses = PendingStatuses(most=5, most_of_address=2)
    with ExitStack() as sending:
        assert [sending.enter_context(statuses.counted(each)) for each in addresses] == sent
    for address in addresses:
        with statuses.counted(address) as fits:
            assert fits
