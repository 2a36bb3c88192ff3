"""Aims of the recipe: checks on the figures of a walk-forward, which do not decide the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from dejavu_models.metrics import Estimate
from dejavu_trainer.evaluation.coverage import coverage_by_season
from dejavu_trainer.evaluation.figures import ALL, LATE_NAME, OVERTIME, Figures
from dejavu_trainer.evaluation.table import LEVELS
from dejavu_trainer.evaluation.verdict import Check


class Aim(NamedTuple):
    """Limits of a figure: a score relative to a reference's, or a metric if there is none.

    Attributes:
        name: name of the check.
        target, kind, group, forecaster, metric, reference: see `Figures.get`.
        most: largest accepted value.
        below: what the upper end of the 95 % interval must be below, or equal unless it is 0; None: not checked.
        not_above: whether the interval must not lie entirely above 0.
    """

    name: str
    target: str
    kind: str
    group: str
    forecaster: str
    metric: str
    reference: str = ""
    most: float | None = None
    below: float | None = None
    not_above: bool = False

    def check(self, figures: Figures) -> Check | None:
        """Check the figure; None if the table has no such forecasts."""
        if self.forecaster not in figures.table.forecasters(self.target):
            return None
        found = figures.get(self.target, self.forecaster, self.metric, self.reference, kind=self.kind, group=self.group)
        limits = []
        if self.most is not None:
            limits.append(f"at most {self._number(self.most)}")
        if self.below is not None:
            end = f"at most {self._number(self.below)}" if self.below else "below 0"
            limits.append(f"upper end of the 95 % interval {end}")
        if self.not_above:
            limits.append("95 % interval not above 0")
        return Check(self.name, ", ".join(limits), self._shown(found), found is not None and self._holds(found))

    def _holds(self, found: Estimate) -> bool:
        return (
            (self.most is None or found.value <= self.most)
            and (self.below is None or (found.upper <= self.below if self.below else found.upper < 0))
            and not (self.not_above and found.lower > 0)
        )

    def _number(self, limit: float) -> str:
        return f"{100 * limit:+g} %" if self.reference and limit else f"{limit:g}"

    def _shown(self, found: Estimate | None) -> str:
        if found is None:
            return "too few games"
        return f"{found.in_percent:+.2f} %" if self.reference else f"{found:.4f}"


_TO_LINEAR, _TO_LOGISTIC = "relative to the linear model", "relative to the logistic regression"
_HALF, _FINAL = ("halftime", "minute", "18", "served"), ("final", ALL, ALL, "served")
_LATE, _TOTAL = ("final", "late", LATE_NAME, "served"), ("final total", "minute", "24")
_END, _LAST, _OVERTIME = (
    ("final moments", "band", band, "served") for band in ("44:00–48:00", "last minute", OVERTIME)
)
_MOMENTS = "winner at moments from 44:00"

AIMS: Final = (
    Aim(f"halftime from minute 18: CRPS {_TO_LINEAR}", *_HALF, "crps", "linear", -0.002, 0.0),
    Aim(f"final, all minutes: CRPS {_TO_LINEAR}", *_FINAL, "crps", "linear", -0.0025, 0.0),
    Aim(f"final, minutes {LATE_NAME}: CRPS {_TO_LINEAR}", *_LATE, "crps", "linear", -0.007),
    Aim(f"winner, all minutes: Brier score {_TO_LOGISTIC}", *_FINAL, "brier", "logistic", -0.0025, 0.001),
    Aim(f"winner, minutes {LATE_NAME}: Brier score {_TO_LOGISTIC}", *_LATE, "brier", "logistic", 0.0),
    Aim("winner, all minutes: expected calibration error", *_FINAL, "ece", most=0.01),
    Aim(f"halftime from minute 18: Winkler score at 95 % {_TO_LINEAR}", *_HALF, "winkler_95", "linear", 0.0),
    Aim(f"final, all minutes: Winkler score at 95 % {_TO_LINEAR}", *_FINAL, "winkler_95", "linear", -0.005),
    *(
        Aim(f"{name}, final from minute 24: CRPS relative to {label}", *_TOTAL, who, "crps", rival, below=0.0)
        for name, who, rival, label in (
            ("total points", "served", "pace", "pace × time"),
            ("total points", "served", "season_mean", "the season's mean"),
            ("total points with the line", "line", "served", "totals by ratings"),
            ("total points with the line", "line", "line_rate", "the line's rate"),
        )
    ),
    Aim(f"{_MOMENTS}: Brier score {_TO_LOGISTIC}", *_END, "brier", "logistic", below=0.0),
    Aim(f"{_MOMENTS}: log loss {_TO_LOGISTIC}", *_END, "log_loss", "logistic", below=0.0),
    Aim("winner, last minute: calibration error", *_LAST, "ece", most=0.02),
    Aim(f"winner in overtime: Brier score {_TO_LOGISTIC}", *_OVERTIME, "brier", "logistic", not_above=True),
)

OVERTIME_REACH: Final = 0.02
"""Largest accepted deviation of the coverage at 95 % in overtime, as a share."""


def aims_of(figures: Figures) -> tuple[Check, ...]:
    """Return the checks of all aims; they concern the served forecasts with known teams, and totals with the line."""
    found = (aim.check(figures) for aim in AIMS)
    return (*(check for check in found if check is not None), *_totals(figures), *_overtime(figures))


def missed(checks: Sequence[Check]) -> str:
    """Return a sentence with the number of reached aims and the names of the others."""
    names = [check.name for check in checks if not check.passed]
    reached = f"{len(checks) - len(names)} of {len(checks)} are reached"
    return f"{reached}; not reached: {'; '.join(names)}." if names else f"{reached}."


def _totals(figures: Figures) -> Iterator[Check]:
    target, kind, group = _TOTAL
    for forecaster, name in (("served", "total points"), ("line", "total points with the line")):
        for level in LEVELS if forecaster in figures.table.forecasters(target) else ():
            found = coverage_by_season(figures.table, target, forecaster, level, figures.groups(target, kind)[group])
            if found:
                yield Check(
                    name=f"{name}, final from minute {group}: coverage at {level} %, each season",
                    promise="each season's 99 % interval contains the expected coverage",
                    found=", ".join(
                        f"{season}: {100 * each.found.value:.1f}{'' if each.agrees else ' ✗'}"
                        for season, each in found.items()
                    ),
                    passed=all(each.agrees for each in found.values()),
                )


def _overtime(figures: Figures) -> Iterator[Check]:
    found = figures.get("final moments", "served", "coverage_95", kind="band", group=OVERTIME)
    if found is not None:
        yield Check(
            name="final in overtime: coverage at 95 %",
            promise=f"within {100 * OVERTIME_REACH:g} points",
            found=f"{found.in_percent:.1f} %",
            passed=abs(found.value - 0.95) <= OVERTIME_REACH,
        )
