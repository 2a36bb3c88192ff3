"""Canonical form of a ledger entry: the text that is hashed, stored and read back.

    {"kind":"forecast","payload":{"forecast":{…},"request":{…}},"revision":0,"sequence":1}
    {"kind":"outcome","payload":{"differential":-3,"game_id":…,…},"revision":0,"sequence":2}
    {"kind":"market","payload":{"answer":{…},"forecast_sequence":1,"market":{…}},"revision":0,"sequence":3}
    {"kind":"forecast","late":"time","payload":{"forecast":{…},"request":{…}},"revision":1,"sequence":4}
    {"kind":"outcome","payload":{"differential":-3,"game_id":…,…,"withdrawn":true},"revision":1,"sequence":5}
    {"kind":"forecast","lease":"poll","made_by":"token:poller","payload":{…},"published_s":360.0,"revision":0,"sequence":6}
    {"kind":"shadow","payload":{"forecast":{…},"of":6},"revision":0,"sequence":7}
    {"kind":"model","payload":{"action":"promote","changed_us":…,…},"revision":0,"sequence":8}

The payloads of the last two are described in `shadows` and `model_changes`.

The canonical form is deterministic JSON (`canonical_json`).

Parsing returns the written forecast except its unrecorded parts: the quantiles that a caller requested, and the market,
which has its own entry. Unknown keys, written by a later release, are ignored. An optional value is written only if it
is set, and gets its type's default otherwise: ledgers outlive releases, and two releases share a ledger during a
rolling restart. The author of an entry is written if the server requires tokens.

An entry's hash covers the hash of the entry before it, so that no entry can be changed, removed or inserted later
without changing every hash after it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_feed import live_inputs
from dejavu_feed.moment import Moment
from dejavu_ledger.entries import box_scores
from dejavu_ledger.entries.canonical_json import dumps
from dejavu_ledger.entries.explanations import floats, optional, values
from dejavu_ledger.entries.forecast_fields import (
    FORECAST_MEMBERS,
    read_forecast,
    rounded_scores,
)
from dejavu_ledger.entries.layout import ITSELF, Kind, Layout, Member
from dejavu_ledger.records import (
    IssuedForecast,
    LateReason,
    LineOrigin,
    LineSource,
    ReportedOutcome,
)
from dejavu_models.betting import (
    Market,
    MarketAnswer,
    MarketKind,
    MarketSide,
    MarketSideAnswer,
    RiskLevel,
    StakingPolicy,
)
from dejavu_models.errors import InvalidInput
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import Horizon

FORECAST: Final = "forecast"
OUTCOME: Final = "outcome"
MARKET: Final = "market"
SHADOW: Final = "shadow"
MODEL: Final = "model"

# Numbers that an entry has as floats, under the names of their fields.
_ODDS = ("line", "above_odds", "below_odds", "bankroll", "game_staked", "evening_staked")
_AMERICAN = ("above_american", "below_american")
"""Written only for odds that were given in American form, so that entries with decimal odds keep their form."""
_ANSWER = ("push_probability", "overround", "stake")
_SIDE_ANSWER = (
    "decimal_odds",
    "win_probability",
    "fair_probability",
    "staking_probability",
    "implied_probability",
    "expected_value",
    "kelly_fraction",
    "stake_fraction",
    "stake",
)
_POLICY = ("model_share", "kelly_fraction", "game_cap", "evening_cap", "confidence_threshold", "max_difference")

_HASHED_AT_ONCE: Final = 2047
"""Bytes up to which hashlib keeps the interpreter's lock: giving it up would take longer than hashing them."""


def _margin_time(issued: IssuedForecast) -> int | None:
    origin = issued.line_origin
    return None if origin is None or origin.time is None else microseconds(origin.time)


_MOMENT: Final = Layout(
    Member("differential", Kind.INTEGER),
    Member("free_throws", Kind.INTEGER, any=True),
    Member("period", Kind.INTEGER),
    Member("seconds_left", Kind.NUMBER),
)

_REQUEST: Final = Layout(
    Member("alpha", Kind.NUMBER, "forecast.alpha"),
    Member("away_team", Kind.VALUE),
    Member("game_date", Kind.VALUE, convert=date.isoformat, any=True),
    Member("game_id", Kind.VALUE),
    Member("home_team", Kind.VALUE),
    Member("horizon", Kind.VALUE, "forecast.horizon._value_"),
    Member("pattern", Kind.NUMBERS, "pattern.differentials"),
    Member("margin_source", Kind.VALUE, "line_origin.source.value", when="line_origin"),
    Member("margin_us", Kind.VALUE, _margin_time, when=_margin_time),
    Member("moment", Kind.OBJECT, "forecast.moment", _MOMENT, when="forecast.moment"),
    Member("pregame_margin", Kind.NUMBER, null=True),
    *(
        Member(each.name, Kind.VALUE, f"live.{each.name}", convert=each.as_json, when=f"live.{each.name}")
        for each in live_inputs.LIVE_INPUTS
    ),
)

