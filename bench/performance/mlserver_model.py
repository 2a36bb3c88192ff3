"""The model that MLServer serves: the same bundle with the same code. MLServer loads this file in its own environment.

It imports nothing from `bench`, which that environment does not have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import Horizon
from dejavu_store.bundle import load_bundle


class Dejavu(MLModel):  # type: ignore[misc]
    """Forecasts the half from patterns of 18 minutes, (n, 18): n forecasts in one pass."""

    async def load(self) -> bool:
        """Load the bundle that the model's settings name."""
        self._forecaster = load_bundle(Path(self.settings.parameters.uri), allow_unfit=True)
        return True

    async def predict(self, payload: Any) -> Any:
        """Answer one inference request, with the same values as a response to a what-if."""
        [tensor] = payload.inputs
        patterns = NumpyCodec.decode_input(tensor)
        queries = [ForecastQuery(ScorePattern(tuple(row)), Horizon.HALFTIME) for row in patterns.tolist()]
        for query in queries:
            self._forecaster.check(query)
        forecasts = self._forecaster.forecast_many(queries)
        columns = {
            "point": [each.point for each in forecasts],
            "interval_lower": [each.interval.lower for each in forecasts],
            "interval_upper": [each.interval.upper for each in forecasts],
            "home_lead_probability": [each.home_lead_probability for each in forecasts],
        }
        outputs = [NumpyCodec.encode_output(name, np.array(values)) for name, values in columns.items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)
