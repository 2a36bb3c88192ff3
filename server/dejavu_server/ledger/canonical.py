"""The canonical form of a ledger's entry: the text that is hashed, stored and read back.

Deterministic JSON (keys sorted, no spaces, UTF-8 as it is, floats by their shortest round-tripping form, no NaN):

    {"kind":"forecast","payload":{"forecast":{…},"request":{…}},"revision":0,"sequence":1}

Reading it gives exactly what was written, but for quantiles, which are not recorded. Keys that only a later release
knows are passed over, and those that an earlier one did not write read as what their types have by default: ledgers
live longer than releases, and while workers are replaced one by one, two releases share one.

An entry's hash covers the hash of the entry before it, so that nothing can be changed, removed or put in between later
without changing every hash that follows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from dejavu_models.types import (
    Attribution,
    Explanation,
    Forecast,
    Horizon,
    Interval,
    ScorePattern,
    SimilarGame,
)
from dejavu_server.records import IssuedForecast

FORECAST: Final = "forecast"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """A forecast ready to be recorded: all that does not depend on its place.

    Attributes:
        issued: the forecast.
        key: what it is kept by, as canonical JSON; equal exactly where the forecasts compete for one revision.
        pattern: the pattern as canonical JSON, with −0 as 0; equal exactly where the patterns are.
        payload: the payload of its canonical form.
    """

    issued: IssuedForecast
    key: str
    pattern: str
    payload: str


def dumps(value: object) -> str:
    """Canonical JSON of a value.

    Raises:
        ValueError: if it holds NaN, an infinity, or text that is not Unicode.
    """
    text = _ENCODER.encode(value)
    text.encode()  # lone surrogates: better refused here than by the database
    return text


def draft(issued: IssuedForecast) -> Draft:
    """Prepares a forecast for the ledger.

    Raises:
        ValueError: if it names no game, or its times are not UTC, or a value has no canonical form.
    """
    if not issued.game_id:
        raise ValueError("a forecast without a game is not recorded")
    forecast = issued.forecast
    margin = issued.pregame_margin
    key = dumps(
        [
            issued.game_id,
            forecast.horizon.value,
            int(forecast.elapsed_minutes),
            float(forecast.alpha),
            forecast.model_version,
            None if margin is None else float(margin) + 0.0,  # −0 + 0 is 0
        ]
    )
    pattern = dumps([float(value) + 0.0 for value in issued.pattern.differentials])
    return Draft(issued, key, pattern, dumps({"forecast": _forecast(issued), "request": _request(issued)}))


def compose(kind: str, payload: str, revision: int, sequence: int) -> str:
    """The canonical form of an entry, from its payload's."""
    return f'{{"kind":{dumps(kind)},"payload":{payload},"revision":{revision:d},"sequence":{sequence:d}}}'


def chain(previous: bytes, canonical: str) -> bytes:
    """An entry's hash: SHA-256 over the hash of the entry before it and its own canonical form in UTF-8."""
    return hashlib.sha256(previous + canonical.encode()).digest()


def genesis(ledger_id: str) -> bytes:
    """The hash that a ledger's first entry is chained to, so that no two ledgers share a chain."""
    return hashlib.sha256(f"dejavu ledger {ledger_id}".encode()).digest()


