from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dejavu_trainer.evaluation.backtest import result_of
from dejavu_trainer.evaluation.figures import Figures

RESAMPLED: tuple[Callable[..., Any], ...] = (Figures.__init__, result_of)


@pytest.fixture(scope="session", autouse=True)
def few_resamples() -> Iterator[None]:
    """Use 50 resamples instead of 2,000 wherever a test gives no number; precise enough for the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for function in RESAMPLED:
            defaults = function.__kwdefaults__ or {}
            assert defaults["resamples"] == 2000
            patch.setitem(defaults, "resamples", 50)
        yield
