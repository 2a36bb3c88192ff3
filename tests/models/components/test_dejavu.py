from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dejavu_models.arrays import Floats, to_tenths
from dejavu_models.components.dejavu import Dejavu, DejavuSettings, Entries, Kernel, Neighbors, kernel_regression
from dejavu_models.components.features import anchored, pattern_vectors, recency_weights
from dejavu_models.components.index import BruteForceIndex, VectorIndex, read_index
from dejavu_models.components.shown_entries import records_of, shown
from dejavu_trainer.training.index import SCAN_LIMIT, build_hnsw, build_index

RECENCY = 6.0


def walks(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0, 2.5, (count, 18)).cumsum(axis=1).round()


def entries_of(residuals: Floats, games: Floats | None = None) -> Entries:
    """Return entries with residuals (m, 2 margin sources, 2 horizons)."""
    count = len(residuals)
    return Entries(
        home=np.array(["BOS"] * count),
        away=np.array(["BKN"] * count),
        date=np.array(["2021-03-14"] * count, dtype="datetime64[D]"),
        games=np.ones(count, dtype=np.int32) if games is None else games.astype(np.int32),
        increments=np.zeros((count, 2), dtype=np.float32),
        spreads=np.zeros((count, 2), dtype=np.float32),
        residuals=residuals.astype(np.float32),
    )


def index_of(past: Floats, neighbours: int) -> VectorIndex:
    minutes = past.shape[1]
    return build_index(to_tenths(anchored(past)), recency_weights(minutes, RECENCY), neighbours, 0)


def dejavu_of(past: Floats, neighbours: int, kernel: Kernel = Kernel.TRICUBE) -> Dejavu:
    entries = entries_of(np.random.default_rng(9).normal(0, 6, (len(past), 2, 2)))
    return Dejavu(index_of(past, neighbours), entries, DejavuSettings(RECENCY, neighbours, kernel))


@pytest.mark.parametrize(("count", "neighbours"), [(SCAN_LIMIT, 25), (3000, 100)])
def test_the_index_finds_what_brute_force_finds(count: int, neighbours: int) -> None:
    past, asked = walks(count, 1), walks(200, 2)
    found = dejavu_of(past, neighbours).query(asked)
    squares = np.square(pattern_vectors(asked, RECENCY)[:, None] - pattern_vectors(past, RECENCY)[None]).sum(axis=2)
    nearest = np.argsort(squares, axis=1)[:, :neighbours]
    recall = np.mean([len(set(a) & set(b)) / neighbours for a, b in zip(found.entries, nearest, strict=True)])
    assert recall > 0.99
    exact = np.sqrt(np.take_along_axis(squares, found.entries, axis=1))
    assert found.distances == pytest.approx(exact, abs=1e-3)
    assert (np.diff(found.distances) >= 0).all()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("residuals", 3e38, "within ±1000"),
        ("increments", float("nan"), "within ±1000"),
        ("spreads", float("inf"), "within ±1000"),
        ("date", np.datetime64("30000-01-01"), "a date from 1946"),
        ("date", np.datetime64("NaT"), "a date from 1946"),
    ],
)
def test_an_entry_that_no_game_can_have_made_is_refused(column: str, value: object, said: str) -> None:
    """Verification reaches few entries: otherwise 1e37 points could be recorded, and a bad date could be an error."""
    entries = entries_of(np.zeros((3, 2, 2)))
    values = getattr(entries, column).copy()
    values[1] = value
    with pytest.raises(ValueError, match=said):
        replace(entries, **{column: values})


@given(
    st.sampled_from(Kernel),
    hnp.arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=st.floats(0, 40, width=32)),
)
def test_weights_fall_with_distance_and_never_vanish_together(kernel: Kernel, distances: Floats) -> None:
    weights = kernel.weights(np.sort(distances, axis=1))
    assert (np.diff(weights, axis=1) <= 0).all()
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) > 0).all()


def near(*distances: float) -> Neighbors:
    return Neighbors(np.arange(len(distances))[None], np.array([distances]))


def test_an_entry_counts_for_as_many_games_as_it_stands_for() -> None:
    games = np.array([1, 2], dtype=np.int32)
    assert kernel_regression(np.array([1.0, 4.0]), games, near(1.0, 1.0), Kernel.EPANECHNIKOV) == pytest.approx([3.0])


def test_the_kth_neighbour_fades_out_so_that_forecasts_do_not_jump() -> None:
    games = np.ones(3, dtype=np.int32)
    found = kernel_regression(np.array([1.0, 4.0, 100.0]), games, near(1.0, 1.0, 2.0), Kernel.TRICUBE)
    assert found == pytest.approx([2.5])


