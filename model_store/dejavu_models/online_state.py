"""Online state of a model: live ratings and interval trackers, updated by the outcomes in a ledger.

A forecaster uses one online state at a time; the state records its ledger sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from dejavu_models.live_ratings import LiveRatings
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import AdaptationMethod, ScoreMap, Tracker


@dataclass(frozen=True, slots=True)
class OnlineState:
    """State that a forecaster uses in addition to its bundle.

    Attributes:
        sequence: ledger sequence of the newest outcome applied; 0 if none.
        mode: adaptation mode; None if adaptation is off.
        method: adaptation method.
        trackers: by horizon and quarter; without a tracker, intervals are those of the model as calibrated.
        ratings: None to use the ratings of the bundle.
        schedule: games of the season, of which no forecast makes use yet; None if reported finals are not followed.
    """

    sequence: int = 0
    mode: AdaptationMode | None = None
    method: AdaptationMethod = AdaptationMethod.PID
    trackers: Mapping[tuple[Horizon, int], Tracker] = field(default_factory=dict)
    ratings: LiveRatings | None = None
    schedule: ScheduleHistory | None = None


INITIAL: Final = OnlineState()


class IntervalAdapter:
    """Applies a tracker to forecasts; caches the score map and the rolling coverage.

    Attributes:
        map: the score map.
        games: number of games in the rolling window.
        rolling: alpha → rolling coverage of its adapted and of its static intervals.
    """

    def __init__(self, tracker: Tracker, method: AdaptationMethod) -> None:
        self.map: ScoreMap = tracker.map(method)
        self.games = len(tracker.recent)

        # The cache is limited: clients that vary alpha on every call must not exhaust memory.
        @lru_cache(maxsize=64)
        def rolling(alpha: float) -> tuple[float | None, float | None]:
            return tracker.rolling_coverage(alpha, method), tracker.static_rolling_coverage(alpha)

        self.rolling = rolling
