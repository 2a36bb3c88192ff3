"""Loads commands on first use, so that a command does not pay for the imports of the others.

The imports are inside functions, where static analysis tools still see them.
"""

from __future__ import annotations

from typing import Any


def predict() -> Any:
    """Returns the function of `dejavu predict`."""
    from dejavu_client.cli import predict

    return predict.predict


def risk() -> Any:
    """Returns the function of `dejavu risk`."""
    from dejavu_client.cli import risk

    return risk.risk


def stream() -> Any:
    """Returns the function of `dejavu stream`."""
    from dejavu_client.cli import stream

    return stream.stream


def predictions() -> Any:
    """Returns the function of `dejavu predictions`."""
    from dejavu_client.cli import record

    return record.predictions


def prediction() -> Any:
    """Returns the function of `dejavu prediction`."""
    from dejavu_client.cli import record

    return record.prediction


def scorecard() -> Any:
    """Returns the function of `dejavu scorecard`."""
    from dejavu_client.cli import scores

    return scores.scorecard


def leaderboard() -> Any:
    """Returns the function of `dejavu leaderboard`."""
    from dejavu_client.cli import scores

    return scores.leaderboard


def report() -> Any:
    """Returns the function of `dejavu report`."""
    from dejavu_client.cli import record

    return record.report


def checkpoint() -> Any:
    """Returns the function of `dejavu checkpoint`."""
    from dejavu_client.cli import record

    return record.checkpoint


def models() -> Any:
    """Returns the function of `dejavu models`."""
    from dejavu_client.cli import server

    return server.models


def health() -> Any:
    """Returns the function of `dejavu health`."""
    from dejavu_client.cli import server

    return server.health


def poll() -> Any:
    """Returns the function of `dejavu poll`."""
    from dejavu_client.cli import poll

    return poll.poll


def replay() -> Any:
    """Returns the function of `dejavu replay`."""
    from dejavu_client.cli import replay

    return replay.replay


def demo() -> Any:
    """Returns the function of `dejavu demo`."""
    from dejavu_client.cli import demo

    return demo.demo
