"""Ensembles for tests: random linear models and networks, and databases of random walks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import numpy as np
from tests.support.builders.calibrations import symmetric_model
from tests.support.builders.random_walks import random_walks

from dejavu_models.arrays import Floats, Singles
from dejavu_models.components.dejavu import Dejavu, image_vectors
from dejavu_models.components.ensemble import CELLS, POOLED, Ensemble, Weights
from dejavu_models.components.features import FEATURES, LIVE_CHANNELS, OUTPUTS, STEP_CHANNELS, References, Rows
from dejavu_models.components.graph import Graph
from dejavu_models.components.linear import CORRECTION_TERMS, LinearModels
from dejavu_models.components.lstm import Lstm
from dejavu_models.components.past_games import PastGames
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import (
    MOMENTS,
    PLAYERS,
    SCHEMA_VERSION,
    Golden,
    Manifest,
    Part,
    RatingsRecord,
    VerdictRecord,
    file_names,
    version_of,
)
from dejavu_models.moments.model import MomentModel
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter
from dejavu_models.team_filter import RatingSettings
from dejavu_models.types import CASES, HORIZONS, LINEAR_SOURCES, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import LiveKind
from dejavu_store.default_bundles import default_bundle

MINUTES = MAX_SLOTS + 1


def past_games(count: int = 300, seed: int = 1) -> PastGames:
    """Return random walks; every tenth has no known points."""
    games, rng = random_walks(count, range(2020, 2021), seed), np.random.default_rng(seed)
    totals = games.totals.astype(np.int16)
    totals[::10] = -1
    return PastGames(
        home=games.home,
        away=games.away,
        date=games.date.astype("datetime64[D]"),
        differentials=games.differentials,
        final=games.final,
        totals=totals,
        final_total=np.where(totals[:, 0] < 0, -1, games.final_total).astype(np.int16),
        margins=rng.normal(2, 6, count).astype(np.float32),
        codes=np.clip(rng.normal(130, 20, (count, len(CASES))), 0, 255).astype(np.uint8),
    )


def database(groups: int = 60, nearest: int = 12) -> Dejavu:
    """Return a database whose groups are of games with neighbouring leads, and graphs that link neighbours."""
    games = past_games()
    count = len(games)
    weights = np.tile([1.0, *[0.5] * (FEATURES - 3), 1.0, 0.1], (MINUTES, 1)) * np.linspace(1, 0.8, MINUTES)[:, None]
    references = References(np.linspace(0.1, 0.6, MINUTES), np.linspace(0.0, 220.0, MINUTES))
    starts = np.linspace(0, 2 * count, groups + 1).astype(np.int64)
    members, graphs = np.empty((MAX_SLOTS, 2 * count), np.uint16), list[Graph]()
    live = np.full((count, LIVE_CHANNELS), np.nan)
    for minute in range(1, MAX_SLOTS + 1):
        live[:, 0] = np.where(games.totals[:, minute - 1] < 0, np.nan, games.totals[:, minute - 1])
        rows = Rows(games.differentials[:, :minute].astype(float), games.margins.astype(float), live.copy())
        vectors = image_vectors(rows, references, weights)
        order = np.argsort(vectors[:, 0], kind="stable")
        members[minute - 1] = 2 * (order % count) + order // count
        means = np.add.reduceat(vectors[order], starts[:-1], axis=0) / np.diff(starts)[:, None]
        graphs.append(_chain(means.astype(np.float32)))
    return Dejavu(games, graphs, starts, members, weights, references, nearest)


def _chain(centers: Singles) -> Graph:
    """Return a graph that links each center to the nearest 8, and to the ones before and after it."""
    distances = np.square(centers[:, None] - centers[None]).sum(axis=2)
    near = np.argsort(distances, axis=1, kind="stable")[:, 1:9]
    lists = [
        sorted({*near[each].tolist(), max(each - 1, 0), min(each + 1, len(centers) - 1)} - {each})
        for each in range(len(centers))
    ]
    return Graph(
        centers,
        np.zeros(1, np.uint16),
        np.zeros(len(centers), np.uint8),
        np.array([len(each) for each in lists], np.uint16),
        np.array([link for each in lists for link in each], np.uint16),
    )


def network(units: int, seed: int) -> dict[str, Singles]:
    """Return a network with random weights."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int, size: float = 0.3) -> Singles:
        return rng.normal(0, size, shape).astype(np.float32)

    return {
        "scale": np.array([12.0, 4.0, 1.0, 8.0, 1.0], np.float32),
        "input": drawn(4 * units, STEP_CHANNELS),
        "recurrent": drawn(4 * units, units),
        "bias": drawn(4 * units),
        "head": drawn(units + LIVE_CHANNELS, OUTPUTS),
        "head_bias": drawn(OUTPUTS),
        "spreads": np.abs(drawn(MAX_SLOTS, len(HORIZONS), size=1.0)),
    }


