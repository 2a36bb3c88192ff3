"""Records forecasts in the ledger and counts them."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter

from dejavu_models.types import Horizon
from dejavu_server.forecasting.service import Recorder
from dejavu_server.ledger.errors import OutcomeAlreadyRecorded
from dejavu_server.records import IssuedForecast


class MeteredRecorder:
    """A ledger that counts what it is given: new entries, ones it had already, those of what is known, failures."""

    def __init__(self, ledger: Recorder, counter: Counter) -> None:
        self._ledger = ledger
        # Looked up once, and so told as 0 until they count.
        self._new, self._known, self._refused, self._failed = (
            {horizon: counter.labels(outcome, horizon.value) for horizon in Horizon}
            for outcome in ("new", "known", "refused", "failed")
        )

    async def commit(self, issued: Sequence[IssuedForecast]) -> Sequence[IssuedForecast | OutcomeAlreadyRecorded]:
        """Records forecasts."""
        try:
            stored = await self._ledger.commit(issued)
        except Exception:
            for mine in issued:
                self._failed[mine.forecast.horizon].inc()
            raise
        for mine, its in zip(issued, stored, strict=True):
            if isinstance(its, OutcomeAlreadyRecorded):
                counted = self._refused
            else:
                counted = self._new if mine.generated_time == its.generated_time else self._known
            counted[mine.forecast.horizon].inc()
        return stored
