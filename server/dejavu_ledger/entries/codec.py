"""Canonical form of a ledger entry: the text that is hashed, stored and read back.

    {"kind":"forecast","payload":{"forecast":{…},"request":{…}},"revision":0,"sequence":1}
    {"kind":"outcome","payload":{"differential":-3,"game_id":…,…},"revision":0,"sequence":2}
    {"kind":"market","payload":{"answer":{…},"forecast_sequence":1,"market":{…}},"revision":0,"sequence":3}
    {"kind":"forecast","late":"time","payload":{"forecast":{…},"request":{…}},"revision":1,"sequence":4}
    {"kind":"outcome","payload":{"differential":-3,"game_id":…,…,"withdrawn":true},"revision":1,"sequence":5}
    {"kind":"forecast","lease":"poll","made_by":"token:poller","payload":{…},"published_s":360.0,"revision":0,"sequence":6}
    {"kind":"shadow","payload":{"forecast":{…},"of":6},"revision":0,"sequence":7}
    {"kind":"model","payload":{"action":"promote","changed_us":…,…},"revision":0,"sequence":8}

Each object is declared once, by a `Layout` that writes and reads it. The text is deterministic JSON (`canonical_json`).

Parsing returns what was written, except the unrecorded parts of a forecast: the quantiles that a caller requested, and
the market, which has its own entry. Ledgers outlive releases, and two releases share a ledger during a rolling restart:
names that are not known are ignored, and what an entry does not have gets its default. The author of an entry is
written if the server requires tokens. The payload of a shadow has the forecast as the entry of a forecast does, without
explanation; the request is in the earlier entry of the shadowed forecast.

An entry's hash covers the hash of the entry before it, so that no entry can be changed, removed or inserted later
without changing every hash after it.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from dejavu_common.frozen import fast_frozen
from dejavu_feed.box_score import PlayerLine, box_score_faults
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger.entries.canonical_json import dumps, loads
from dejavu_ledger.entries.layout import Form, Layout, WrongValue, form_of, refusal
from dejavu_ledger.records import IssuedForecast, LateReason, LineOrigin, MarketEntry, ReportedOutcome, ShadowForecast
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import Adaptation, Forecast, Horizon, Interval, TotalForecast
from dejavu_store.stages import ModelChange, ModelEvidence

FORECAST: Final = "forecast"
OUTCOME: Final = "outcome"
MARKET: Final = "market"
SHADOW: Final = "shadow"
MODEL: Final = "model"

_REVISED: Final = {FORECAST, OUTCOME}
"""Kinds of entries that have revisions."""

_SCORE_DIGITS: Final = 6
"""Decimals of static scores; with more, insignificant digits would make up half of an entry."""

_HASHED_AT_ONCE: Final = 2047
"""Bytes up to which hashlib keeps the interpreter's lock: giving it up would take longer than hashing them."""


@fast_frozen
class Entry:
    """The members of an entry beside its payload; see `IssuedForecast` for the last three."""

    kind: str
    revision: int
    sequence: int
    made_by: str = ""
    late: LateReason | None = None
    lease: str = ""
    clock: float | None = None


_PLAYERS: Final = form_of(tuple[tuple[int, int, int, int, int], ...])


def players_rows(players: Sequence[PlayerLine]) -> list[list[int]]:
    """Return the lines of a box score as rows: player, home, seconds, plus-minus, started."""
    return [list(map(int, line)) for line in players]


def players_of(rows: Any) -> tuple[PlayerLine, ...]:
    """Return the lines of the rows of a box score.

    Raises:
        ValueError: if they are not those of a box score.
    """
    lines = tuple(PlayerLine(row[0], bool(row[1]), row[2], row[3], bool(row[4])) for row in _PLAYERS.read(rows))
    for name, found, expected in box_score_faults(lines):
        raise WrongValue(f"{name}: {found}; expected {expected}")
    return lines


def _ends(name: str) -> Layout[Interval]:
    return Layout(Interval, names={"lower": f"{name}_lower", "upper": f"{name}_upper"})


_ENTRY: Final = Layout(Entry, names={"clock": "published_s"})

_UNRECORDED: Final = ("quantiles", "market")
_ASKED_FOR: Final = ("horizon", "alpha", "moment")
"""Fields of a forecast that its request has."""

_ADAPTATION: Final = Layout(Adaptation, inline={"adapted": _ends("adapted"), "static": _ends("static")})
_TOTAL: Final = Layout(TotalForecast, omit=_UNRECORDED, inline={"interval": _ends("interval")})