@pytest.mark.parametrize("count", [500, 1200])
def test_an_index_comes_back_from_its_bytes(count: int) -> None:
    dejavu, asked = dejavu_of(walks(count, 5), 50), walks(20, 6)
    index = read_index(dejavu.index.content, 18, count, 50)
    assert isinstance(index, BruteForceIndex) == (count <= SCAN_LIMIT)
    back = Dejavu(index, dejavu.entries, dejavu.settings)
    assert np.array_equal(back.query(asked).residuals, dejavu.query(asked).residuals)


@pytest.mark.parametrize("count", [100, 1200])
@pytest.mark.parametrize(("minutes", "missing"), [(17, 0), (18, 1)])
def test_an_index_of_another_form_is_refused(count: int, minutes: int, missing: int) -> None:
    content = dejavu_of(walks(count, 7), 25).index.content
    with pytest.raises(ValueError, match=rf"the index holds .*{count}.*18.*, not {count - missing} of {minutes}"):
        read_index(content, minutes, count - missing, 25)


def not_finite() -> bytes:
    broken = io.BytesIO()
    np.save(broken, np.full((3, 18), np.nan, dtype=np.float32))
    return broken.getvalue()


def of_hnswlib() -> bytes:
    index = build_hnsw(pattern_vectors(walks(100, 5), RECENCY), 0)
    with tempfile.NamedTemporaryFile() as file:
        index.save_index(file.name)
        return Path(file.name).read_bytes()


@pytest.mark.parametrize("content", [b"", b"short", b"\x93NUMPY", not_finite(), of_hnswlib()])
def test_bytes_that_are_no_index_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_index(content, 18, 3, 1)


def test_no_more_neighbours_than_entries() -> None:
    with pytest.raises(ValueError, match="101 neighbours of 100 entries"):
        dejavu_of(walks(100, 8), 101)


def test_entries_survive_their_file_and_give_the_same_bytes() -> None:
    entries = entries_of(np.arange(20.0).reshape(5, 2, 2))
    content = entries.to_bytes()
    back = Entries.from_bytes(content)
    assert back.to_bytes() == content
    assert back.date[0] == np.datetime64("2021-03-14")


def test_entries_of_several_minutes_are_joined_and_parted() -> None:
    one, other = (entries_of(np.full((count, 2, 2), float(count))) for count in (3, 5))
    joined = Entries.joined([one, other])
    assert len(joined) == 8
    assert joined.rows(0, 3).to_bytes() == one.to_bytes()
    assert joined.rows(3, 8).to_bytes() == other.to_bytes()


def test_entries_that_do_not_fit_together_are_refused() -> None:
    good = entries_of(np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="column spreads"):
        replace(good, spreads=good.spreads[:2])
    with pytest.raises(ValueError, match="column residuals"):
        replace(good, residuals=good.residuals[:, :1])
    with pytest.raises(ValueError, match="at least one game"):
        replace(good, games=np.array([1, 0, 1], dtype=np.int32))


DAYS = st.dates(date(1946, 8, 1), date(2046, 7, 31))


def entries(days: list[date], home: str = "BOS") -> Entries:
    """Return entries of games on some days."""
    count = len(days)
    numbers = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return Entries(
        home=np.array([home] * count),
        away=np.array(["NYK"] * count),
        date=np.array(days, dtype="M8[D]"),
        games=np.arange(1, count + 1, dtype=np.int32),
        increments=numbers,
        spreads=numbers + 0.5,
        residuals=np.zeros((count, 2, 2), dtype=np.float32),
    )


@given(st.lists(DAYS, min_size=1, max_size=20))
def test_an_entry_is_shown_as_its_columns_have_it(days: list[date]) -> None:
    columns = entries(days)
    records = records_of(columns.home, columns.away, columns.date, columns.games, columns.increments, columns.spreads)
    for row, entry in enumerate(shown(records, np.arange(len(days)))):
        assert (entry.home_team, entry.away_team, entry.date, entry.games) == ("BOS", "NYK", days[row], row + 1)
        assert entry.increments == columns.increments[row].tolist()
        assert entry.spreads == columns.spreads[row].tolist()


def test_a_team_code_is_ascii_and_a_game_has_a_date() -> None:
    columns = entries([date(2024, 11, 5)], home="Ökö")
    with pytest.raises(ValueError, match="ascii"):
        records_of(columns.home, columns.away, columns.date, columns.games, columns.increments, columns.spreads)
    with pytest.raises(ValueError, match="date"):
        replace(columns, date=np.array(["NaT"], dtype="M8[D]"))
