"""Online state of a model: live ratings and interval trackers, updated by the outcomes in a ledger.

A forecaster uses one online state at a time; the state records its ledger sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dejavu_models.live_ratings import LiveRatings, LiveTotals
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.types import AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import Tracker


@dataclass(frozen=True, slots=True)
class OnlineState:
    """State that a forecaster uses in addition to its bundle.

    Attributes:
        sequence: ledger sequence of the newest outcome applied; 0 if none.
        mode: adaptation mode; None if adaptation is off.
        trackers: by horizon and quarter; without a tracker, intervals are those of the model as calibrated.
        ratings: None to use the ratings of the bundle.
        schedule: games of the season, for the terms of the expected margin; None if reported finals are not followed.
        totals: ratings of totals; None to use those of the bundle, if it has any.
        players: ratings of players; None to use those of the bundle, if it has any.
    """

    sequence: int = 0
    mode: AdaptationMode | None = None
    trackers: Mapping[tuple[Horizon, int], Tracker] = field(default_factory=dict)
    ratings: LiveRatings | None = None
    schedule: ScheduleHistory | None = None
    totals: LiveTotals | None = None
    players: PlayerRatings | None = None


INITIAL: Final = OnlineState()
