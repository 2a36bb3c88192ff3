"""Coverage of the model that serves, from a server's scorecards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

from dejavu_models.types import HORIZONS
from dejavu_trainer.client import run_client

MIN_GAMES: Final = 100
"""Minimum number of games for a coverage to be checked."""


@dataclass(frozen=True, slots=True)
class CoverageFigure:
    """Coverage of the intervals at one level.

    Attributes:
        horizon: name of the horizon.
        alpha: nominal miscoverage.
        games: number of settled games.
        coverage: share of intervals that held.
        lower, upper: its 95 % interval.
        mean_width: mean width of the intervals, in points; 0 if it is not known.
    """

    horizon: str
    alpha: float
    games: int
    coverage: float
    lower: float
    upper: float
    mean_width: float = 0.0

    @property
    def of_whole_ends(self) -> float:
        """Expected excess coverage of a calibrated model, since intervals include their ends, which are whole numbers.

        An end is the whole number at which the cumulative probability reaches a level. So, on each side, the interval
        has on average half of the probability of its end too much. This probability is approximated by that of a normal
        distribution whose intervals have the same width.
        """
        if not self.mean_width or not 0 < self.alpha < 1:
            return 0.0
        normal = NormalDist()
        score = normal.inv_cdf(1 - self.alpha / 2)
        return 2 * score * normal.pdf(score) / self.mean_width

    def misses(self, tolerance: float) -> bool:
        """Return whether the coverage is too low or too high.

        Its interval then lies more than a tolerance below the nominal coverage, or above it plus `of_whole_ends`.
        """
        nominal = 1 - self.alpha
        missed = self.upper < nominal - tolerance or self.lower > nominal + self.of_whole_ends + tolerance
        return self.games >= MIN_GAMES and missed

    def __str__(self) -> str:
        return (
            f"{self.horizon}: {100 * self.coverage:.1f} % [{100 * self.lower:.1f}, {100 * self.upper:.1f}] of the"
            f" intervals at {100 * (1 - self.alpha):.4g} % held in {self.games:,} games"
        )


def server_coverages(server: str, model_version: str) -> list[CoverageFigure]:
    """Return the coverages of a model on the settled forecasts of a server, of both horizons.

    Raises:
        CallFailed: if the server does not answer.
    """
    found = list[CoverageFigure]()
    for horizon in HORIZONS:
        scorecard = run_client("scorecard", "--horizon", horizon.value, "--model", model_version, server=server)
        found += _figures(horizon.value, scorecard)
    return found


def _figures(horizon: str, scorecard: dict[str, Any]) -> Iterator[CoverageFigure]:
    """Yield the coverages of a scorecard in protobuf's JSON, which leaves out zeros."""
    for each in scorecard.get("coverage", ()):
        yield CoverageFigure(
            horizon=horizon,
            alpha=float(each.get("alpha", 0)),
            games=int(each.get("games", 0)),
            coverage=float(each.get("coverage", 0)),
            lower=float(each.get("lower", 0)),
            upper=float(each.get("upper", 0)),
            mean_width=float(each.get("meanWidth", each.get("mean_width", 0))),
        )
