"""A ledger with rows in every table, for tests of tamper detection."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.builders.box_scores import made_box_score
from tests.support.builders.issued_forecasts import TEAMS_KNOWN, TOTAL, game, issued, recorded
from tests.support.builders.model_changes import champion, shadow
from tests.support.builders.outcomes import outcome

from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_feed.moment import Moment
from dejavu_ledger import Ledger
from dejavu_ledger.audit.checkpoints import key_path
from dejavu_ledger.queries import learning
from dejavu_ledger.records import (
    Checkpoint,
    IssuedForecast,
    LineOrigin,
    LineSource,
    SentMarket,
)
from dejavu_models.betting import Market, MarketAnswer, evaluate_market
from dejavu_models.types import DISTRIBUTION_LEVELS, Forecast, Horizon
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.worker.signer import Signer

MARKET = Market(line=-2.5, above_odds=1.9, below_odds=2.05, bankroll=100.0)


def recordable(
    number: int, *, slots: int = 3, horizon: Horizon = Horizon.HALFTIME, last: float = -1.0, market: bool = False
) -> IssuedForecast:
    """Return a forecast with a distribution, as a server of this release records it."""
    pattern = [float(slot % 5) for slot in range(slots - 1)] + [last]
    plain = issued(game(number), pattern, horizon=horizon)
    distribution = tuple(round(last + 14.0 * (level - 0.5), 3) for level in DISTRIBUTION_LEVELS)
    forecast = replace(
        plain.forecast,
        distribution=distribution,
        home_lead_probability=_above(last, 0.0 if horizon is Horizon.FINAL else 0.5),
    )
    if not market:
        return replace(plain, forecast=forecast)
    # Without an expected margin, a market has no stake.
    forecast = replace(forecast, market=answer(forecast, last), expected_margin=0.5)
    return replace(plain, forecast=forecast, pregame_margin=0.5, markets=(SentMarket(MARKET),))


def answer(forecast: Forecast, center: float) -> MarketAnswer:
    """Return the evaluation of `MARKET` for a forecast with a uniform distribution within 7 points of a center."""
    tie = {0, 1} if forecast.horizon is Horizon.FINAL else set[int]()
    return evaluate_market(MARKET, lambda least: _above(center, 0.0 if least in tie else least - 0.5))


def _above(center: float, value: float) -> float:
    return min(0.999, max(0.001, (center + 7.0 - value) / 14.0))


async def fill(ledger: Ledger, path: Path) -> Checkpoint:
    """Fill the ledger at a path; return a checkpoint of its last entry, as stored by a client."""
    ahead = count(2, 2)  # so that every checkpoint is due
    signer = Signer(
        lambda: ledger,
        key_path(f"sqlite:///{path}"),
        seconds=1.0,
        clock=lambda: datetime.now(UTC) + timedelta(seconds=next(ahead)),
    )
    for number in range(1, 4):
        await ledger.commit([recordable(number, market=number == 1), recordable(number, slots=18, last=float(number))])
        await ledger.commit([recordable(number, slots=30, horizon=Horizon.FINAL)])
    await ledger.commit([recordable(2, last=4.0)])  # a revision, late
    roster = await champion(ledger, "v1", "v2")
    await _add_shadows(ledger)
    await signer.write_checkpoint()
    for number in range(1, 4):
        await ledger.record_outcome(outcome(3 - number, game(number)))
    await ledger.record_outcome(outcome(7, game(1), horizon=Horizon.FINAL))
    await ledger.record_outcome(outcome(-5, game(2)))  # a correction
    await ledger.commit([recordable(3, slots=40, horizon=Horizon.FINAL, market=True)])
    await _snapshot(ledger)
    await _add_optional_values(ledger)
    await signer.write_checkpoint()
    await ledger.commit([recordable(4)])
    await ledger.commit([recordable(4, last=2.0)])  # a revision in time
    await ledger.commit([replace(recordable(5, last=2.0), roster_sequence=roster.sequence)])  # by the champion
    return await signer.checkpoint()


async def _add_optional_values(ledger: Ledger) -> None:
    """Record a forecast, and an outcome that is withdrawn later, with all values that an entry need not have."""
    plain = recordable(6, last=1.0)
    forecast = replace(plain.forecast, moment=Moment(1, 510.0, 3, 1), total=TOTAL, teams_known=TEAMS_KNOWN)
    live = LiveInputs(14, LastScore(Side.HOME, 12), 224.5, neutral_site=True)
    origin = LineOrigin(LineSource.FEED, datetime.now(UTC) - timedelta(hours=1))
    given: dict[str, Any] = {"pregame_margin": 2.5, "live": live, "line_origin": origin, "recorded_by": "token:poller"}
    await recorded(ledger, replace(plain, forecast=forecast, game_date=datetime.now(UTC).date(), **given))
    players = tuple(each.line for each in made_box_score("BKN", "GSW", 8, 6))
    reported = replace(outcome(8, game(6), horizon=Horizon.FINAL), total_points=208, overtimes=0, players=players)
    await ledger.record_outcome(replace(reported, recorded_by="token:poller"))
    await ledger.withdraw_outcome(game(6), Horizon.FINAL, "token:poller")


async def _add_shadows(ledger: Ledger) -> None:
    """Record a shadow by v2 for every forecast in the ledger."""
    entries = await ledger.read_after(0, 100)
    made = [shadow(each) for each in entries if isinstance(each, IssuedForecast)]
    assert len(await ledger.record_shadows(made)) == len(made) > 0


async def _snapshot(ledger: Ledger) -> None:
    games = await ledger.read(lambda connection: learning.settled_games_after(connection, 0))
    state = AdaptiveState()
    for each in games:
        state = state.after(each.observations)
    newest = (await ledger.read(learning.newest)).reported
    state_bytes = state.to_bytes()
    await ledger.write(partial(learning.write_snapshot, sequence=games[-1].sequence, state=state_bytes, read_at=newest))
