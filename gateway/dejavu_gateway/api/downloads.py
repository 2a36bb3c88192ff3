"""Recorded forecasts as a file: CSV, and parquet where pyarrow is installed."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import (
    ListPredictionsRequest,
)
from dejavu_client.export import PREDICTION_COLUMNS, has_pyarrow, missing_extra, write_csv_to, write_parquet_to
from dejavu_gateway.api.context import context_of, turn
from dejavu_gateway.api.games import LIST_TIMEOUT, PAGE_SIZE
from dejavu_gateway.http.answers import PARQUET, content_response
from dejavu_gateway.messages.decode import from_query
from dejavu_gateway.messages.errors import RequestRefused, invalid_field

MOST_ROWS: Final = 5000
"""Maximum number of forecasts of a file, some 5 MB: it is made in memory."""


NOT_OF_A_FILE: Final = {"page_size", "page_token", "return_explanation"}
"""Fields of a list's request that have no meaning for a file."""


async def predictions_csv(request: Request) -> Response:
    """GET /api/predictions.csv: recorded forecasts, newest first, with the columns of `dejavu predictions --csv`."""
    return await _file(request, "csv", "text/csv", _csv)


async def predictions_parquet(request: Request) -> Response:
    """GET /api/predictions.parquet: the same as parquet, with the columns of `dejavu predictions --parquet`."""
    if not has_pyarrow():
        message = str(missing_extra("pyarrow", "arrow"))
        raise RequestRefused("NO_PARQUET", message)
    return await _file(request, "parquet", PARQUET, _parquet)


async def _file(
    request: Request, kind: str, media_type: str, write: Callable[[list[RecordedPrediction]], bytes]
) -> Response:
    context = context_of(request)
    wanted, _ = from_query(request.query_params.multi_items(), ListPredictionsRequest)
    for field, _ in wanted.ListFields():
        if field.name in NOT_OF_A_FILE:
            raise invalid_field(field.json_name, "a file has all forecasts, without explanations; leave it out")
    wanted.page_size = PAGE_SIZE
    found = list[RecordedPrediction]()
    async with turn(request, context.products):
        while True:
            # One turn a page: a file takes seconds, for which no other read should wait.
            async with turn(request, context.reads):
                page = await context.client.call(wanted, timeout=LIST_TIMEOUT)
            found += page.predictions
            if len(found) > MOST_ROWS:
                raise RequestRefused(
                    "TOO_MANY_FORECASTS",
                    f"more than {MOST_ROWS:,} forecasts; expected fewer: choose a team or a shorter time, or use "
                    f"`dejavu predictions --{kind} FILE`, which has no limit",
                )
            wanted.page_token = page.next_page_token
            if not wanted.page_token:
                break
        body = await asyncio.to_thread(write, found)
    headers = {"content-disposition": f'attachment; filename="dejavu-forecasts.{kind}"'}
    return await content_response(request, body, media_type, "no-cache", headers)


def _csv(predictions: list[RecordedPrediction]) -> bytes:
    file = io.StringIO()
    write_csv_to(file, PREDICTION_COLUMNS, predictions)
    return file.getvalue().encode()


def _parquet(predictions: list[RecordedPrediction]) -> bytes:
    file = io.BytesIO()
    write_parquet_to(file, PREDICTION_COLUMNS, predictions)
    return file.getvalue()
