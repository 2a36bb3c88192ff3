"""kill -9 of the notifier that sends: every notification arrives, and again only if its sender could not confirm."""

from __future__ import annotations

import json

import pytest
from bench.notifier_kills import KillResult, main


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_twenty_kills_lose_no_notification_and_repeat_none_that_was_confirmed() -> None:
    shown: list[str] = []
    code = main(["--kills", "20", "--json"], show=shown.append)
    result = KillResult(**json.loads(shown[0]))
    assert (code, result.breaches()) == (0, [])
    assert (result.kills, result.notifications) == (20, 20)
    assert result.arrivals == 20 + len(result.repeated)


def test_whatever_is_lost_or_doubled_is_a_breach() -> None:
    assert KillResult(repeated=["a"]).breaches() == []
    assert KillResult(missing=["a"], twice=["b"], unsettled=["c"]).breaches() == ["missing", "twice", "unsettled"]