def lstm(units: int = 12, members: int = 2, kind: type[Lstm] = Lstm) -> Lstm:
    """Return networks with random weights."""
    networks = [network(units, seed) for seed in range(members)]
    stacked = {name: np.stack([each[name] for each in networks]) for name in networks[0]}
    return kind(stacked, np.linspace(0.0, 220.0, MINUTES))


def linear() -> LinearModels:
    """Return plausible linear models with cubes and corrections, which differ by the source of the margin."""
    rng = np.random.default_rng(5)
    coefficients = np.zeros((len(HORIZONS), MINUTES, len(LINEAR_SOURCES), 4))
    for index, horizon in enumerate(HORIZONS):
        left = np.clip(1 - np.arange(MINUTES) / horizon.minutes, 0, 1)
        for source in range(len(LINEAR_SOURCES)):
            coefficients[index, :, source, 0] = 1.2 * left
            coefficients[index, :, source, 1] = -0.12 * left
            coefficients[index, :, source, 2] = (0.7 + 0.1 * source) * left * (source != MarginSource.UNKNOWN)
            coefficients[index, :, source, 3] = -0.05 * left * (index == 1)
        coefficients[index, horizon.last_slot + 1 :] = np.nan
    corrections = rng.normal(0, 0.05, (len(LINEAR_SOURCES), CORRECTION_TERMS))
    corrections[MarginSource.UNKNOWN, [1, 3, 4, 5]] = 0.0
    spreads = np.tile(2.0 * np.sqrt(48 - np.arange(MINUTES)), (len(LINEAR_SOURCES), 1))
    spreads[:, 0] = 0.0
    return LinearModels(coefficients, corrections, spreads)


def weights(*components: str, seed: int = 3) -> Weights:
    """Return random weights of the linear models and of some components, which differ by cell."""
    drawn = np.random.default_rng(seed).dirichlet([3.0, 2.0, 2.0], (len(LINEAR_SOURCES), len(CELLS)))
    drawn *= [name == "linear" or name in components for name in POOLED]
    values: Floats = drawn / drawn.sum(axis=-1, keepdims=True)
    return Weights(values, values, values)


@cache
def ensemble(*components: str) -> Ensemble:
    """Return an ensemble with some components, by default with both."""
    makers: dict[str, Any] = {"dejavu": database, "lstm": lstm}
    used = components or ("dejavu", "lstm")
    return Ensemble(linear(), tuple(makers[name]() for name in used), weights(*used))


def forecaster(models: Ensemble) -> Forecaster:
    """Return a forecaster of an ensemble: tables of random walks, ratings after one game, some shipped files."""
    day, noon = date(2024, 6, 17), datetime(2024, 7, 1, 12, tzinfo=UTC)
    part = Part(seasons=(2024,), games=100, first_date=day, last_date=day)
    settings = RatingSettings()
    ratings = RatingsRecord(
        date=day,
        season=2025,
        noise=settings.noise,
        daily=settings.daily,
        carry=settings.carry,
        seasonal=settings.seasonal,
        home_daily=settings.home_daily,
    )
    golden = Golden(
        horizon=HORIZONS[0],
        pattern=(0.0,),
        home_team="BOS",
        away_team="DAL",
        alpha=0.05,
        point_forecast=0.0,
        interval_lower=0.0,
        interval_upper=0.0,
        home_lead_probability=0.5,
    )
    files = dict.fromkeys(sorted(file_names(models.components) | {MOMENTS, PLAYERS}), "0" * 64)
    packages = {each.name: "made for tests" for each in models.others}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        version=version_of(ratings, files, packages),
        components=models.components,
        packages=packages,
        created_time=noon,
        train=part,
        calibrate=part,
        data_fingerprint="0" * 64,
        seed=0,
        libraries={},
        ratings=ratings,
        verdict=VerdictRecord(fit=True, reason="made for tests", recipe="", seasons=(2024,)),
        metrics=(),
        golden=(golden,),
        files=files,
    )
    rated = RatingFilter.start(settings).predict(2024, date(2024, 6, 17)).update("BOS", "DAL", 18)
    tables = {(source, kind): symmetric_model(kind) for source in MarginSource for kind in LiveKind}
    players = PlayerRatings.from_bytes((default_bundle() / PLAYERS).read_bytes())
    moments = MomentModel.from_bytes((default_bundle() / MOMENTS).read_bytes())
    return Forecaster(manifest, models, LatticeCalibration(tables), rated, players=players, moments=moments)
