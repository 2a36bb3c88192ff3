"""Columns from and to Arrow, numpy and plain lists, against the real server."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from tests.support.processes.servers import running_worker

from dejavu_client import DejavuClient, ForecastColumns, InvalidArgumentError
from dejavu_client.requests import FINAL

PATTERNS = [[0.0, 2.0, 5.0, 4.0], [-1.0, -3.0], [2.0, 2.0, 7.0]]
MARGINS = [3.5, None, -2.0]
FLAT, MINUTES = [value for pattern in PATTERNS for value in pattern], [4, 2, 3]
PADDED = np.array([pattern + [math.nan] * (5 - len(pattern)) for pattern in PATTERNS])
FORMS = {
    "lists": (PATTERNS, None, MARGINS),
    "a padded numpy array": (PADDED, None, np.array([3.5, math.nan, -2.0])),
    "numpy arrays and minutes": (np.array(FLAT, dtype=np.float32), np.array(MINUTES), np.array([3.5, math.nan, -2.0])),
    "an Arrow array of lists": (pa.array(PATTERNS), None, pa.array(MARGINS)),
    "Arrow arrays and minutes": (pa.array(FLAT), pa.array(MINUTES), pa.array(MARGINS)),
    "chunked Arrow arrays": (pa.chunked_array([PATTERNS[:1], PATTERNS[1:]]), None, pa.chunked_array([MARGINS])),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_worker(tmp_path_factory.mktemp("ledger"), shipped=True) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[DejavuClient]:
    with DejavuClient(address) as client:
        yield client


@pytest.fixture(scope="module")
def expected(client: DejavuClient) -> list[tuple[float, ...]]:
    forecasts = [
        client.predict(pattern, pregame_margin=margin, horizon=FINAL, alpha=0.2, quantile_levels=(0.25, 0.75))
        for pattern, margin in zip(PATTERNS, MARGINS, strict=True)
    ]
    names = ("point_forecast", "interval_lower", "interval_upper", "home_lead_probability")
    return [
        (*(getattr(each, name) for name in names), *(quantile.value for quantile in each.quantiles))
        for each in forecasts
    ]


def rows(columns: ForecastColumns) -> list[tuple[float, ...]]:
    quantiles = [columns.quantile(level) for level in columns.levels]
    found = (columns.points, columns.lower, columns.upper, columns.home_lead_probabilities, *quantiles)
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_sent_and_answered(client: DejavuClient, expected: list[tuple[float, ...]], form: str) -> None:
    patterns, minutes, margins = FORMS[form]
    columns = client.predict_columns(
        patterns, minutes, pregame_margins=margins, horizon=FINAL, alpha=0.2, quantile_levels=(0.25, 0.75)
    )
    assert len(columns) == 3
    assert rows(columns) == expected
    assert columns.model_version == client.list_models()[0].version


def test_an_answer_is_shown_as_numpy_arrays_and_as_an_arrow_table(client: DejavuClient) -> None:
    columns = client.predict_columns(PATTERNS, quantile_levels=(0.25,))
    assert np.asarray(columns.points).tolist() == list(columns.points)
    assert np.shares_memory(np.asarray(columns.points), columns.points)
    table = columns.to_arrow()
    assert table.column_names == ["point", "lower", "upper", "home_lead_probability", "quantile_0.25"]
    assert table.to_pydict()["point"] == list(columns.points)
    assert table.to_pydict()["quantile_0.25"] == list(columns.quantile(0.25))
    assert table.schema.metadata == {b"model_version": columns.model_version.encode()}
    with pytest.raises(ValueError, match="not in tuple"):
        columns.quantile(0.5)


def test_what_is_wrong_is_named(client: DejavuClient) -> None:
    with pytest.raises(InvalidArgumentError, match="201 in minute 2 of game 1"):
        client.predict_columns([[0.0], [0.0, 201.0]])
    with pytest.raises(TypeError, match="give minutes"):
        client.predict_columns([0.0, 2.0])
