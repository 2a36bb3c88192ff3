"""The ledger records the maker of an entry in its canonical text, which is hashed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.servers import async_worker

from dejavu_client import AsyncDejavuClient, market
from dejavu_client.requests import HALFTIME
from dejavu_common.clock import utc_now
from dejavu_ledger import verify
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope


def entries(path: Path) -> list[dict[str, object]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT canonical FROM entries WHERE kind != 'checkpoint' ORDER BY sequence")
        return [json.loads(text) for (text,) in rows]


async def test_every_kind_of_entry_names_its_maker_and_the_record_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    poller, clerk = (token_file.create(path, name, tuple(AccessScope), utc_now()) for name in ("poller", "clerk"))
    ledger = tmp_path / "ledger.sqlite3"
    async with async_worker(tmp_path, tokens=str(path)) as worker:
        address = worker.address
        async with (
            AsyncDejavuClient(address, token=poller) as polls,
            AsyncDejavuClient(address, token=clerk) as reports,
        ):
            await polls.predict(PATTERN, horizon=HALFTIME, game_id=GAME)
            await polls.predict(PATTERN, horizon=HALFTIME, game_id=GAME)  # recorded already
            await reports.quote(
                [*PATTERN[:-1], 40.0], market(-2.5, home_odds=1.9, away_odds=1.9), horizon=HALFTIME, game_id=GAME
            )
            of_minute = [each async for each in reports.list_predictions(game_id=GAME)]
            reported = await reports.report_outcome(GAME, 3, horizon=HALFTIME)
            withdrawn = await polls.withdraw_outcome(GAME, horizon=HALFTIME)
    assert [(entry["kind"], entry["made_by"]) for entry in entries(ledger)] == [
        ("forecast", "token:poller"),
        ("forecast", "token:clerk"),  # and no correction of the poller's
        ("market", "token:clerk"),
        ("outcome", "token:clerk"),
        ("outcome", "token:poller"),
    ]
    assert (reported.outcome.recorded_by, withdrawn.outcome.recorded_by) == ("token:clerk", "token:poller")
    assert {(each.recorded_by, each.superseded) for each in of_minute} == {
        ("token:poller", False),
        ("token:clerk", False),
    }
    assert verify(f"sqlite:///{ledger}").sequence == 5
