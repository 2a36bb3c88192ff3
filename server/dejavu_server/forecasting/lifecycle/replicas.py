"""What the workers of a ledger tell each other about loaded models, beside the record.

Each worker reports which models it has loaded, and which it could not load and why. Who wants a model loaded
everywhere writes a wish, which every worker follows; it expires like a report unless it is repeated.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from dejavu_server.ledger import model_workers
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.ledger.model_workers import WorkerReport

WISHES: Final = ""
"""Stands for the server in the row of a wish, and no server has that name; the version stands for the worker."""

MAX_ERROR: Final = 300
"""Most characters of the reason why a model could not be loaded."""


class LoadFailure(NamedTuple):
    """Why a worker could not load a model.

    Attributes:
        wish: the wish that it followed when it tried; empty if there was none.
        error: the reason, for people.
    """

    wish: str
    error: str


@dataclass(frozen=True, slots=True)
class Replicas:
    """Which models a worker has.

    Attributes:
        server, worker: the worker.
        pid: its process.
        loaded: versions that it has loaded and warmed up.
        failed: those that it could not load.
        roster_sequence: sequence of the newest change of models that is in force there.
    """

    server: str
    worker: str
    pid: int
    loaded: frozenset[str]
    failed: Mapping[str, LoadFailure]
    roster_sequence: int = 0

    def state(self) -> str:
        """Returns what it reports of itself, as JSON."""
        failed = {version: [failure.wish, failure.error] for version, failure in sorted(self.failed.items())}
        state = {"pid": self.pid, "roster": self.roster_sequence, "loaded": sorted(self.loaded), "failed": failed}
        return json.dumps(state)


def live(connection: Connection) -> tuple[list[Replicas], dict[str, str]]:
    """Returns the workers whose reports count, and the wishes by version."""
    reports = model_workers.live(connection)
    wishes = {each.worker: each.state for each in reports if each.server == WISHES}
    return list(_replicas(reports)), wishes


def _replicas(reports: Iterable[WorkerReport]) -> Iterable[Replicas]:
    for each in reports:
        if each.server == WISHES:
            continue
        state = json.loads(each.state)
        failed = {version: LoadFailure(*failure[:2]) for version, failure in state.get("failed", {}).items()}
        yield Replicas(
            each.server,
            each.worker,
            state.get("pid", 0),
            frozenset(state.get("loaded", ())),
            failed,
            state.get("roster", 0),
        )


def wish(connection: Connection, version: str, token: str = "") -> str:
    """Wishes that all workers load a model, or repeats that; returns the token of the wish that stands.

    Args:
        connection: a connection in a transaction that holds the write lock.
        version: the model.
        token: the wish to repeat; empty: a new one, unless there is one already.
    """
    _, wishes = live(connection)
    token = wishes.get(version) or token or secrets.token_hex(8)
    model_workers.report(connection, WISHES, version, token)
    return token


def withdraw_wish(connection: Connection, version: str) -> None:
    """Ends a wish."""
    model_workers.withdraw(connection, WISHES, version)
