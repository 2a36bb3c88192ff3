"""The base of objects that stand in for a client and have only the methods that a test needs."""

from __future__ import annotations

from typing import Any, Final

FakeOfClient: Final[Any] = object
"""For type checkers, its subclasses are of every type, such as `AsyncDejavuClient`."""
