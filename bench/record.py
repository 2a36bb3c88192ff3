"""Measures the cost of reading the track record with a hundred times more forecasts, and the cost of corrections.

Run with `python -m bench.record` from the project's folder. Fills two ledgers, one with ten thousand forecasts and one
with a million, and calls the service's methods on both alternately, each time for a different game or position. Times
include everything except gRPC. A round makes each call on both ledgers in direct succession, so a busy machine slows
both equally, and medians over rounds drop outliers. Then measures how long others wait to record a forecast while an
outcome of thousands of forecasts is corrected in a loop (record_corrections.py). Exits with 1 if a GetPrediction or
ListPredictions call takes more than three times as long on the large ledger, or if the 99th percentile of recording is
more than three times as long during corrections.

The large ledger takes five gigabytes of disk and some minutes. With --folder both ledgers are kept and reused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from bench.record_corrections import FORECASTS, p99
from bench.record_ledger import Filled, day, fill, found, game, version
from sqlalchemy import Connection

from bench import record_corrections
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu_feed.teams import TEAMS
from dejavu_server.api.converters.record_requests import list_query
from dejavu_server.api.record_service import RecordService
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.database import store
from dejavu_server.ledger.queries import page_tokens
from dejavu_server.ledger.queries.page_tokens import Cursor, PageCursor
from dejavu_server.records import Checkpoint

SMALL, LARGE = 10_000, 1_000_000
MOST_RATIO = 3.0


@dataclass
class Measured:
    """A kind of call and its timings.

    Attributes:
        name: label of the call.
        bounded: whether the ratio must not exceed MOST_RATIO.
        small_ms, large_ms: milliseconds per call on each ledger, by round.
        told: mean number of forecasts per response on the large ledger.
    """

    name: str
    bounded: bool
    small_ms: list[float] = field(default_factory=list)
    large_ms: list[float] = field(default_factory=list)
    told: float = 0.0

    @property
    def ratio(self) -> float:
        """Median time on the large ledger divided by the median on the small one."""
        return statistics.median(self.large_ms) / statistics.median(self.small_ms)


class Subject:
    """A ledger under test, with its service."""

    def __init__(self, filled: Filled, ledger: Ledger, head: int) -> None:
        self.filled = filled
        self.ledger = ledger
        self.head = head
        self.service = RecordService(ledger, lambda: datetime.now(UTC), _no_signer)

    def later(self, request: pb.ListPredictionsRequest, share: float) -> pb.ListPredictionsRequest:
        """Return a request for a later page of a list, after a share of the ledger."""
        filter_ = list_query(request).filter
        evening = int((1.0 - share) * (self.filled.evenings - 1))
        before = Cursor(day(evening), int((1.0 - share) * self.head) + 1)
        token = page_tokens.encode(self.ledger.identity, filter_.digest, PageCursor(self.head, before))
        again = pb.ListPredictionsRequest(page_token=token)
        again.MergeFrom(request)
        return again


async def _no_signer() -> Checkpoint:
    raise NotImplementedError("no checkpoint is requested")


Ask = Callable[[Subject, random.Random], Awaitable[int]]
"""Calls a method once; returns the number of forecasts in the response."""


def iso(ordinal: int) -> str:
    """Return a day in the format of the API."""
    return date.fromordinal(ordinal).isoformat()


def prediction(**fields: Any) -> Ask:
    """Return a GetPrediction call for a random game."""

    async def ask(subject: Subject, rng: random.Random) -> int:
        number = rng.randrange(subject.filled.games)
        model = {"model_version": version(number * subject.filled.evenings // subject.filled.games)}
        own = {name: model.get(name, value) for name, value in fields.items()}
        response = await subject.service.get_prediction(
            pb.GetPredictionRequest(game_id=game(number), **own), _NO_CONTEXT
        )
        response.SerializeToString()
        return 1 + len(response.revisions)

    return ask


def listing(make: Callable[[Filled, random.Random], dict[str, Any]], *, later: bool) -> Ask:
    """Return a ListPredictions call for the first page, or for a later one."""

    async def ask(subject: Subject, rng: random.Random) -> int:
        request = pb.ListPredictionsRequest(**make(subject.filled, rng))
        if later:
            request = subject.later(request, rng.uniform(0.1, 0.9))
        response = await subject.service.list_predictions(request, _NO_CONTEXT)
        response.SerializeToString()
        return len(response.predictions)

    return ask


def scorecard(make: Callable[[Filled], pb.ScoreFilter]) -> Ask:
    """Return a GetScorecard call."""

    async def ask(subject: Subject, _: random.Random) -> int:
        request = pb.GetScorecardRequest(filter=make(subject.filled))
        return (await subject.service.get_scorecard(request, _NO_CONTEXT)).scorecard.forecasts

    return ask


_NO_CONTEXT: Any = None  # the call's context, which these methods do not use


def _any_team(_: Filled, rng: random.Random) -> dict[str, Any]:
    return {"team": rng.choice(sorted(TEAMS))}


def _week(filled: Filled, rng: random.Random) -> dict[str, Any]:
    first = day(rng.randrange(max(filled.evenings - 7, 1)))
    return {"from_date": iso(first), "to_date": iso(first + 6)}


LISTS: dict[str, Callable[[Filled, random.Random], dict[str, Any]]] = {
    "everything": lambda _, __: {},
    "500 of everything": lambda _, __: {"page_size": 500},
    "earlier revisions too": lambda _, __: {"include_superseded": True},
    "a game": lambda filled, rng: {"game_id": game(rng.randrange(filled.games))},
    "a team": _any_team,
    "a week": _week,
    "a team in a week": lambda filled, rng: {**_any_team(filled, rng), **_week(filled, rng)},
    "since a day": lambda filled, _: {"from_date": iso(day(filled.evenings // 2))},
    "until a day": lambda filled, _: {"to_date": iso(day(filled.evenings // 2))},
    "the newest model": lambda filled, _: {"model_version": version(filled.evenings - 1)},
    "the oldest model": lambda _, __: {"model_version": version(0)},
    "a horizon": lambda _, __: {"horizon": HORIZON_FINAL},
    "a minute": lambda _, __: {"elapsed_minutes": 18},
    "the confident": lambda _, __: {"min_confidence": 0.9},
    "the settled": lambda _, __: {"settled": True},
    "the unsettled": lambda _, __: {"settled": False},
    "a team, all conditions": lambda filled, rng: {
        **_any_team(filled, rng),
        "horizon": HORIZON_FINAL,
        "min_confidence": 0.6,
        "settled": True,
        "elapsed_minutes": 30,
    },
    "nothing: of all": lambda _, __: {"horizon": HORIZON_HALFTIME, "elapsed_minutes": 47},
    "nothing: of a team": lambda filled, rng: {**_any_team(filled, rng), "min_confidence": 1.0},
    "nothing: of a week": lambda filled, rng: {**_week(filled, rng), "min_confidence": 1.0},
    "nothing: since a day": lambda _, __: {"from_date": iso(day(0)), "min_confidence": 1.0},
    "nothing: of a model": lambda _, __: {"model_version": version(0), "min_confidence": 1.0},
    "nothing: a model that is none": lambda _, __: {"model_version": "none"},
    "nothing: a game that is none": lambda _, __: {"game_id": "0099999999"},
}

PREDICTIONS: dict[str, Ask] = {
    "the latest": prediction(),
    "at the end": prediction(horizon=HORIZON_FINAL),
    "of a minute, revised": prediction(elapsed_minutes=9),
    "of a model": prediction(model_version=""),
}

SCORECARDS: dict[str, Ask] = {
    "a month": scorecard(lambda filled: pb.ScoreFilter(from_date=iso(day(max(filled.evenings - 31, 0))))),
    "everything": scorecard(lambda _: pb.ScoreFilter()),
}


def cases() -> list[tuple[Measured, Ask]]:
    """Return all calls to measure."""
    calls = [(Measured(f"GetPrediction, {name}", True), ask) for name, ask in PREDICTIONS.items()]
    for name, make in LISTS.items():
        calls.append((Measured(f"ListPredictions, {name}", True), listing(make, later=False)))
        calls.append((Measured(f"ListPredictions, {name}, later", True), listing(make, later=True)))
    calls += [(Measured(f"GetScorecard, {name}", False), ask) for name, ask in SCORECARDS.items()]
    return calls


async def measure(small: Filled, large: Filled, rounds: int, seed: int) -> list[Measured]:
    """Make all calls in turn; discard the first round, which warms up."""
    subjects = [await opened(each) for each in (small, large)]
    rng, measured = random.Random(seed), cases()
    for number in range(rounds + 1):
        for case, ask in measured:
            if not case.bounded and number > 1:  # unbounded calls take seconds
                continue
            returned = 0
            for subject, times in zip(subjects, (case.small_ms, case.large_ms), strict=True):
                start = time.perf_counter()
                returned = await ask(subject, rng)
                if number:
                    times.append(1e3 * (time.perf_counter() - start))
            case.told += returned / rounds if case.bounded and number else 0.0
            if not case.bounded:
                case.told = returned
    for subject in subjects:
        await subject.ledger.close()
    return [case for case, _ in measured]


async def opened(filled: Filled) -> Subject:
    """Open a ledger."""
    ledger = await Ledger.open(filled.url, make=False)

    def head(connection: Connection) -> int:
        return store.head(connection).sequence

    return Subject(filled, ledger, await ledger.read(head))


def breaches(measured: Sequence[Measured]) -> list[str]:
    """Describe the failed checks; empty if all pass."""
    return [
        f"{case.name}: {case.ratio:.2f} times as long, more than {MOST_RATIO:g}"
        for case in measured
        if case.bounded and case.ratio > MOST_RATIO
    ]


def show(measured: Sequence[Measured], small: Filled, large: Filled) -> None:
    """Print the table."""
    print(f"{'ms per call, by forecasts:':48} {small.forecasts:>9,} {large.forecasts:>9,} {'ratio':>6} {'rows':>7}")
    for case in measured:
        one, other = statistics.median(case.small_ms), statistics.median(case.large_ms)
        print(f"{case.name:48} {one:>9.2f} {other:>9.2f} {case.ratio:>6.2f} {case.told:>7.0f}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=SMALL, help="forecasts in the small ledger")
    parser.add_argument("--large", type=int, default=LARGE, help="forecasts in the large ledger")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep both ledgers here and reuse them")
    parser.add_argument("--rounds", type=int, default=60, help="measured rounds, after one warm-up round")
    parser.add_argument("--corrected", type=int, default=FORECASTS, help="forecasts whose outcome is corrected")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as own:
        folder = options.folder or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        small, large = (_ledger(folder, forecasts) for forecasts in (options.small, options.large))
        measured = asyncio.run(measure(small, large, options.rounds, options.seed))
        corrections = asyncio.run(
            record_corrections.measure(Path(own), forecasts=options.corrected, calls=5 * options.rounds)
        )
    wrong = breaches(measured)
    if corrections.ratio > MOST_RATIO:
        wrong.append(f"recording during corrections: p99 {corrections.ratio:.2f} times that alone")
    if options.json:
        rows = [{**asdict(case), "ratio": case.ratio} for case in measured]
        other = {**asdict(corrections), "ratio": corrections.ratio}
        print(json.dumps({"rows": rows, "corrections": other, "breaches": wrong}))
    else:
        show(measured, small, large)
        alone, during = p99(corrections.alone_ms), p99(corrections.during_ms)
        print(
            f"p99 of recording a forecast: {alone:.1f} ms alone, {during:.1f} ms during {corrections.corrections:,} "
            f"corrections of an outcome of {options.corrected:,} forecasts, ratio {corrections.ratio:.2f}"
        )
        print("\n".join(wrong) or "all checks passed")
    return int(bool(wrong))


def _ledger(folder: Path, forecasts: int) -> Filled:
    path = folder / f"{forecasts}.sqlite3"
    if path.exists():
        return found(path)
    start = time.perf_counter()
    filled = fill(path, forecasts)
    print(f"{filled.forecasts:,} forecasts written in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return filled


if __name__ == "__main__":
    sys.exit(main())
