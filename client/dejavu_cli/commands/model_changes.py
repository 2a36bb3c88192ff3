"""`dejavu models load`, `unload`, `promote`, `rollback` and `retire`: change models; also prints their history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu_cli.options import Call, Timeout, argument, flag, option
from dejavu_cli.output.forecast import local_time, print_rows
from dejavu_cli.output.responsive_table import Column
from dejavu_client import config
from dejavu_client.client import DejavuClient
from dejavu_client.formatting import percent, pluralize, signed
from dejavu_common.rich_console import Console

ModelName = Annotated[str, argument("MODEL", text="Version of the model, or champion, challenger or previous.")]
Reason = Annotated[
    str, option("TEXT", "--reason", text="Human-readable reason; kept in the ledger, at most 500 characters.")
]


@dataclass(frozen=True, kw_only=True)
class ChangeCall(Call):
    """Options of a change: a server waits up to a minute until all its workers have loaded a model."""

    timeout: Timeout = config.MODELS_TIMEOUT


_Changed: TypeAlias = (
    pb.LoadModelResponse
    | pb.UnloadModelResponse
    | pb.PromoteModelResponse
    | pb.RollbackModelResponse
    | pb.RetireModelResponse
)


def _change(call: Call, change: Callable[[DejavuClient], _Changed]) -> None:
    with call.connect() as client:
        call.show(change(client), _print_change)


def load(call: ChangeCall, model: ModelName, reason: Reason = "") -> None:
    """Stage a model: every worker loads it and makes shadow forecasts with it.

    Its bundle must be in the server's model store (`dejavu-trainer publish`).
    A new model is verified, and registered. Changes nothing if a worker
    cannot load it.
    """
    _change(call, lambda client: client.load_model(model, reason=reason, timeout=call.timeout))


def unload(call: ChangeCall, model: ModelName, reason: Reason = "") -> None:
    """Unstage a model: all workers unload it."""
    _change(call, lambda client: client.unload_model(model, reason=reason, timeout=call.timeout))


def promote(
    call: ChangeCall, model: ModelName, force: Annotated[bool, flag("--force")] = False, reason: Reason = ""
) -> None:
    """Make a staged model the champion on all workers, at one position of the ledger.

    Refused without evidence that it is not worse than the champion: see `dejavu models compare`.

    Args:
        force: Promote it without evidence that it is not worse; recorded as such.
    """
    _change(call, lambda client: client.promote_model(model, reason=reason, force=force, timeout=call.timeout))


def rollback(
    call: ChangeCall, from_version: Annotated[str, option("VERSION", "--from")] = "", reason: Reason = ""
) -> None:
    """Make the previous model the champion again, and retire the one that replaced it.

    Args:
        from_version: Roll back only if this is the champion, so that repeating it is safe.
    """
    _change(call, lambda client: client.rollback_model(from_version=from_version, reason=reason, timeout=call.timeout))


def retire(call: ChangeCall, model: ModelName, reason: Reason = "") -> None:
    """Retire a model that answers no requests."""
    _change(call, lambda client: client.retire_model(model, reason=reason, timeout=call.timeout))


CHANGES: Final = {each.__name__: each for each in (load, unload, promote, rollback, retire)}


def _print_change(answer: _Changed) -> None:
    text = _change_text(answer.change) if answer.HasField("change") else "no change: already in this state"
    Console().print(text, highlight=False)


_DONE: Final = {
    change_pb.MODEL_ACTION_REGISTER: "registered",
    change_pb.MODEL_ACTION_LOAD: "staged",
    change_pb.MODEL_ACTION_UNLOAD: "unloaded",
    change_pb.MODEL_ACTION_PROMOTE: "promoted",
    change_pb.MODEL_ACTION_ROLLBACK: "rolled back to",
    change_pb.MODEL_ACTION_RETIRE: "retired",
}


def _evidence_text(evidence: change_pb.ModelEvidence) -> str:
    """Describe the evidence of a change."""
    return (
        f"{pluralize(evidence.games, 'game')} against {evidence.against_version}: "
        f"CRPS {signed(evidence.crps_difference, 3)} (E {evidence.crps_e_value:.3g}), "
        f"Brier {signed(evidence.brier_difference, 4)} (E {evidence.brier_e_value:.3g}), "
        f"{percent(evidence.coverage)} held"
    )


def _change_text(change: change_pb.ModelChange) -> str:
    """Describe the effect of a change, in one line."""
    instead = f", instead of {change.from_version}" if change.from_version else ""
    return f"{_done(change)} {change.model_version}{instead} (sequence {change.sequence:,})"


def print_history(answer: pb.ListModelChangesResponse) -> None:
    """Print changes, newest first."""
    print_rows(_HISTORY, answer.changes, "No changes of models.")


def _done(change: change_pb.ModelChange) -> str:
    return f"{_DONE.get(change.action, 'changed')}{' by force' if change.forced else ''}"


_HISTORY: Final[Sequence[Column[change_pb.ModelChange]]] = (
    Column("sequence", "right", 6, lambda change: f"{change.sequence:,}"),
    Column("when", "left", 9, lambda change: local_time(change.changed_time), of="changed_time"),
    Column("change", "left", 9, _done, "bold"),
    Column("model", "left", 9, lambda change: change.model_version),
    Column("instead of", "left", 5, lambda change: change.from_version),
    Column("by", "left", 4, lambda change: change.changed_by),
    Column("why", "left", 8, lambda change: change.reason),
    Column("evidence", "left", 3, lambda change: _evidence_text(change.evidence), of="evidence"),
)
