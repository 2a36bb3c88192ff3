"""The long table: what it holds, pooled and stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.builders.folds import two_folds, walk_fold

from dejavu_feed.errors import DataError
from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.table import Table, pool, read_table


def test_tables_are_stored_and_read_back_as_they_were(tmp_path: Path) -> None:
    table, path = small(), tmp_path / "fold.npz"
    path.write_bytes(table.to_bytes())
    assert read_table(path).to_bytes() == table.to_bytes()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[: len(content) // 2], ""),
        (lambda _: Table({"fold.season": np.arange(1), "game.season": np.arange(0)}).to_bytes(), "there is no game"),
        (lambda _: without_a_row("final.lead").to_bytes(), "columns do not fit together: final.lead"),
        (lambda _: without_a_row("final.served.crps").to_bytes(), "fit together: final.served.crps"),
    ],
    ids=["cut off", "no games", "leads", "scores"],
)
def test_files_that_are_no_table_are_refused_by_name(
    spoil: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "fold.npz"
    path.write_bytes(spoil(small().to_bytes()))
    with pytest.raises(
        DataError, match=f"fold.npz: is not a valid walk-forward fold: .*{message}.*delete it to recompute"
    ):
        read_table(path)


def small() -> Table:
    """Return a fold with one forecaster."""
    table = walk_fold()
    return Table({name: each for name, each in table.columns.items() if name.count(".") == 1 or ".served." in name})


def without_a_row(name: str) -> Table:
    table = small()
    return Table(table.columns | {name: table.columns[name][1:]})


def test_pooled_tables_have_all_rows_and_the_forecasters_that_all_have() -> None:
    first, second = two_folds()
    lacking = Table({name: each for name, each in second.columns.items() if ".frozen." not in name})
    pooled = pool([first, lacking])
    assert pooled.columns["fold.season"].tolist() == [2033, 2034]
    assert len(pooled) == len(first) + len(second) == 600
    assert pooled.targets == first.targets
    for horizon in HORIZONS:
        target = horizon.value
        assert set(pooled.forecasters(target)) == set(first.forecasters(target)) - {"frozen"}
        crps, season = pooled.of(target, "served.crps"), pooled.columns["game.season"][pooled.of(target, "game")]
        assert len(crps) == 600 * horizon.last_slot
        for table in (first, second):
            assert np.array_equal(crps[season == table.columns["fold.season"][0]], table.of(target, "served.crps"))
    with pytest.raises(ValueError, match="no fold"):
        pool([])
