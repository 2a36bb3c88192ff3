"""Makes a forecast with the bundle of the installed package, as a check of a wheel."""

from __future__ import annotations

import sys

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import default_bundle

point = load_bundle(default_bundle()).forecast(ForecastQuery(ScorePattern((0.0,) * 18))).point
if not abs(point) < 5.0:
    sys.exit(f"a tied game is forecast to be {point} at the half; expected within ±5")
sys.stdout.write(f"a tied game after 18 minutes: {point:+.2f} at the half\n")
