"""Errors of the life of models."""

from __future__ import annotations

from dejavu_models.errors import DejavuError, FieldError, quoted


class NoModelStore(DejavuError, reason="NO_MODEL_STORE", category="FAILED_PRECONDITION"):
    """The server has no model store, so its models do not change while it runs."""

    def __init__(self) -> None:
        super().__init__("this server has no model store; expected one that was started with --model-store")


class ModelLoadFailed(DejavuError, reason="MODEL_LOAD_FAILED", category="FAILED_PRECONDITION"):
    """A worker could not load a model, so nothing was changed."""


class NotProven(DejavuError, reason="MODEL_NOT_PROVEN", category="FAILED_PRECONDITION"):
    """The evidence that a model is not worse than the champion does not suffice to promote it."""


class NotChampion(FieldError, reason="MODEL_NOT_CHAMPION", field="model_version", category="FAILED_PRECONDITION"):
    """A named game is forecast by the champion alone: other models forecast it as challengers, in shadow.

    Args:
        version: the requested model.
        champion: version of the champion.
    """

    def __init__(self, version: str, champion: str) -> None:
        expected = f"none, or {champion}, the champion: other models forecast named games as challengers, in shadow"
        super().__init__(quoted(version), expected)


class NotLoaded(FieldError, reason="MODEL_NOT_LOADED", field="model_version", category="FAILED_PRECONDITION"):
    """A request names a registered model that the worker has not loaded."""
