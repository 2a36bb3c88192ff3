"""Lists of recorded forecasts: read one by one, page after page, or as one table."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any, Self

from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import ListPredictionsResponse
from dejavu_client.export import PREDICTION_COLUMNS, arrow_batch, arrow_schema, missing_extra

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_ROWS_OF_A_BATCH = 10_000
"""Maximum number of forecasts held as messages at a time; as columns they take a fraction of the memory."""


class RecordedPredictions(Iterator[RecordedPrediction]):
    """Recorded forecasts, newest first; each page is fetched when it is reached."""

    def __init__(self, pages: Generator[RecordedPrediction, None, None]) -> None:
        self._pages = pages

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RecordedPrediction:
        return next(self._pages)

    def close(self) -> None:
        """End the iteration."""
        self._pages.close()

    def to_arrow(self) -> pa.Table:
        """Read all remaining forecasts into a table with the columns of docs/calls.md; missing values are null.

        Raises:
            ImportError: if pyarrow is not installed; the message names the extra to install.
        """
        batches = _Batches()
        for prediction in self:
            batches.add(prediction)
        return batches.table()

    def to_pandas(self) -> pd.DataFrame:
        """Read all remaining forecasts into a data frame with the columns of `to_arrow` and nullable types.

        Raises:
            ImportError: if pandas or pyarrow is not installed; the message names the extra to install.
        """
        _check_pandas()
        return _data_frame(self.to_arrow())


class AsyncRecordedPredictions(AsyncIterator[RecordedPrediction]):
    """Recorded forecasts, newest first; each page is fetched when it is reached.

    Attributes:
        pages: the pages; read either these or the forecasts.
    """

    def __init__(self, pages: AsyncGenerator[ListPredictionsResponse, None]) -> None:
        self.pages = pages
        self._predictions = (each async for page in pages for each in page.predictions)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RecordedPrediction:
        return await anext(self._predictions)

    async def aclose(self) -> None:
        """End the iteration."""
        await self._predictions.aclose()

    async def to_arrow(self) -> pa.Table:
        """Read all remaining forecasts into a table; see `RecordedPredictions.to_arrow`."""
        batches = _Batches()
        async for prediction in self:
            batches.add(prediction)
        return batches.table()

    async def to_pandas(self) -> pd.DataFrame:
        """Read all remaining forecasts into a data frame; see `RecordedPredictions.to_pandas`."""
        _check_pandas()
        return _data_frame(await self.to_arrow())


class _Batches:
    """Collects forecasts as columns.

    Raises:
        ImportError: if pyarrow is not installed.
    """

    def __init__(self) -> None:
        self._schema = arrow_schema(PREDICTION_COLUMNS)
        self._batches: list[Any] = []
        self._rows: list[RecordedPrediction] = []

    def add(self, prediction: RecordedPrediction) -> None:
        """Add a forecast."""
        self._rows.append(prediction)
        if len(self._rows) == _ROWS_OF_A_BATCH:
            self._convert()

    def table(self) -> pa.Table:
        """Return all forecasts that were added."""
        import pyarrow as pa  # noqa: PLC0415 - an extra

        self._convert()
        return pa.Table.from_batches(self._batches, schema=self._schema)

    def _convert(self) -> None:
        if self._rows:
            self._batches.append(arrow_batch(PREDICTION_COLUMNS, self._schema, self._rows))
            self._rows = []


def _check_pandas() -> None:
    try:
        import pandas as pd  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise missing_extra("pandas", "pandas") from error


def _data_frame(table: pa.Table) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - an extra
    import pyarrow as pa  # noqa: PLC0415

    # By default, whole numbers and flags with missing values would become floats and objects.
    types = {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
    }
    return table.to_pandas(types_mapper=types.get)
