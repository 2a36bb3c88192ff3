"""Runs a bench/ program for some rounds and checks that it has no breaches."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from bench.clients import LoadResult

ResultT = TypeVar("ResultT", bound=LoadResult)


def rounds(main: Callable[..., int], kind: type[ResultT], *options: str) -> ResultT:
    """Run the program; return its result, which must have no breaches."""
    shown: list[str] = []
    code = main([*options, "--json"], show=shown.append)
    result = kind(**json.loads(shown[0]))
    assert (code, result.breaches()) == (0, [])
    return result