_FORECAST: Final = Layout(
    *FORECAST_MEMBERS,
    Member("roster_sequence", Kind.INTEGER, any=True),
)

PAYLOAD: Final = Layout(
    Member("forecast", Kind.OBJECT, ITSELF, _FORECAST),
    Member("request", Kind.OBJECT, ITSELF, _REQUEST),
)
"""The payload of an `IssuedForecast`."""


class PreparedForecast(NamedTuple):
    """A forecast ready to be recorded: everything that does not depend on the record.

    Attributes:
        issued: the forecast, with static scores rounded as they are recorded.
        pattern: the pattern as canonical JSON, with −0 as 0; equal exactly when the patterns are.
        payload: the payload of its canonical form.
    """

    issued: IssuedForecast
    pattern: str
    payload: str


class Marks(NamedTuple):
    """What the record adds to the entry of a forecast; see `IssuedForecast`."""

    late: LateReason | None = None
    lease: str = ""
    clock: float | None = None


def encode_entry(kind: str, payload: str, revision: int, sequence: int, made_by: str = "") -> str:
    """Return the canonical form of an entry, given that of its payload."""
    made = f'"made_by":{dumps(made_by)},' if made_by else ""
    return f'{{"kind":"{kind}",{made}"payload":{payload},"revision":{revision:d},"sequence":{sequence:d}}}'


def encode_forecast(payload: str, revision: int, sequence: int, made_by: str, marks: Marks) -> str:
    """Return the canonical form of a forecast's entry, given that of its payload."""
    marked = "" if marks.late is None else f'"late":{dumps(marks.late.value)},'
    marked += f'"lease":{dumps(marks.lease)},' if marks.lease else ""
    marked += f'"made_by":{dumps(made_by)},' if made_by else ""
    clock = "" if marks.clock is None else f',"published_s":{dumps(float(marks.clock))}'
    numbers = f'"revision":{revision:d},"sequence":{sequence:d}'
    return f'{{"kind":"{FORECAST}",{marked}"payload":{payload}{clock},{numbers}}}'


def chain_hash(previous: bytes, canonical: str) -> bytes:
    """Return an entry's hash: SHA-256 over the previous entry's hash and the canonical form in UTF-8."""
    content = canonical.encode()
    digest = hashlib.sha256(previous)
    for start in range(0, len(content), _HASHED_AT_ONCE):
        digest.update(content[start : start + _HASHED_AT_ONCE])
    return digest.digest()


def genesis_hash(ledger_id: str) -> bytes:
    """Return the hash that a ledger's first entry is chained to; it differs for every ledger."""
    return hashlib.sha256(f"dejavu ledger {ledger_id}".encode()).digest()


def prepare(issued: IssuedForecast) -> PreparedForecast:
    """Prepare a forecast for the ledger.

    Raises:
        ValueError: if the game id is empty, a time is not UTC, or a value has no canonical form.
    """
    if not issued.game_id:
        raise ValueError("cannot record a forecast without a game")
    if issued.forecast.static_scores:
        scores = rounded_scores(issued.forecast.static_scores)
        issued = replace(issued, forecast=replace(issued.forecast, static_scores=scores))
    pattern = dumps([value + 0.0 for value in issued.pattern.differentials])
    return PreparedForecast(issued, pattern, PAYLOAD.json(issued))


def as_read(issued: IssuedForecast, sequence: int, revision: int, marks: Marks, hash_: bytes) -> IssuedForecast:
    """Return a forecast recorded at a sequence as `store.read_after` does, without its unrecorded parts."""
    forecast = issued.forecast
    if forecast.quantiles or forecast.market is not None:
        forecast = replace(forecast, quantiles=(), market=None)
    if forecast.total is not None and (forecast.total.quantiles or forecast.total.market is not None):
        forecast = replace(forecast, total=replace(forecast.total, quantiles=(), market=None))
    # The constructor is called, since `replace` takes twice as long, and this runs under the write lock.
    return IssuedForecast(
        game_id=issued.game_id,
        home_team=issued.home_team,
        away_team=issued.away_team,
        pattern=issued.pattern,
        pregame_margin=issued.pregame_margin,
        forecast=forecast,
        generated_time=issued.generated_time,
        expires_time=issued.expires_time,
        sequence=sequence,
        revision=revision,
        late=marks.late,
        game_date=issued.game_date,
        recorded_by=issued.recorded_by,
        roster_sequence=issued.roster_sequence or None,
        live=issued.live,
        line_origin=issued.line_origin,
        lease=marks.lease,
        clock=marks.clock,
        hash=hash_,
        created=True,
    )


