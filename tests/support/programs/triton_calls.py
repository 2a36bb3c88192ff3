"""Calls a server with tritonclient, the client library of Triton, and prints what it got, as JSON.

    python triton_calls.py HOST:PORT

Runs where tritonclient is installed, in a process that loads none of our code: tritonclient brings its own copy of the
protocol, and protobuf refuses two of them in one process. `tests/contract/test_tritonclient.py` starts it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

MODEL = "dejavu"
PATTERNS = np.array([[*range(18)], [*range(0, -10, -1), *[np.nan] * 8]])
LEVELS = np.array([0.1, 0.9])


def tensor(name: str, values: Any) -> triton.InferInput:
    """Return an input, whose contents tritonclient sends raw."""
    array = np.array(values, dtype=object) if isinstance(values[0], str) else np.asarray(values)
    datatype = {"O": "BYTES", "f": f"FP{8 * array.itemsize}", "i": f"INT{8 * array.itemsize}"}[array.dtype.kind]
    found = triton.InferInput(name, array.shape, datatype)
    found.set_data_from_numpy(array)
    return found


def inferred(client: triton.InferenceServerClient) -> dict[str, Any]:
    """Return a forecast with every kind of input."""
    inputs = [
        tensor("pattern", PATTERNS),
        tensor("horizon", ["final", "final"]),
        tensor("home_team", ["BOS", ""]),
        tensor("away_team", ["LAL", ""]),
        tensor("pregame_margin", np.array([4.5, np.nan], np.float32)),
        tensor("total_points", np.array([91, -1], np.int32)),
        tensor("quantile_levels", LEVELS),
    ]
    result = client.infer(MODEL, inputs, request_id="triton 1", parameters={"alpha": 0.2})
    response = result.get_response()
    return {
        "id": response.id,
        "model_version": response.model_version,
        "outputs": {each.name: result.as_numpy(each.name).tolist() for each in response.outputs},
    }


def refused(call: Callable[[], object]) -> list[str]:
    """Return the code and the message of a call that fails."""
    try:
        call()
    except InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return ["OK", ""]


def main() -> None:
    address = sys.argv[1]
    with triton.InferenceServerClient(address) as client:
        model = client.get_model_metadata(MODEL)
        holed = PATTERNS.copy()
        holed[1, 3] = np.nan
        answers = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(MODEL),
            "versions": list(model.versions),
            "inputs": {each.name: [each.datatype, list(each.shape)] for each in model.inputs},
            "outputs": [each.name for each in model.outputs],
            "raw": inferred(client),
            "unknown_model": refused(lambda: client.infer("resnet", [tensor("pattern", PATTERNS)])),
            "bad_row": refused(lambda: client.infer(MODEL, [tensor("pattern", holed)])),
            "no_streams": refused(client.get_model_repository_index),
        }
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
