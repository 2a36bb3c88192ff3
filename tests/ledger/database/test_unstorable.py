"""A text that PostgreSQL cannot store is no failure of the ledger: a search for it finds nothing."""

from __future__ import annotations

import pytest
from tests.support.builders.issued_forecasts import game, issued

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu_ledger import Ledger
from dejavu_ledger.queries.predictions import UnknownGame
from dejavu_server.api.converters.record_requests import game_query, list_query

VERSION = "e16662fab926e701\0"


async def test_a_model_version_with_nul_is_that_of_no_forecast(ledger: Ledger) -> None:
    await ledger.commit([issued(game(1))])
    for version, found in (("", 1), (VERSION, 0)):
        asked = pb.ListPredictionsRequest(game_id=game(1), model_version=version, include_replays=True)
        page = await ledger.read(list_query(asked))
        assert len(page.forecasts) == found
    unknown = pb.GetPredictionRequest(game_id=game(1), model_version=VERSION, horizon=HORIZON_HALFTIME)
    with pytest.raises(UnknownGame):
        await ledger.read(game_query(unknown))