def _forecast(*omit: str) -> Layout[Forecast]:
    return Layout(
        Forecast,
        omit=(*_UNRECORDED, *_ASKED_FOR, *omit),
        parts={"adaptation": _ADAPTATION.form, "total": _TOTAL.form},
        inline={"interval": _ends("interval")},
    )


_FORECAST: Final = _forecast()
_UNEXPLAINED: Final = _forecast("explanation")
_OF_REQUEST: Final = Layout(Forecast, only=_ASKED_FOR)
_MADE: Final = Layout(IssuedForecast, only=("generated_time", "expires_time", "roster_sequence"))
_REQUEST: Final = Layout(
    IssuedForecast,
    only=("game_id", "home_team", "away_team", "pattern", "pregame_margin", "game_date", "live", "line_origin"),
    inline={
        "pattern": Layout(ScorePattern, names={"differentials": "pattern"}),
        "live": Layout(LiveInputs),
        "line_origin": Layout(LineOrigin, names={"source": "margin_source", "time": "margin_us"}),
    },
)
_SHADOW: Final = Layout(ShadowForecast, only=("forecast_sequence",), names={"forecast_sequence": "of"})
_SHADOW_MADE: Final = Layout(ShadowForecast, only=("generated_time", "expires_time"))
_OUTCOME: Final = Layout(
    ReportedOutcome,
    omit=("sequence", "revision", "recorded_by", "created", "hash"),
    parts={"players": Form(None, players_rows, players_of)},
)
_MARKET: Final = Layout(MarketEntry, omit=("sequence", "recorded_by"))
_E_VALUE: Final = Form(float, lambda value: min(float(value), sys.float_info.max), refusal("a number"))
_EVIDENCE: Final = Layout(
    ModelEvidence, names={"against_version": "against"}, parts={"crps_e_value": _E_VALUE, "brier_e_value": _E_VALUE}
)
_CHANGE: Final = Layout(ModelChange, omit=("changed_by", "sequence"), parts={"evidence": _EVIDENCE.form})


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


class PreparedShadow(NamedTuple):
    """A shadow ready to be recorded: the shadow as it will be read back, and the payload of its canonical form."""

    shadow: ShadowForecast
    payload: str


def encode_entry(entry: Entry, payload: str) -> str:
    """Return the canonical form of an entry, given that of its payload."""
    text = dumps(_ENTRY.write(entry) | {"payload": 0})
    before, name, after = text.partition('"payload":')  # in a text, its quotes are escaped
    return f"{before}{name}{payload}{after[1:]}"


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
        issued = replace(issued, forecast=_with_rounded_scores(issued.forecast))
    pattern = dumps([value + 0.0 for value in issued.pattern.differentials])
    made, request = _MADE.write(issued), _REQUEST.write(issued)
    if not issued.roster_sequence:  # 0: of a roster without changes
        made.pop("roster_sequence", None)
    made, request = _FORECAST.write(issued.forecast) | made, _OF_REQUEST.write(issued.forecast) | request
    return PreparedForecast(issued, pattern, dumps({"forecast": made, "request": request}))


def _with_rounded_scores(forecast: Forecast) -> Forecast:
    return replace(forecast, static_scores=tuple(round(float(each), _SCORE_DIGITS) for each in forecast.static_scores))


def recorded_part(issued: IssuedForecast) -> IssuedForecast:
    """Return a recorded forecast as `store.read_after` does: without the parts that are not recorded."""
    return replace(
        issued,
        forecast=_recorded_part(issued.forecast),
        markets=(),
        rated_for=None,
        lineups=None,
        recomputed=None,
        recomputed_total=None,
        roster_sequence=issued.roster_sequence or None,
        publisher="",
        created=False,
    )


def _recorded_part(forecast: Forecast) -> Forecast:
    total = forecast.total
    if forecast.quantiles or forecast.market or (total and (total.quantiles or total.market)):
        return replace(forecast, quantiles=(), market=None, total=total and replace(total, quantiles=(), market=None))
    return forecast


def parse(canonical: str, *, explanation: bool = True) -> IssuedForecast:
    """Parse the canonical form of a forecast entry, with its explanation if requested.

    Raises:
        ValueError: if the text is not one.
    """
    entry, payload = _opened(FORECAST, canonical)
    made, request = _object(payload, "forecast"), _object(payload, "request")
    layout = _FORECAST if explanation else _UNEXPLAINED
    return IssuedForecast(
        **_REQUEST.fields(request),
        **_MADE.fields(made),
        forecast=layout.read(made, **_OF_REQUEST.fields(request)),
        sequence=entry.sequence,
        revision=entry.revision,
        late=entry.late,
        recorded_by=entry.made_by,
        lease=entry.lease,
        clock=entry.clock,
    )


