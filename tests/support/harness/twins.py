"""Two implementations that must give the same answers, asked as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Twins:
    """Asks two objects the same, and checks that they answer the same.

    Args:
        one: answers.
        other: must answer the same, to the last bit.
    """

    def __init__(self, one: Any, other: Any) -> None:
        self._one, self._other = one, other

    def __getattr__(self, name: str) -> Any:
        one, other = getattr(self._one, name), getattr(self._other, name)
        if not callable(one):
            assert one == other, name
            return one
        return _asking_both(name, one, other)


def _asking_both(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    def both(*arguments: Any) -> Any:
        answers = [_answer(each, arguments) for each in (one, other)]
        assert answers[0] == answers[1], f"{name}{arguments}"
        return one(*arguments)

    return both


def _answer(ask: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, str]:
    """Returns the answer, or the message of the error."""
    try:
        return ask(*arguments), ""
    except ValueError as error:
        return None, str(error)