def has_unrecorded(issued: IssuedForecast) -> bool:
    """Return whether a forecast has parts that are not recorded."""
    forecast = issued.forecast
    of_total = forecast.total is not None and (forecast.total.quantiles != () or forecast.total.market is not None)
    requested = forecast.quantiles != () or forecast.market is not None or issued.markets != () or of_total
    return requested or issued.rated_day != issued.day or issued.lineups is not None


def parse(canonical: str, *, explanation: bool = True) -> IssuedForecast:
    """Parse the canonical form of a forecast entry, with its explanation if requested.

    Raises:
        ValueError: if the text is not one.
    """
    with entry_of(FORECAST, canonical) as entry:
        request, forecast = entry["payload"]["request"], entry["payload"]["forecast"]
        return IssuedForecast(
            game_id=request["game_id"],
            home_team=request["home_team"],
            away_team=request["away_team"],
            pattern=ScorePattern(tuple(request["pattern"])),
            pregame_margin=request["pregame_margin"],
            forecast=read_forecast(
                forecast,
                Horizon(request["horizon"]),
                request["alpha"],
                moment=optional(_moment, request.get("moment")),
                explanation=explanation,
            ),
            generated_time=from_microseconds(forecast["generated_us"]),
            expires_time=from_microseconds(forecast["expires_us"]),
            sequence=entry["sequence"],
            revision=entry["revision"],
            late=optional(LateReason, entry.get("late")),
            game_date=optional(date.fromisoformat, request.get("game_date")),
            recorded_by=text_of(entry.get("made_by", "")),
            roster_sequence=optional(_whole, forecast.get("roster_sequence")),
            live=live_inputs.from_json(request),
            line_origin=_line_origin(request),
            lease=text_of(entry.get("lease", "")),
            clock=entry.get("published_s"),
        )


def _moment(value: dict[str, Any]) -> Moment:
    coming = _whole(value.get("free_throws", 0))
    return Moment(_whole(value["period"]), float(value["seconds_left"]), _whole(value["differential"]), coming)


def _line_origin(request: dict[str, Any]) -> LineOrigin | None:
    if request.get("margin_source") not in _LINE_SOURCES:  # a worker of a newer release may know others
        return None
    return LineOrigin(LineSource(request["margin_source"]), optional(from_microseconds, request.get("margin_us")))


_LINE_SOURCES: Final = [each.value for each in LineSource]


def outcome_payload(outcome: ReportedOutcome) -> str:
    """Return the payload of an outcome's canonical form.

    Raises:
        ValueError: if the game id is empty, a final differential is 0, or a time is not UTC.
    """
    if not outcome.game_id:
        raise ValueError("cannot record an outcome without a game")
    if outcome.horizon is Horizon.FINAL and outcome.differential == 0:
        raise ValueError("the final differential cannot be 0")
    return dumps(
        {
            "away_team": outcome.away_team,
            "differential": int(outcome.differential),
            "game_id": outcome.game_id,
            "home_team": outcome.home_team,
            "horizon": outcome.horizon.value,
            "observed_us": microseconds(outcome.observed_time),
            **({} if outcome.overtimes is None else {"overtimes": int(outcome.overtimes)}),
            **({"players": box_scores.rows_of(outcome.players)} if outcome.players else {}),
            "recorded_us": microseconds(outcome.recorded_time),
            **({} if outcome.total_points is None else {"total_points": int(outcome.total_points)}),
            **({"withdrawn": True} if outcome.withdrawn else {}),
        }
    )


def parse_outcome(canonical: str) -> ReportedOutcome:
    """Parse the canonical form of an outcome entry.

    Raises:
        ValueError: if the text is not one.
    """
    with entry_of(OUTCOME, canonical) as entry:
        payload = entry["payload"]
        if payload.get("withdrawn", True) is not True:
            raise ValueError(f"withdrawn is {payload['withdrawn']!r}; expected true, or nothing")
        return ReportedOutcome(
            game_id=payload["game_id"],
            horizon=Horizon(payload["horizon"]),
            differential=payload["differential"],
            home_team=payload["home_team"],
            away_team=payload["away_team"],
            observed_time=from_microseconds(payload["observed_us"]),
            recorded_time=from_microseconds(payload["recorded_us"]),
            sequence=entry["sequence"],
            revision=entry["revision"],
            withdrawn="withdrawn" in payload,
            recorded_by=text_of(entry.get("made_by", "")),
            total_points=optional(_whole, payload.get("total_points")),
            overtimes=optional(_whole, payload.get("overtimes")),
            players=box_scores.lines_of(payload.get("players", ())),
        )


