"""Similar games of a forecast with NumPy: the reference for the compiled models."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats, Integers
from dejavu_models.components.compiled import SEARCHED
from dejavu_models.components.dejavu import Dejavu, image_vectors
from dejavu_models.components.features import LIVE_COLUMNS, Rows
from dejavu_models.types import MOST_SIMILAR, SAME_LEAD_POINTS, Horizon, SimilarGame, SimilarSummary


def similar_games(
    dejavu: Dejavu, rows: Rows, horizon: Horizon, groups: Integers, expected: float
) -> tuple[tuple[SimilarGame, ...], SimilarSummary]:
    """Return the nearest of the games that a forecast is made of, and what happened in those with its lead.

    Args:
        dejavu: the database.
        rows: the game, (1,) each.
        horizon: the horizon.
        groups: (nearest,), its nearest groups, the nearest first.
        expected: the prediction of Dejavu for the game, in points.
    """
    minute, lead, games = rows.patterns.shape[1], float(rows.patterns[0, -1]), dejavu.games
    images = dejavu.members_of(minute, groups)
    signs = 1 - 2 * (images % 2)
    leads = signs * games.differentials[images // 2, minute - 1]
    outcomes = signs * games.leads_at(horizon)[images // 2]
    same = outcomes[np.abs(leads - lead) <= SAME_LEAD_POINTS]
    summary = SimilarSummary(
        minute=minute,
        games=len(images),
        same_lead=len(same),
        home_led=int((same > 0).sum()),
        turned=int((same * lead < 0).sum()),
        correction=expected - float(same.mean()) if len(same) else 0.0,
    )
    return _nearest(dejavu, rows, horizon, dejavu.members_of(minute, groups[:SEARCHED])), summary


def _nearest(dejavu: Dejavu, rows: Rows, horizon: Horizon, images: Integers) -> tuple[SimilarGame, ...]:
    minute, games = rows.patterns.shape[1], dejavu.games
    difference = vectors_of_images(dejavu, minute, images) - dejavu.vectors(rows).astype(np.float64)
    distances = np.sqrt(np.square(difference).sum(axis=1))
    found: dict[int, SimilarGame] = {}
    outcomes = games.leads_at(horizon)
    for place in np.argsort(distances, kind="stable").tolist():
        game, mirrored = divmod(int(images[place]), 2)
        if len(found) == MOST_SIMILAR:
            break
        if game not in found:
            sign = -1 if mirrored else 1
            found[game] = SimilarGame(
                home_team=str(games.home[game]),
                away_team=str(games.away[game]),
                date=games.date[game].item(),
                mirrored=bool(mirrored),
                distance=float(distances[place]),
                differential=sign * int(games.differentials[game, minute - 1]),
                differential_at_horizon=sign * int(outcomes[game]),
                points=games.points(game, minute),
                final_points=games.points(game, None),
            )
    return tuple(found.values())


def vectors_of_images(dejavu: Dejavu, minute: int, images: Integers) -> Floats:
    """Return the vectors of images, (k, FEATURES)."""
    both = image_vectors(past_rows(dejavu, minute, images // 2), dejavu.references, dejavu.weights)
    result: Floats = both[np.arange(len(images)) + len(images) * (images % 2)]
    return result


def past_rows(dejavu: Dejavu, minute: int, games: Integers) -> Rows:
    """Return past games as rows after a minute."""
    live = np.full((len(games), len(LIVE_COLUMNS)), np.nan)
    totals = dejavu.games.totals[games, minute - 1].astype(np.float64)
    live[:, 0] = np.where(totals < 0, np.nan, totals)
    patterns = dejavu.games.differentials[games, :minute].astype(np.float64)
    return Rows(patterns, dejavu.games.margins[games].astype(np.float64), live)
