"""Traces a named Predict from the socket to its commit, and compares its path with docs/architecture.md."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import structlog
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.market_pb2 import Market, Odds
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

OWN = ("dejavu_server.", "dejavu_models.", "dejavu_feed.", "dejavu_common.")
END = ("dejavu_server.ledger.writer", "_answer")
"""The function that is entered right after the commit."""

REQUEST_ID = "traced"


class Trace:
    """Records which own modules are entered in the context of one call, and in the writer thread, until the commit."""

    def __init__(self) -> None:
        self.entered: dict[str, None] = {}
        self.calls: set[tuple[str, str]] = set()
        self.committed = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        module = str(frame.f_globals.get("__name__"))
        if event != "call" or self.committed or not module.startswith(OWN):
            return
        if threading.current_thread().name == "ledger-writer":
            if not self.entered:  # waiting for the first call
                return
        elif structlog.contextvars.get_contextvars().get("request_id") != REQUEST_ID:
            return
        if (module, frame.f_code.co_name) == END:
            self.committed = True
            return
        self.entered.setdefault(module)
        caller = frame.f_back
        while caller is not None and not str(caller.f_globals.get("__name__")).startswith(OWN):
            caller = caller.f_back
        if caller is not None:
            self.calls.add((str(caller.f_globals["__name__"]), module))


@contextmanager
def traced() -> Iterator[Trace]:
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def documented() -> tuple[list[str], set[str]]:
    """Returns the modules that the documentation says a Predict passes, in order, and those that they use."""
    document = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = document.partition("## One Predict\n")[2].partition("\n## ")[0]
    used = section.partition("They use code")[2].partition("`tests/")[0]

    def modules(paths: list[str]) -> list[str]:
        prefixed = [path if path.startswith("dejavu_models/") else f"dejavu_server/{path}" for path in paths]
        return [path.removesuffix(".py").replace("/", ".") for path in prefixed]

    return modules(re.findall(r"^\d+\. `(.*?)`", section, re.MULTILINE)), set(modules(re.findall(r"`(.*?)`", used)))


async def test_a_named_predict_passes_ten_modules_on_its_way_to_the_commit(tmp_path: Path) -> None:
    request = pb.PredictRequest(
        game_id=GAME,
        pattern=PATTERN,
        home_team="BOS",
        away_team="NYK",
        quantile_levels=[0.5],
        market=Market(line=1.5, home=Odds(decimal=1.9), away=Odds(american=-110)),
    )
    with traced() as trace:
        async with async_worker(tmp_path, shipped=True) as worker, grpc.aio.insecure_channel(worker.address) as channel:
            answer = await PredictionServiceStub(channel).Predict(request, metadata=(("x-request-id", REQUEST_ID),))
    assert answer.forecast.sequence
    assert trace.committed
    passed, used = documented()
    assert [module for module in trace.entered if module in passed] == passed
    assert len(passed) <= 10
    assert {module for module in trace.entered if module.startswith("dejavu_server.")} <= {*passed, *used}
    assert used - {"dejavu_server.results"} <= set(trace.entered)  # a failure alone enters results
    assert {callee for caller, callee in trace.calls if caller in used} & set(passed) == set()
