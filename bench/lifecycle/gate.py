"""Measures how often the gate is wrong, and how many games it takes to decide, by simulation and on real seasons.

    python -m bench.lifecycle.gate                                  # 1,000 seasons of 2,600 games for each challenger
    python -m bench.lifecycle.gate --chain                          # chains of challengers, each a little worse
    python -m bench.lifecycle.gate --limits                         # the best that a test of this error rate can do
    python -m bench.lifecycle.gate --walk WALK --other WALK1        # the folds of two walk-forwards, real games
    python -m bench.lifecycle.gate --walk WALK --scores FILE        # a walk-forward against scores of another program
    python -m bench.lifecycle.gate --walk WALK --other WALK1 --spread

In the simulation, differences of the CRPS and of the Brier score are drawn for each game from Student's t with four
degrees of freedom, scaled to a standard deviation (the spread), with a correlation of 0.7 between the two. Three
spreads of the CRPS are simulated: 0.02 and 0.25 points, measured on the season 2018 between two seeds of a recipe and
between fits on different seasons (--spread), and 0.08, four times the first. Two challengers equal the champion except
for an addition to the Brier score: one is worse by 0.5 in half of the games and better by 0.45 in the others, the other
is worse by 0.1 in one game in fifty. The means are 25 and 2 times the gate's margin for the Brier score (0.001). Counts
the games until the first decision, with the gate evaluated after each game. For comparison, also shows a z-test for the
same hypothesis, evaluated after each evening of seven games.

In a chain, each challenger is worse than the champion by half the margin in both scores, is staged when the one before
it was promoted, and retired after a third of a season without a decision; the loss is that of the champion at the end
of the season against the first one. It is simulated with the gate that also compares with the first champion (the
anchor), and without.

WALK is the folder that `dejavu-trainer backtest --out` writes. FILE is a .npz with game_id, season, crps, brier and
covered of forecasts of the half from minute 18; only this minute is compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from math import ceil, exp
from pathlib import Path
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from bench.lifecycle import folds
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.comparison import GateDecision, GateSettings, eprocess, judge
from dejavu_models.comparison.scores import FIRST_BOUND_IN_MARGINS

SETTINGS: Final = GateSettings()
GAMES: Final = 2600
EVENING: Final = 7
"""Games of an evening: the z-test and the study evaluate once per evening."""

BRIER_SHARE: Final = 0.055
"""Spread of the differences of the Brier score per point of spread of the CRPS, on the season 2018."""

_LIMIT: Final = float(np.log(SETTINGS.threshold))


class Challenger(NamedTuple):
    """A simulated challenger: by how many margins it is worse in each score.

    Attributes:
        share: share of games with a large difference of the Brier score; 0: none.
        extremes: addition to the difference in these games, and in all other games, in margins.
    """

    name: str
    crps: float
    brier: float
    share: float = 0.0
    extremes: tuple[float, float] = (0.0, 0.0)


CHALLENGERS: Final = (
    Challenger("better by the margin", -1.0, -1.0),
    Challenger("equal", 0.0, 0.0),
    Challenger("worse by half the margin", 0.5, 0.5),
    Challenger("worse by the margin", 1.0, 1.0),
    Challenger("worse by the margin in CRPS only", 1.0, 0.0),
    Challenger("worse by twice the margin", 2.0, 2.0),
    Challenger("much worse in half of the games", 0.0, 0.0, 0.5, (500.0, -450.0)),
    Challenger("very bad in one game in fifty", 0.0, 0.0, 0.02, (100.0, 0.0)),
)

SPREADS: Final = (0.02, 0.08, 0.25)


class Outcome(NamedTuple):
    """Number of games after which a simulated challenger was promoted or retired; 0: never.

    Attributes:
        z_promoted: number of games after which a z-test that is evaluated every evening would have promoted it; 0:
            never.
    """

    promoted: int
    retired: int
    z_promoted: int


def season(random: np.random.Generator, challenger: Challenger, spread: float) -> tuple[Floats, Floats]:
    """Return the differences of CRPS and Brier score of a season of games."""
    shared, own = random.standard_normal((2, GAMES))
    # One chi-square for both scores: a surprising game is surprising in both. The variance of t(4) is 2.
    scale = spread / np.sqrt(random.chisquare(4, GAMES) / 4.0) / np.sqrt(2.0)
    crps = challenger.crps * SETTINGS.crps_margin + scale * shared
    brier = challenger.brier * SETTINGS.brier_margin + BRIER_SHARE * scale * (0.7 * shared + np.sqrt(0.51) * own)
    if challenger.share:
        brier += SETTINGS.brier_margin * np.where(random.random(GAMES) < challenger.share, *challenger.extremes)
    return crps, brier


def chain(random: np.random.Generator, spread: float, *, has_anchor: bool) -> tuple[int, float]:
    """Return the promotions of a season of challengers that are worse by half the margin, and the loss in margins."""
    begins = promotions = 0
    while begins < GAMES:
        games = min(GAMES - begins, GAMES // 3)
        champion, first = (_differences(random, games, spread, 0.5 * (promotions * of + 1)) for of in (0, 1))
        against = [champion, first] if has_anchor and promotions else [champion]
        counts = np.arange(1, games + 1)
        promoted = (counts >= SETTINGS.min_games) & (counts % EVENING == 0)
        for crps, brier in against:
            promoted &= _not_worse(crps, SETTINGS.crps_margin) & _not_worse(brier, SETTINGS.brier_margin)
        after = _first(promoted)
        promotions += after > 0
        begins += after or games
    return promotions, 0.5 * promotions


def _differences(random: np.random.Generator, games: int, spread: float, margins: float) -> tuple[Floats, Floats]:
    """Return the differences of a model that is worse by some margins, as those of `season`."""
    crps, brier = season(random, Challenger("", margins, margins), spread)
    return crps[:games], brier[:games]


def _not_worse(differences: Floats, margin: float) -> NDArray[np.bool_]:
    """Return after which games the statement is shown that the model is not worse."""
    shown = eprocess.not_worse(differences, margin, FIRST_BOUND_IN_MARGINS * margin) >= _LIMIT
    return shown & (np.cumsum(differences) / np.arange(1, len(differences) + 1) < margin)


def chains(runs: int, seed: int) -> Iterator[str]:
    """Yield a table of what chains lose in a season, line by line."""
    yield "| spread of the CRPS | anchor | promotions | loss, points of CRPS: mean | 95 % of seasons below |"
    yield "|---|---|---|---|---|"
    for spread in SPREADS:
        for has_anchor in (False, True):
            random = np.random.default_rng([seed, round(1000 * spread)])
            found = np.array([chain(random, spread, has_anchor=has_anchor) for _ in range(runs)])
            promotions, loss = found[:, 0].mean(), SETTINGS.crps_margin * found[:, 1]
            most = np.quantile(loss, 0.95)
            yield f"| {spread} | {'yes' if has_anchor else 'no'} | {promotions:.1f} | {loss.mean():.3f} | {most:.3f} |"


def limits(games: int = 400, power: float = 0.95) -> Iterator[str]:
    """Yield a table of the best that tests can do that know the spread of the CRPS, whose differences are normal.

    Its columns: the games that the most powerful test needs for a power, if it is evaluated once (Neyman–Pearson
    lemma); its power after `games`; the probability that the best bet (an e-process that chooses its stake by the
    spread, and may be evaluated daily) has shown its statement by then; and the margin with which the test has that
    power then. A test that does not know the spread, or requires two scores, can only be worse.
    """
    normal, size, margin = NormalDist(), 1.0 / SETTINGS.threshold, SETTINGS.crps_margin
    reach = normal.inv_cdf(1.0 - size) + normal.inv_cdf(power)
    yield f"| spread of the CRPS | games for {power:.0%} | after {games} games | best bet | margin for {power:.0%} |"
    yield "|---|---|---|---|---|"
    for spread in SPREADS:
        signal = margin * games**0.5 / spread
        figures = (
            f"{ceil(games * (reach / signal) ** 2):,}",
            f"{normal.cdf(signal - normal.inv_cdf(1.0 - size)):.1%}",
            f"{max(_hit(step / 20.0, signal) for step in range(2, 80)):.1%}",
            f"{margin * reach / signal:.3f}",
        )
        yield f"| {spread} | {' | '.join(figures)} |"
    yield f"\nlargest spread with a power of {power:.0%} after {games} games: {margin * games**0.5 / reach:.3f}"


def _hit(stake: float, signal: float) -> float:
    """Return the probability that a bet on an equal challenger reaches the threshold: a Brownian first passage.

    Args:
        stake: the stake as a multiple of margin / variance, which is the stake with the largest growth.
        signal: margin / spread · √games.
    """
    drift, deviation = stake * signal**2 * (1.0 - stake / 2.0), stake * signal
    normal = NormalDist()
    late = normal.cdf((-_LIMIT - drift) / deviation)
    return normal.cdf((drift - _LIMIT) / deviation) + (exp(2.0 * drift * _LIMIT / deviation**2) * late if late else 0.0)


def outcome(crps: Floats, brier: Floats) -> Outcome:
    """Return the numbers of games after which the gate decides in a season."""
    counts = np.arange(1, GAMES + 1)
    not_worse, worse, below, above, z_test = [], [], [], [], []
    for differences, margin in ((crps, SETTINGS.crps_margin), (brier, SETTINGS.brier_margin)):
        bound = FIRST_BOUND_IN_MARGINS * margin
        not_worse.append(eprocess.not_worse(differences, margin, bound))
        worse.append(eprocess.worse(differences, margin, bound))
        mean = np.cumsum(differences) / counts
        below.append(mean < margin)
        above.append(mean > margin)
        deviation = np.sqrt(np.maximum(np.cumsum(np.square(differences)) / counts - np.square(mean), 1e-18))
        z_test.append((margin - mean) / deviation * np.sqrt(counts) > NormalDist().inv_cdf(0.95))
    enough = counts >= SETTINGS.min_games
    promoted = enough & (np.minimum(*not_worse) >= _LIMIT) & below[0] & below[1]
    # Without games at the other horizon, its two e-values are 1.
    mean_worse = (np.exp(np.minimum(worse[0], 600.0)) + np.exp(np.minimum(worse[1], 600.0)) + 2.0) / 4.0
    retired = enough & (mean_worse >= SETTINGS.threshold) & np.where(worse[0] >= worse[1], *above)
    evenings = enough & (counts % EVENING == 0)
    first = _first(promoted), _first(retired)
    # The first decision ends the comparison.
    kept = [each if each and not 0 < other < each else 0 for each, other in (first, first[::-1])]
    return Outcome(kept[0], kept[1], _first(evenings & z_test[0] & z_test[1]))


def _first(shown: np.ndarray) -> int:
    return int(shown.argmax()) + 1 if shown.any() else 0


def simulate(runs: int, seed: int) -> Iterator[str]:
    """Yield a table, line by line."""
    yield "| spread of the CRPS | challenger | promoted | within 400 | median | retired | median | z-test |"
    yield "|---|---|---|---|---|---|---|---|"
    for spread in SPREADS:
        for number, challenger in enumerate(CHALLENGERS):
            random = np.random.default_rng([seed, number, round(1000 * spread)])
            found = [outcome(*season(random, challenger, spread)) for _ in range(runs)]
            promoted = [each.promoted for each in found if each.promoted]
            retired = [each.retired for each in found if each.retired]
            shares = len(promoted), sum(each <= 400 for each in promoted), len(retired)
            z_test = sum(each.z_promoted > 0 for each in found)
            of_promoted, within, of_retired, of_z = (f"{each / runs:.1%}" for each in (*shares, z_test))
            medians = [f"{np.median(each):.0f}" if each else "–" for each in (promoted, retired)]
            yield (
                f"| {spread} | {challenger.name} | {of_promoted} | {within} | {medians[0]} |"
                f" {of_retired} | {medians[1]} | {of_z} |"
            )


def study(name: str, seasons: Sequence[folds.SeasonPairs]) -> Iterator[str]:
    """Yield the decisions of the gate on one model against another, evening by evening, in each season and in all."""
    yield f"### {name}"
    yield "| season | games | half: CRPS | Brier | end: CRPS | Brier | decision | after games | why |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for each in [*seasons, folds.joined(seasons)]:
        games = each.games
        count = min(SETTINGS.min_games, games)
        judgement = judge(each.compared(SETTINGS, count), SETTINGS)
        while judgement.decision is GateDecision.CONTINUE and count < games:
            count = min(count + EVENING, games)
            judgement = judge(each.compared(SETTINGS, count), SETTINGS)
        whole = each.compared(SETTINGS, games)
        differences = " | ".join(
            f"{score.difference.value:+.5f} (sd {folds.spread(score):.4f})"
            for comparison in whole.values()
            if comparison is not None
            for score in (comparison.crps, comparison.brier)
        )
        differences += " | – | –" * (2 - len(whole))
        yield f"| {each.name} | {games} | {differences} | {judgement.decision.value} | {count} | {judgement.reason} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulation, or the study of the given folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--walk", type=Path, help="folds of the challenger")
    parser.add_argument("--other", type=Path, help="folds of the model with which it is compared")
    parser.add_argument("--scores", type=Path, help="scores of another program with which it is compared")
    parser.add_argument("--chain", action="store_true", help="instead simulate chains of challengers")
    parser.add_argument("--limits", action="store_true", help="instead print the best that a test can do")
    parser.add_argument("--spread", action="store_true", help="instead print the spread of differences")
    given = parser.parse_args(arguments)
    if given.walk is None and (given.spread or given.other or given.scores):
        parser.error("--other, --scores and --spread need --walk")
    if given.walk is not None and given.other is None and (given.spread or given.scores is None):
        parser.error("--walk needs --other" + " or --scores" * (not given.spread))
    if given.limits:
        lines = limits()
    elif given.chain:
        lines = chains(given.runs, given.seed)
    elif given.walk is None:
        lines = simulate(given.runs, given.seed)
    elif given.spread:
        lines = folds.spreads(given.walk, given.other, SETTINGS)
    elif given.scores is not None:
        lines = study("against the scores, half from minute 18", folds.against_scores(given.walk, given.scores))
    else:
        lines = study("against the other", folds.against_walk(given.walk, given.other))
    for line in lines:
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
