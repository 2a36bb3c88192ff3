"""Migration of a ledger of release 0.1.0 to this release, with all its entries."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs
from tests.support.builders import release_0_1_0
from tests.support.builders.issued_forecasts import TOTAL, game, issued, recorded
from tests.support.builders.model_changes import champion, change_models
from tests.support.builders.outcomes import outcome

from dejavu_models.registry.stages import ModelAction
from dejavu_models.scorecard import scorecard
from dejavu_models.types import Horizon
from dejavu_server.ledger import Ledger, LedgerCorrupt, LedgerSchemaError, verify
from dejavu_server.ledger.audit.checkpoints import Signer
from dejavu_server.ledger.database import migrate
from dejavu_server.ledger.database.schema import forecasts
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.queries import scorecards
from dejavu_server.ledger.queries.scorecards import ScoreFilter
from dejavu_server.records import IssuedForecast

pytestmark = pytest.mark.sqlite

LATE = datetime(2026, 1, 2, 4, 30, tzinfo=UTC)
"""04:30 in London, which is the evening of the previous day in New York."""


NEWER = (("forecasts", "total_values"), ("outcomes", "total_points"))
"""Tables and their columns that a ledger has since ledger_0011."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Ledger of release 0.1.0."""
    path = tmp_path / "ledger.db"
    release_0_1_0.make(path)
    return path


def written(number: int) -> IssuedForecast:
    """Returns the forecast at a sequence as release 0.1.0 recorded it; every third is of a replay."""
    forecast = issued(
        f"{'99' if number % 3 == 0 else '00'}223{number:05d}",
        (0.0,) * (1 + number % 20),
        bare=True,
        horizon=Horizon.FINAL if number % 2 else Horizon.HALFTIME,
        home_team=("BOS", "", "Zürich")[number % 3],
        alpha=0.05 + number / 1000,
        generated_time=LATE + timedelta(hours=5 * number),
    )
    made = replace(forecast.forecast, home_lead_probability=number / 10 % 1)
    return replace(forecast, sequence=number, forecast=made)


async def index(ledger: Ledger) -> list[dict[str, Any]]:
    """Returns the stored columns of the forecasts; margin_given, which is computed, is tried by itself."""
    query = select(*(column for column in forecasts.c if column.computed is None)).order_by(forecasts.c.sequence)
    return await ledger.read(lambda connection: [row._asdict() for row in connection.execute(query)])


async def test_its_forecasts_get_the_columns_that_a_new_one_has(
    old: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PAGE_SIZE", 3)
    kept = [written(number) for number in range(1, 9)]
    hashes = [release_0_1_0.record(old, forecast) for forecast in kept]
    with pytest.raises(LedgerSchemaError, match="older release"):
        verify(url)
    ledger = await Ledger.open(url)
    expected = [rows.forecast_row(forecast, codec.prepare(forecast)) for forecast in kept]
    assert await index(ledger) == expected
    assert [row["day"] for row in expected[:2]] == [date(2026, 1, day).toordinal() for day in (1, 2)]
    assert await ledger.read_after(0, 10) == kept
    assert verify(url).hash == hashes[-1].hex(), "not a byte of the entries changed"
    await ledger.close()


async def test_what_it_holds_is_settled_without_what_it_does_not_know(old: Path, url: str) -> None:
    release_0_1_0.record(old, replace(issued(bare=True), sequence=1))
    ledger = await Ledger.open(url)
    assert (await ledger.record_outcome(outcome(3)))[1] == 1
    [kept] = await recorded(ledger, issued())
    assert kept.sequence == 1
    await ledger.close()
    assert verify(url).entries == 2


async def test_what_an_old_worker_still_records_after_the_migration_is_indexed_when_it_is_opened_next(
    old: Path, url: str
) -> None:
    await (await Ledger.open(url)).close()
    late = written(1)
    release_0_1_0.record(old, late)
    ledger = await Ledger.open(url)
    assert await index(ledger) == [rows.forecast_row(late, codec.prepare(late))]
    await ledger.close()


async def test_what_an_old_worker_records_last_is_indexed_with_the_next_checkpoint(
    old: Path, url: str, tmp_path: Path
) -> None:
    ledger = await Ledger.open(url)
    late = written(1)
    release_0_1_0.record(old, late)
    signer = Signer(ledger, tmp_path / "key.pem", seconds=60.0, clock=lambda: late.generated_time)
    assert await signer.write_checkpoint() is not None
    assert await index(ledger) == [rows.forecast_row(late, codec.prepare(late))]
    await ledger.close()
    assert verify(url).checkpoints == 1


async def test_a_ledger_that_cannot_be_migrated_stays_what_it_was(old: Path, url: str) -> None:
    release_0_1_0.record(old, written(1))
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE entries SET canonical = '{}'")
    with pytest.raises(LedgerCorrupt, match="entry 1 cannot be read back"):
        await Ledger.open(url)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("ledger_0001",)]
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'outcomes'").fetchall() == []
        assert len(connection.execute("SELECT * FROM forecasts").fetchone()) == 7


