"""Errors of the life of models."""

from __future__ import annotations

from dejavu_models.errors import DejavuError, FieldError


class NoModelStore(DejavuError, reason="NO_MODEL_STORE", category="FAILED_PRECONDITION"):
    """The server has no model store, so its models do not change while it runs."""

    def __init__(self) -> None:
        super().__init__("this server has no model store; expected one that was started with --model-store")


class ModelLoadFailed(DejavuError, reason="MODEL_LOAD_FAILED", category="FAILED_PRECONDITION"):
    """A worker could not load a model, so nothing was changed."""


class NotProven(DejavuError, reason="MODEL_NOT_PROVEN", category="FAILED_PRECONDITION"):
    """The evidence that a model is not worse than the champion does not suffice to promote it."""


class NotLoaded(FieldError, reason="MODEL_NOT_LOADED", field="model_version", category="FAILED_PRECONDITION"):
    """A request names a registered model that the worker has not loaded."""
