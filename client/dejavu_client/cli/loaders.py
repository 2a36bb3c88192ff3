"""Loads commands, each when it is asked for: one does not pay for the imports of the others.

The imports stand in functions, so that a static tool sees them as it sees any other.
"""

from __future__ import annotations

from typing import Any


def predict() -> Any:
    """The function of `dejavu predict`."""
    from dejavu_client.cli import predict

    return predict.predict


def risk() -> Any:
    """The function of `dejavu risk`."""
    from dejavu_client.cli import risk

    return risk.risk


def stream() -> Any:
    """The function of `dejavu stream`."""
    from dejavu_client.cli import stream

    return stream.stream


def predictions() -> Any:
    """The function of `dejavu predictions`."""
    from dejavu_client.cli import record

    return record.predictions


def prediction() -> Any:
    """The function of `dejavu prediction`."""
    from dejavu_client.cli import record

    return record.prediction


def scorecard() -> Any:
    """The function of `dejavu scorecard`."""
    from dejavu_client.cli import scores

    return scores.scorecard


def leaderboard() -> Any:
    """The function of `dejavu leaderboard`."""
    from dejavu_client.cli import scores

    return scores.leaderboard


def report() -> Any:
    """The function of `dejavu report`."""
    from dejavu_client.cli import record

    return record.report


def checkpoint() -> Any:
    """The function of `dejavu checkpoint`."""
    from dejavu_client.cli import record

    return record.checkpoint


def models() -> Any:
    """The function of `dejavu models`."""
    from dejavu_client.cli import server

    return server.models


def health() -> Any:
    """The function of `dejavu health`."""
    from dejavu_client.cli import server

    return server.health


def poll() -> Any:
    """The function of `dejavu poll`."""
    from dejavu_client.cli import poll

    return poll.poll


def replay() -> Any:
    """The function of `dejavu replay`."""
    from dejavu_client.cli import replay

    return replay.replay


def demo() -> Any:
    """The function of `dejavu demo`."""
    from dejavu_client.cli import demo

    return demo.demo
