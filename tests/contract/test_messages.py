"""The contract for everybody stands alone, and its JSON is what clients rely on."""

from __future__ import annotations

from google.protobuf import json_format
from tests.support.contract import FILES

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Forecast


def test_the_contract_for_everybody_needs_nothing_that_is_between_our_own_programs() -> None:
    imports = {(file.DESCRIPTOR.package, needed.package) for file in FILES for needed in file.DESCRIPTOR.dependencies}
    assert {package for package, needed in imports if needed == "dejavu.ops.v1"} == set()
    assert {package for package, needed in imports if needed == "dejavu.v1"} == {"dejavu.v1", "dejavu.ops.v1"}


def test_json_writes_what_clients_rely_on() -> None:
    message = Forecast(sequence=2**60, horizon=HORIZON_HALFTIME, alpha=0.05)
    written = json_format.MessageToDict(message)
    assert written == {"sequence": str(2**60), "horizon": "HORIZON_HALFTIME", "alpha": 0.05}
    assert json_format.ParseDict(written, Forecast()) == message