def prepare_shadow(shadow: ShadowForecast) -> PreparedShadow:
    """Prepare a shadow for the ledger.

    Raises:
        ValueError: if a time is not UTC, or a value has no canonical form.
    """
    forecast = replace(_with_rounded_scores(_recorded_part(shadow.forecast)), explanation=None)
    shadow = replace(shadow, forecast=forecast)
    made = _FORECAST.write(forecast) | _SHADOW_MADE.write(shadow)
    return PreparedShadow(shadow, dumps({"forecast": made, **_SHADOW.write(shadow)}))


def parse_shadow(canonical: str, horizon: Horizon, alpha: float) -> ShadowForecast:
    """Parse the canonical form of a shadow entry.

    Args:
        canonical: the text.
        horizon: horizon of the shadowed forecast; only the forecast's entry contains it.
        alpha: likewise.

    Raises:
        ValueError: if the text is not one.
    """
    entry, payload = _opened(SHADOW, canonical)
    made = _object(payload, "forecast")
    forecast = _FORECAST.read(made, horizon=horizon, alpha=alpha)
    if forecast.explanation is not None:
        raise WrongValue("one; expected none, as of any shadow", "explanation")
    return ShadowForecast(
        **_SHADOW.fields(payload), **_SHADOW_MADE.fields(made), forecast=forecast, sequence=entry.sequence
    )


def forecast_sequence(canonical: str) -> int:
    """Return the sequence of the forecast that an entry shadows.

    Raises:
        ValueError: if the text is not the canonical form of a shadow entry.
    """
    _, payload = _opened(SHADOW, canonical)
    of: int = _SHADOW.fields(payload)["forecast_sequence"]
    if of < 1:
        raise WrongValue(f"{of}; expected the sequence of a forecast", "of")
    return of


def outcome_payload(outcome: ReportedOutcome) -> str:
    """Return the payload of an outcome's canonical form.

    Raises:
        ValueError: if the game id is empty, a final differential is 0, or a time is not UTC.
    """
    if not outcome.game_id:
        raise ValueError("cannot record an outcome without a game")
    if outcome.horizon is Horizon.FINAL and outcome.differential == 0:
        raise ValueError("the final differential cannot be 0")
    return dumps(_OUTCOME.write(outcome))


def parse_outcome(canonical: str) -> ReportedOutcome:
    """Parse the canonical form of an outcome entry.

    Raises:
        ValueError: if the text is not one.
    """
    entry, payload = _opened(OUTCOME, canonical)
    return _OUTCOME.read(payload, sequence=entry.sequence, revision=entry.revision, recorded_by=entry.made_by)


def market_payload(market: MarketEntry) -> str:
    """Return the payload of a market's canonical form.

    Raises:
        ValueError: if a value is not finite.
    """
    return dumps(_MARKET.write(market))


def parse_market(canonical: str) -> MarketEntry:
    """Parse the canonical form of a market entry.

    Raises:
        ValueError: if the text is not one.
    """
    entry, payload = _opened(MARKET, canonical)
    return _MARKET.read(payload, sequence=entry.sequence, recorded_by=entry.made_by)


def change_payload(change: ModelChange) -> str:
    """Return the payload of a model change's canonical form.

    An e-value beyond the largest double is recorded as the largest double.

    Raises:
        ValueError: if the time is not UTC, or a number is not finite.
    """
    return dumps(_CHANGE.write(change))


def parse_change(canonical: str) -> ModelChange:
    """Parse the canonical form of a model entry.

    Raises:
        ValueError: if the text is not one.
    """
    entry, payload = _opened(MODEL, canonical)
    return _CHANGE.read(payload, changed_by=entry.made_by, sequence=entry.sequence)


def _opened(kind: str, canonical: str) -> tuple[Entry, dict[str, Any]]:
    """Return the members of an entry and its payload; raise a ValueError if the entry is not of the kind."""
    value = loads(canonical)
    entry = _ENTRY.read(value)
    if entry.kind != kind:
        raise WrongValue(f"{entry.kind!r}; expected {kind}", "kind")
    if entry.revision and kind not in _REVISED:
        raise WrongValue(f"{entry.revision}; expected 0: a {kind} has no revisions", "revision")
    return entry, _object(value, "payload")


def _object(of: dict[str, Any], name: str) -> dict[str, Any]:
    value = of.get(name)
    if type(value) is not dict:
        raise WrongValue(f"{value!r}; expected an object", name)
    return value
