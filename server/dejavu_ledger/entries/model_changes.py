"""Changes of models in the canonical form of their entries, and the rows derived from them.

    {"kind":"model","payload":{"action":"promote","changed_us":…,"from_version":…,"model_version":…},…}

The payload has the action and its time, and the other fields that are set.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Final

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_ledger.entries import canonical_json, codec
from dejavu_ledger.entries.rows import Row
from dejavu_store.stages import ModelAction, ModelChange, ModelEvidence

_TEXTS: Final = ("model_version", "from_version", "reason")
_E_VALUES: Final = ("crps_e_value", "brier_e_value")
_NUMBERS: Final = ("crps_difference", "brier_difference", "coverage", "crps_divergence", "brier_divergence")


def change_payload(change: ModelChange) -> str:
    """Return the payload of a change's canonical form.

    An e-value beyond the largest double is recorded as the largest double.

    Raises:
        ValueError: if the time is not UTC, or a number is not finite.
    """
    payload: dict[str, Any] = {"action": change.action.value, "changed_us": microseconds(change.changed_time)}
    payload |= {name: getattr(change, name) for name in _TEXTS if getattr(change, name)}
    if change.forced:
        payload["forced"] = True
    if change.evidence is not None:
        payload["evidence"] = _encode_evidence(change.evidence)
    return canonical_json.dumps(payload)


def parse_change(canonical: str) -> ModelChange:
    """Parse the canonical form of a model entry.

    Raises:
        ValueError: if the text is not one.
    """
    with codec.entry_of(codec.MODEL, canonical) as entry:
        payload = entry["payload"]
        if payload.get("forced", True) is not True or entry["revision"] != 0:
            raise ValueError("forced is not true, or the change is a revision; expected true or nothing, and none")
        evidence = payload.get("evidence")
        return ModelChange(
            action=ModelAction(payload["action"]),
            changed_time=from_microseconds(payload["changed_us"]),
            **{name: codec.text_of(payload.get(name, "")) for name in _TEXTS},
            forced="forced" in payload,
            evidence=None if evidence is None else _read_evidence(evidence),
            changed_by=codec.text_of(entry.get("made_by", "")),
            sequence=entry["sequence"],
        )


def change_row(change: ModelChange) -> Row:
    """Return the row of `model_changes` for a recorded change."""
    return {
        "sequence": change.sequence,
        "action": change.action.value,
        "model_version": change.model_version,
        "changed_us": microseconds(change.changed_time),
    }


def _encode_evidence(evidence: ModelEvidence) -> dict[str, Any]:
    e_values = {name: min(float(getattr(evidence, name)), sys.float_info.max) for name in _E_VALUES}
    numbers = {name: float(getattr(evidence, name)) for name in _NUMBERS}
    return {"against": evidence.against_version, "games": int(evidence.games), **e_values, **numbers}


def _read_evidence(value: dict[str, Any]) -> ModelEvidence:
    if type(value["games"]) is not int:
        raise ValueError(f"games is {value['games']!r}; expected a whole number")
    numbers = {name: _number(value[name]) for name in (*_E_VALUES, *_NUMBERS)}
    return ModelEvidence(against_version=codec.text_of(value["against"]), games=value["games"], **numbers)


def _number(value: Any) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise ValueError(f"{value!r}; expected a finite number")
    return value
