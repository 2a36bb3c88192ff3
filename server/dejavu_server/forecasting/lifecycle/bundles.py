"""Puts the bundles of the settings into the store, and begins a ledger with the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from dejavu_common.clock import utc_now
from dejavu_ledger.ledger import CurrentLedger
from dejavu_models.errors import DejavuError
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.stages import ModelAction, ModelChange, Roster

FIRST_MODEL: Final = "first model"
"""Reason of the promotion of the first champion of a ledger."""

_log = structlog.get_logger(__name__)


def put_first(store: ModelStore, bundles: Sequence[Path]) -> str:
    """Store the first of some bundles, unless it is stored; return its version.

    Raises:
        DejavuError: if the bundle cannot be read or stored.
    """
    version = read_manifest(bundles[0]).version
    if not store.is_complete(version):
        store.put(bundles[0])
        _log.info("bundle_stored", model=version, bundle=str(bundles[0]))
    return version


def put_known(store: ModelStore, bundles: Sequence[Path], roster: Roster) -> None:
    """Store the bundles that the roster knows and the store lacks: each server may have a store of its own.

    A failure to read or store a bundle is only logged: the store may already have it.
    """
    for folder in bundles:
        try:
            version = read_manifest(folder).version
            if version in roster.stages and not store.is_complete(version):
                store.put(folder)
                _log.info("bundle_stored", model=version, bundle=str(folder))
        except DejavuError as error:
            _log.warning("bundle_not_stored", bundle=str(folder), reason=str(error))


async def promote_first(ledger: CurrentLedger, version: str) -> Roster:
    """Make a model the first champion, unless there is a champion by now; return the roster after it."""
    register = ModelChange(ModelAction.REGISTER, version, utc_now(), reason=FIRST_MODEL)
    promote = replace(register, action=ModelAction.PROMOTE)
    await ledger().change_models(lambda *_: register)
    roster, change = await ledger().change_models(
        lambda _, roster: replace(promote, model_version=roster.champion) if roster.champion else promote
    )
    if change is not None:
        _log.info("first_model", model=version, sequence=change.sequence)
    return roster
