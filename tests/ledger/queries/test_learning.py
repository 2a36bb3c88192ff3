"""What models learn from outcomes: what stands, and no longer what was withdrawn."""

from __future__ import annotations

from tests.support.builders.evening_events import lessons, reported, told, withdrawn
from tests.support.builders.record_book import RecordBook


def test_what_is_learned_has_the_total_that_stands(book: RecordBook) -> None:
    for event, totals in (
        (reported(total_points=211), [211]),
        (reported(total_points=217), [217]),
        (withdrawn(), []),
    ):
        told(book, event)
        assert [game.total_points for game in lessons(book)] == totals
