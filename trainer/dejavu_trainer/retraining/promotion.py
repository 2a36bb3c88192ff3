"""Asks a server to promote the models that are staged there: it refuses without evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dejavu_trainer.client import CallFailed, run_client

NOT_PROVEN: Final = "MODEL_NOT_PROVEN"
"""Reason with which a server refuses a promotion without evidence."""

_REASON: Final = "dejavu-trainer retrain --promote"


@dataclass(frozen=True, slots=True)
class Promotion:
    """Answer of a server about a staged model.

    Attributes:
        model_version: the model.
        promoted: whether it is the champion now.
        reason: why it is not; empty if it is.
    """

    model_version: str
    promoted: bool
    reason: str = ""


def promote_staged(server: str) -> list[Promotion]:
    """Ask a server to promote its staged models, the one staged first of all, until one is the champion.

    A model that served before is not asked for: it would be promoted again for not being worse.

    Args:
        server: HOST:PORT of a server with a model store.

    Returns:
        The answers, in the order in which they were asked for; none if nothing is staged.

    Raises:
        CallFailed: if the server refuses for another reason than missing evidence, or does not answer.
    """
    answers = []
    for version in _candidates(server):
        try:
            run_client("models", "promote", version, "--reason", _REASON, server=server)
        except CallFailed as failed:
            if failed.error.get("reason") != NOT_PROVEN:
                raise
            answers.append(Promotion(version, promoted=False, reason=failed.error["message"]))
        else:
            return [*answers, Promotion(version, promoted=True)]
    return answers


def _candidates(server: str) -> list[str]:
    """Return the versions of the staged models that never served, in the order in which they were staged."""
    models = run_client("models", "list", server=server).get("models", [])
    changes = run_client("models", "history", "--limit", "500", server=server).get("changes", [])
    served = {each["modelVersion"] for each in changes if each["action"] == "MODEL_ACTION_PROMOTE"}
    staged = [str(each["version"]) for each in models if each.get("stage") == "MODEL_STAGE_STAGED"]
    return [version for version in staged if version not in served]
