"""Changes of models, and forecasts of challengers, to record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from dejavu_ledger import Ledger
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.ledger import UNLIMITED, Recorder
from dejavu_ledger.records import IssuedForecast, ShadowForecast
from dejavu_store.stages import ModelAction, ModelChange, Roster

NOW = datetime(2024, 1, 15, 3, 30, tzinfo=UTC)


def change(action: ModelAction, version: str = "", *, by: str = "", **fields: object) -> ModelChange:
    """Return a change of models that is not recorded yet."""
    made = ModelChange(action, version, NOW, changed_by=by)
    return replace(made, **fields)  # type: ignore[arg-type]


async def change_models(
    ledger: Ledger, action: ModelAction, version: str = "", *, caller: Recorder = UNLIMITED, **fields: object
) -> tuple[Roster, ModelChange | None]:
    """Record a change of models."""

    def prepare(_: Connection, __: Roster) -> ModelChange:
        return change(action, version, **fields)  # type: ignore[arg-type]

    return await ledger.change_models(prepare, caller)


async def champion(ledger: Ledger, version: str, *challengers: str) -> Roster:
    """Register and promote a first model, and load challengers; return the roster."""
    roster, _ = await change_models(ledger, ModelAction.REGISTER, version)
    roster, _ = await change_models(ledger, ModelAction.PROMOTE, version)
    for challenger in challengers:
        await change_models(ledger, ModelAction.REGISTER, challenger)
        roster, _ = await change_models(ledger, ModelAction.LOAD, challenger)
    return roster


def shadow(of: IssuedForecast, version: str = "v2", *, point: float | None = None) -> ShadowForecast:
    """Return the forecast of another model beside a recorded one, with its explanation, which is not recorded."""
    forecast = replace(of.forecast, model_version=version, point=of.forecast.point if point is None else point)
    return ShadowForecast(of.sequence, forecast, of.generated_time, of.expires_time)