def parse(canonical: str) -> IssuedForecast:
    """Reads the canonical form of a forecast's entry.

    Raises:
        ValueError: if it is not one.
    """
    try:
        entry = json.loads(canonical)
        if entry["kind"] != FORECAST:
            raise ValueError(f"not a forecast: {entry['kind']!r}")
        request, forecast = entry["payload"]["request"], entry["payload"]["forecast"]
        return IssuedForecast(
            game_id=request["game_id"],
            home_team=request["home_team"],
            away_team=request["away_team"],
            pattern=ScorePattern(tuple(request["pattern"])),
            pregame_margin=request["pregame_margin"],
            forecast=Forecast(
                horizon=Horizon(request["horizon"]),
                elapsed_minutes=forecast["elapsed_minutes"],
                alpha=request["alpha"],
                point=forecast["point"],
                interval=Interval(forecast["interval_lower"], forecast["interval_upper"]),
                home_lead_probability=forecast["home_lead_probability"],
                model_version=forecast["model_version"],
                explanation=_read_explanation(forecast["explanation"]),
                expected_margin=forecast.get("expected_margin"),
            ),
            generated_time=from_microseconds(forecast["generated_us"]),
            expires_time=from_microseconds(forecast["expires_us"]),
            sequence=entry["sequence"],
            revision=entry["revision"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the canonical form of a forecast: {error!r}") from error


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware moment; exact, which a float of seconds would not be.

    Raises:
        ValueError: if the moment is not in UTC.
    """
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"not a time in UTC: {moment!r}")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """The moment, in UTC, so many microseconds after the start of 1970."""
    return _EPOCH + timedelta(microseconds=value)


def _request(issued: IssuedForecast) -> dict[str, Any]:
    margin = issued.pregame_margin
    return {
        "alpha": float(issued.forecast.alpha),
        "away_team": issued.away_team,
        "game_id": issued.game_id,
        "home_team": issued.home_team,
        "horizon": issued.forecast.horizon.value,
        "pattern": [float(value) for value in issued.pattern.differentials],
        "pregame_margin": None if margin is None else float(margin),
    }


def _forecast(issued: IssuedForecast) -> dict[str, Any]:
    forecast = issued.forecast
    return {
        "elapsed_minutes": int(forecast.elapsed_minutes),
        "expected_margin": None if forecast.expected_margin is None else float(forecast.expected_margin),
        "expires_us": microseconds(issued.expires_time),
        "explanation": None if forecast.explanation is None else _explanation(forecast.explanation),
        "generated_us": microseconds(issued.generated_time),
        "home_lead_probability": float(forecast.home_lead_probability),
        "interval_lower": float(forecast.interval.lower),
        "interval_upper": float(forecast.interval.upper),
        "model_version": forecast.model_version,
        "point": float(forecast.point),
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "attribution": None if explanation.attribution is None else _attribution(explanation.attribution),
        "baseline_prediction": float(explanation.baseline_prediction),
        "calibration_games": int(explanation.calibration_games),
        "dejavu_prediction": float(explanation.dejavu_prediction),
        "dejavu_weight": float(explanation.dejavu_weight),
        "ensemble_forecast": float(explanation.ensemble_forecast),
        "linear_prediction": float(explanation.linear_prediction),
        "lstm_prediction": float(explanation.lstm_prediction),
        "lstm_weight": float(explanation.lstm_weight),
        "similar_games": [
            {
                "away_team": game.away_team,
                "date": game.date.isoformat(),
                "differential_at_horizon": float(game.differential_at_horizon),
                "distance": float(game.distance),
                "games": int(game.games),
                "home_team": game.home_team,
                "increment": float(game.increment),
                "increment_spread": float(game.increment_spread),
            }
            for game in explanation.similar_games
        ],
    }


def _attribution(attribution: Attribution) -> dict[str, Any]:
    return {
        "before_tipoff": float(attribution.before_tipoff),
        "minutes": [float(minute) for minute in attribution.minutes],
        "similar_games": float(attribution.similar_games),
    }


def _read_explanation(value: dict[str, Any] | None) -> Explanation | None:
    if value is None:
        return None
    return Explanation(
        dejavu_prediction=value["dejavu_prediction"],
        lstm_prediction=value["lstm_prediction"],
        ensemble_forecast=value["ensemble_forecast"],
        baseline_prediction=value["baseline_prediction"],
        dejavu_weight=value["dejavu_weight"],
        lstm_weight=value["lstm_weight"],
        similar_games=tuple(
            SimilarGame(
                home_team=game["home_team"],
                away_team=game["away_team"],
                date=date.fromisoformat(game["date"]),
                distance=game["distance"],
                differential_at_horizon=game["differential_at_horizon"],
                games=game["games"],
                increment=game.get("increment", 0.0),
                increment_spread=game.get("increment_spread", 0.0),
            )
            for game in value["similar_games"]
        ),
        linear_prediction=value.get("linear_prediction", 0.0),
        calibration_games=value.get("calibration_games", 0),
        attribution=_read_attribution(value.get("attribution")),
    )


def _read_attribution(value: dict[str, Any] | None) -> Attribution | None:
    if value is None:
        return None
    return Attribution(value["before_tipoff"], tuple(value["minutes"]), value["similar_games"])
