"""A neutral site over a real connection: no home advantage, and a revision where the site is corrected."""

from __future__ import annotations

from datetime import date
from functools import partial
from pathlib import Path

import pytest
from tests.support.processes.servers import async_worker

from dejavu_client import FINAL, AsyncDejavuClient


async def test_nobody_is_at_home_at_a_neutral_site_and_the_record_says_so(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path, shipped=True, max_ratings_days=365) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        ask = partial(client.predict, [1.0, 4.0], horizon=FINAL, home_team="BOS", away_team="NYK")
        ask = partial(ask, game_date=date(2024, 10, 24), game_id="0022400061")
        neutral = await ask(neutral_site=True)
        assert (neutral.neutral_site, neutral.expected_margin_terms.home_advantage) == (True, 0.0)
        for again in (await ask(), await ask(neutral_site=True)):
            assert (again.sequence, again.expected_margin) == (neutral.sequence, neutral.expected_margin)
        at_home = await ask(neutral_site=False)
        assert (at_home.revision, at_home.neutral_site) == (1, False)
        terms = at_home.expected_margin_terms
        assert terms.home_advantage > 1
        assert at_home.expected_margin == pytest.approx(neutral.expected_margin + terms.home_advantage)
        listed = await client.predict([1.0], horizon=FINAL, home_team="BKN", away_team="CLE", game_date="2024-01-11")
        assert not listed.HasField("neutral_site")
        assert listed.expected_margin_terms.home_advantage == 0, "Paris"
