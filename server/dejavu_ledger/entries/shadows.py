"""Forecasts of challengers in the canonical form of their entries, and the rows derived from them.

    {"kind":"shadow","payload":{"forecast":{…},"of":6},"revision":0,"sequence":7}

The payload has the forecast as the entry of a forecast does, without explanation. The request is in the earlier entry
of the shadowed forecast.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final, NamedTuple

from dejavu_common.clock import from_microseconds
from dejavu_ledger.entries import codec, scored_values
from dejavu_ledger.entries.forecast_fields import FORECAST_MEMBERS, read_forecast, rounded_scores
from dejavu_ledger.entries.layout import ITSELF, Kind, Layout, Member
from dejavu_ledger.entries.rows import Row
from dejavu_ledger.records import ShadowForecast
from dejavu_models.types import Horizon

_PAYLOAD: Final = Layout(
    Member("forecast", Kind.OBJECT, ITSELF, Layout(*FORECAST_MEMBERS)),
    Member("of", Kind.INTEGER, "forecast_sequence"),
)


class ForecastRow(NamedTuple):
    """Columns of a forecast's row that its shadows share or are checked against.

    Attributes:
        sequence: of the forecast.
        model_version: of the model that made it.
        scored_values: see `scored_values`.
    """

    sequence: int
    game_id: str
    horizon: str
    minute: int
    alpha: float
    model_version: str
    scored_values: bytes


class PreparedShadow(NamedTuple):
    """A shadow ready to be recorded: the shadow as it will be read back, and the payload of its canonical form."""

    shadow: ShadowForecast
    payload: str


def prepare(shadow: ShadowForecast) -> PreparedShadow:
    """Prepare a shadow for the ledger.

    Raises:
        ValueError: if a time is not UTC, or a value has no canonical form.
    """
    forecast = replace(
        shadow.forecast,
        explanation=None,
        quantiles=(),
        market=None,
        total=shadow.forecast.total and replace(shadow.forecast.total, quantiles=(), market=None),
        static_scores=rounded_scores(shadow.forecast.static_scores),
    )
    shadow = replace(shadow, forecast=forecast)
    return PreparedShadow(shadow, _PAYLOAD.json(shadow))


def parse_shadow(canonical: str, horizon: Horizon, alpha: float) -> ShadowForecast:
    """Parse the canonical form of a shadow entry.

    Args:
        canonical: the text.
        horizon: horizon of the shadowed forecast; only the forecast's entry contains it.
        alpha: likewise.

    Raises:
        ValueError: if the text is not one.
    """
    of = forecast_sequence(canonical)
    with codec.entry_of(codec.SHADOW, canonical) as entry:
        fields = entry["payload"]["forecast"]
        if fields["explanation"] is not None or entry["revision"] != 0:
            raise ValueError("a shadow has an explanation, or is a revision; expected neither")
        return ShadowForecast(
            forecast_sequence=of,
            forecast=read_forecast(fields, horizon, alpha),
            generated_time=from_microseconds(fields["generated_us"]),
            expires_time=from_microseconds(fields["expires_us"]),
            sequence=entry["sequence"],
        )


def forecast_sequence(canonical: str) -> int:
    """Return the sequence of the forecast that an entry shadows.

    Raises:
        ValueError: if the text is not the canonical form of a shadow entry.
    """
    with codec.entry_of(codec.SHADOW, canonical) as entry:
        of = entry["payload"]["of"]
        if type(of) is not int or of < 1:
            raise ValueError(f"of is {of!r}; expected the sequence of a forecast")
        return of


def shadow_row(shadow: ShadowForecast, of: ForecastRow) -> Row:
    """Return the row of `shadows` for a recorded shadow, given the row of the shadowed forecast.

    Raises:
        ValueError: if a value is not a number.
    """
    forecast = shadow.forecast
    try:
        scored = scored_values.pack(forecast, scored_values.rival(of.scored_values))
    except struct.error as error:
        raise ValueError(f"a value of the forecast is not a number: {error}") from error
    return {
        "sequence": shadow.sequence,
        "forecast_sequence": shadow.forecast_sequence,
        "model_version": forecast.model_version,
        "scored_values": scored,
    }
