"""Prints changes of models: the effect of a command, and the history of a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Final

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu_cli.output.responsive_table import ListingColumn, listing
from dejavu_client.formatting import percent, pluralize, signed
from dejavu_common.rich_console import Console

_DONE: Final = {
    change_pb.MODEL_ACTION_REGISTER: "registered",
    change_pb.MODEL_ACTION_LOAD: "staged",
    change_pb.MODEL_ACTION_UNLOAD: "unloaded",
    change_pb.MODEL_ACTION_PROMOTE: "promoted",
    change_pb.MODEL_ACTION_ROLLBACK: "rolled back to",
    change_pb.MODEL_ACTION_RETIRE: "retired",
}


def evidence_text(evidence: change_pb.ModelEvidence) -> str:
    """Describe the evidence of a change."""
    return (
        f"{pluralize(evidence.games, 'game')} against {evidence.against_version}: "
        f"CRPS {signed(evidence.crps_difference, 3)} (E {evidence.crps_e_value:.3g}), "
        f"Brier {signed(evidence.brier_difference, 4)} (E {evidence.brier_e_value:.3g}), "
        f"{percent(evidence.coverage)} held"
    )


def change_text(change: change_pb.ModelChange) -> str:
    """Describe the effect of a change, in one line."""
    instead = f", instead of {change.from_version}" if change.from_version else ""
    return f"{_done(change)} {change.model_version}{instead} (sequence {change.sequence:,})"


def print_history(answer: pb.ListModelChangesResponse) -> None:
    """Print changes, newest first."""
    if not answer.changes:
        print_line("No changes of models.")
        return
    Console().print(listing(_HISTORY, answer.changes))


def print_line(text: str) -> None:
    """Print a line as it is."""
    Console().print(text, highlight=False)


def _done(change: change_pb.ModelChange) -> str:
    return f"{_DONE.get(change.action, 'changed')}{' by force' if change.forced else ''}"


def _moment(change: change_pb.ModelChange) -> str:
    return f"{change.changed_time.ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M}"


_HISTORY: Final[Sequence[ListingColumn[change_pb.ModelChange]]] = (
    ListingColumn("sequence", "right", 6, lambda change: f"{change.sequence:,}"),
    ListingColumn("when", "left", 9, _moment, of="changed_time"),
    ListingColumn("change", "left", 9, _done, "bold"),
    ListingColumn("model", "left", 9, lambda change: change.model_version),
    ListingColumn("instead of", "left", 5, lambda change: change.from_version),
    ListingColumn("by", "left", 4, lambda change: change.changed_by),
    ListingColumn("why", "left", 8, lambda change: change.reason),
    ListingColumn("evidence", "left", 3, lambda change: evidence_text(change.evidence), of="evidence"),
)