def market_payload(
    forecast_sequence: int,
    market: Market,
    answer: MarketAnswer,
    calibration_sequence: int | None = None,
    requested_time: datetime | None = None,
) -> str:
    """Return the payload of a market's canonical form.

    Args:
        forecast_sequence: sequence of the forecast that it was sent with.
        market: the market.
        answer: its evaluation.
        calibration_sequence: the newest outcome that the evaluation had learned from; None if it is the forecast's.
        requested_time: when it was sent; None if it came with the request for the forecast.

    Raises:
        ValueError: if a value is not finite.
    """
    return dumps(
        {
            "answer": {
                **floats(answer, _ANSWER),
                "above": floats(answer.above, _SIDE_ANSWER),
                "below": floats(answer.below, _SIDE_ANSWER),
                "confidence_met": bool(answer.confidence_met),
                "policy": floats(answer.policy, _POLICY),
                "risk_level": answer.risk_level.value,
                "side": None if answer.side is None else answer.side.value,
                **{name: True for name in ("implausible", "unrated") if getattr(answer, name)},
                **({"lead_staked": float(answer.lead_staked)} if answer.lead_staked else {}),
            },
            **({} if calibration_sequence is None else {"calibration_sequence": int(calibration_sequence)}),
            "forecast_sequence": int(forecast_sequence),
            "market": {
                **floats(market, _ODDS),
                "confidence_threshold": optional(float, market.confidence_threshold),
                "kind": market.kind.value,
                **{name: int(given) for name in _AMERICAN if (given := getattr(market, name)) is not None},
            },
            **({} if requested_time is None else {"requested_us": microseconds(requested_time)}),
        }
    )


def parse_market(canonical: str) -> tuple[int, Market, MarketAnswer]:
    """Parse the canonical form of a market entry: the forecast's sequence, the market and the answer.

    Raises:
        ValueError: if the text is not one.
    """
    with entry_of(MARKET, canonical) as entry:
        payload = entry["payload"]
        odds, evaluated = payload["market"], payload["answer"]
        market = Market(
            **values(odds, _ODDS),
            kind=MarketKind(odds["kind"]),
            confidence_threshold=odds["confidence_threshold"],
            above_american=optional(_whole, odds.get("above_american")),
            below_american=optional(_whole, odds.get("below_american")),
        )
        answer = MarketAnswer(
            above=MarketSideAnswer(**values(evaluated["above"], _SIDE_ANSWER)),
            below=MarketSideAnswer(**values(evaluated["below"], _SIDE_ANSWER)),
            **values(evaluated, _ANSWER),
            policy=StakingPolicy(**values(evaluated["policy"], _POLICY)),
            side=optional(MarketSide, evaluated["side"]),
            risk_level=RiskLevel(evaluated["risk_level"]),
            confidence_met=evaluated["confidence_met"],
            implausible=evaluated.get("implausible", False),
            unrated=evaluated.get("unrated", False),
            lead_staked=evaluated.get("lead_staked", 0.0),
        )
        return payload["forecast_sequence"], market, answer


def market_circumstances(canonical: str) -> tuple[int | None, int | None]:
    """Return the newest outcome that a market's answer had learned from, and when it was sent; None: the forecast's.

    Raises:
        ValueError: if the text is not the canonical form of a market entry.
    """
    with entry_of(MARKET, canonical) as entry:
        payload = entry["payload"]
        return payload.get("calibration_sequence"), optional(_whole, payload.get("requested_us"))


def text_of(value: Any) -> str:
    """Return a value that is a text; raise a ValueError if it is not."""
    if type(value) is not str:
        raise ValueError(f"{value!r}; expected a text")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r}; expected a whole number")
    return value


@contextmanager
def entry_of(kind: str, canonical: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of an entry; raise a ValueError if it, or a part read in the block, is not of the kind."""
    try:
        entry: dict[str, Any] = json.loads(canonical)
        if entry["kind"] != kind:
            raise ValueError(f"not {_article(kind)} {kind}: {entry['kind']!r}")
        yield entry
    except (KeyError, TypeError, AttributeError, InvalidInput) as error:
        raise ValueError(f"not the canonical form of {_article(kind)} {kind}: {error!r}") from error


def _article(kind: str) -> str:
    return "an" if kind == OUTCOME else "a"
