"""Errors of retraining."""

from __future__ import annotations


class RetrainError(Exception):
    """A retrain was refused or failed; the message has the reason and the remedy."""


class RetrainRunning(RetrainError):
    """Another retrain is running in the same work folder."""


class GamesRefused(RetrainError):
    """The games have problems that were not accepted."""


class ChallengerUnfit(RetrainError):
    """The recipe failed its backtest on these games, so that its model is not published."""
