"""Online state of a model: live ratings and interval trackers, updated by the outcomes in a ledger.

A forecaster uses one online state at a time; the state records its ledger sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dejavu_models.live_ratings import RatedSchedule
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import Tracker


@dataclass(frozen=True, slots=True)
class OnlineState:
    """State that a forecaster uses in addition to its bundle.

    Attributes:
        sequence: ledger sequence of the newest outcome applied; 0 if none.
        mode: adaptation mode; None if adaptation is off.
        trackers: by horizon and quarter; without a tracker, intervals are those of the model as calibrated.
        rated: ratings and schedule of the season; None to use those of the bundle.
    """

    sequence: int = 0
    mode: AdaptationMode | None = None
    trackers: Mapping[tuple[Horizon, int], Tracker] = field(default_factory=dict)
    rated: RatedSchedule | None = None


INITIAL: Final = OnlineState()
