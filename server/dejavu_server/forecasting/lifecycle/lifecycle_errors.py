"""Errors of the life of models.

DejavuError
├── NoModelStore      the server has no model store, so its models do not change
├── ModelLoadFailed   a worker could not load a model, so nothing was changed
├── NotProven         the evidence for a promotion does not suffice
└── FieldError
    └── NotLoaded     a registered model that the worker has not loaded
"""

from __future__ import annotations

from dejavu_models.errors import DejavuError, FieldError


class NoModelStore(DejavuError):
    """The server has no model store, so its models do not change while it runs."""

    reason = "NO_MODEL_STORE"

    def __init__(self) -> None:
        super().__init__("this server has no model store; expected one that was started with --model-store")


class ModelLoadFailed(DejavuError):
    """A worker could not load a model, so nothing was changed."""

    reason = "MODEL_LOAD_FAILED"


class NotProven(DejavuError):
    """The evidence that a model is not worse than the champion does not suffice to promote it."""

    reason = "MODEL_NOT_PROVEN"


class NotLoaded(FieldError):
    """A request names a registered model that the worker has not loaded."""

    reason = "MODEL_NOT_LOADED"
    default_field = "model_version"
