"""Records forecasts in the ledger and counts them."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter

from dejavu_models.types import Horizon
from dejavu_server.forecasting.service import Recorder
from dejavu_server.ledger.errors import OutcomeAlreadyRecorded
from dejavu_server.records import IssuedForecast


class MeteredRecorder:
    """Records forecasts and counts them as new, already recorded (known), rejected by a known outcome, or failed."""

    def __init__(self, ledger: Recorder, counter: Counter) -> None:
        self._ledger = ledger
        # Created at once, so that they are exported as 0 before the first forecast.
        self._new, self._known, self._refused, self._failed = (
            {horizon: counter.labels(outcome, horizon.value) for horizon in Horizon}
            for outcome in ("new", "known", "refused", "failed")
        )

    async def commit(self, issued: Sequence[IssuedForecast]) -> Sequence[IssuedForecast | OutcomeAlreadyRecorded]:
        """Records forecasts together; see `Recorder.commit`."""
        try:
            stored = await self._ledger.commit(issued)
        except Exception:
            for requested in issued:
                self._failed[requested.forecast.horizon].inc()
            raise
        for requested, recorded in zip(issued, stored, strict=True):
            if isinstance(recorded, OutcomeAlreadyRecorded):
                counters = self._refused
            else:
                counters = self._new if requested.generated_time == recorded.generated_time else self._known
            counters[requested.forecast.horizon].inc()
        return stored