async def test_a_migration_is_logged_once_and_a_new_ledger_is_none(old: Path, url: str, tmp_path: Path) -> None:
    with capture_logs() as log:
        for each in (url, url, f"sqlite:///{tmp_path / 'new.db'}"):
            await (await Ledger.open(each)).close()
    told = [(line["path"], line["before"]) for line in log if line["event"] == "ledger_migrated"]
    assert told == [(str(old), "ledger_0001")]


async def test_the_arms_of_a_running_test_get_their_column(url: str, tmp_path: Path) -> None:
    ledger = await Ledger.open(url)
    await champion(ledger, "v1", "v2")
    await recorded(ledger, issued(game(1)))
    await change_models(ledger, ModelAction.ROUTE, shares=(("v2", 0.5),))
    await recorded(ledger, replace(issued(game(2)), arm="champion"), issued(game(3)))
    before = await index(ledger)
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        for table, column in (("forecasts", "arm"), *NEWER):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("UPDATE alembic_version SET version_num = 'ledger_0009'")
        database.commit()
    migrated = await Ledger.open(url)
    assert [row["arm"] for row in await index(migrated)] == ["", "champion", ""]
    assert await index(migrated) == before
    await migrated.close()
    verify(url)


async def test_a_ledger_without_columns_of_totals_is_verified_and_extended(url: str, tmp_path: Path) -> None:
    ledger = await Ledger.open(url)
    await recorded(ledger, issued(game(1)))
    await ledger.record_outcome(outcome(3, game(1)))
    before = await index(ledger)
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        for table, column in NEWER:
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("UPDATE alembic_version SET version_num = 'ledger_0010'")
        database.commit()
    ledger = await Ledger.open(url)
    assert await index(ledger) == before
    assert verify(url).entries == 2
    made = issued(game(2))
    await recorded(ledger, replace(made, forecast=replace(made.forecast, total=TOTAL), total_points=81))
    await ledger.record_outcome(replace(outcome(3, game(2)), total_points=111))
    settled = await ledger.read(lambda connection: scorecards.settled(connection, ScoreFilter()))
    assert settled.forecasts.total_error.tolist()[1:] == [TOTAL.point - 111]
    assert np.isnan(settled.forecasts.total_error[0])
    assert scorecard(settled.forecasts).total.forecasts == 1  # type: ignore[union-attr]
    await ledger.close()
    assert verify(url).entries == 4


async def test_an_empty_one_is_migrated_too(old: Path, url: str) -> None:
    ledger = await Ledger.open(url)
    assert [stored.sequence for stored in await recorded(ledger, issued(game(1)))] == [1]
    await ledger.close()
    assert verify(url).entries == 1


async def test_whether_a_margin_was_given_is_known_of_every_forecast_also_of_an_old_worker_s(
    old: Path, url: str
) -> None:
    release_0_1_0.record(old, written(1))
    ledger = await Ledger.open(url)
    release_0_1_0.record(old, written(2))
    await ledger.commit([issued(game(3), pregame_margin=0.0), issued(game(4))])
    query = select(forecasts.c.margin_given).order_by(forecasts.c.sequence)
    found = await ledger.read(lambda connection: list(connection.execute(query).scalars()))
    assert found == [False, False, True, False]
    await ledger.close()


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("ledger.db*")}


async def test_a_new_ledger_and_the_files_beside_it_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    opened = await Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    try:
        await opened.commit([issued("0022600001")])
        found = modes(tmp_path)
    finally:
        await opened.close()
    assert set(found) >= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert set(found.values()) == {0o600}
