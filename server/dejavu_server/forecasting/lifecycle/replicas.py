"""Reports of a ledger's workers about their loaded models, and wishes to load one. Neither is part of the record.

Each worker reports its loaded models, and the failed ones with the reason. A wish asks all workers to load a model;
like a report, it expires unless it is repeated. A worker reports the wish that it follows before it loads the model, so
that a wish that ended a worker's process is not followed again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from dejavu_ledger.database.backend import Connection
from dejavu_server.coordination import model_workers

WISHES: Final = ""
"""Stands in place of the server's name in the row of a wish; no server has this name. The version stands in place of
the worker."""

_SECONDS: Final = int(model_workers.REPORT_COUNTS.total_seconds())

MAX_ERROR: Final = 300
"""Maximum length in characters of the reason why a model could not be loaded."""


class LoadFailure(NamedTuple):
    """Why a worker could not load a model.

    Attributes:
        wish: the wish that it followed when it tried; empty if there was none.
        error: the reason, for people.
        tried: when, in seconds of the worker's monotonic clock; not reported.
    """

    wish: str
    error: str
    tried: float = 0.0


class Wish(NamedTuple):
    """A wish that all workers load a model.

    Attributes:
        token: distinguishes it from another wish for the same model.
        error: why it is not followed any more, for people; empty while it is followed.
    """

    token: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Replicas:
    """The models that a worker has.

    Attributes:
        server, worker: the worker.
        pid: its process.
        loaded: versions that it has loaded and warmed up.
        failed: models that it could not load.
        roster_sequence: sequence of the newest change of models that is in force there.
        following: token of the wish for which it loads a model at present; empty if it loads none.
    """

    server: str
    worker: str
    pid: int
    loaded: frozenset[str]
    failed: Mapping[str, LoadFailure]
    roster_sequence: int = 0
    following: str = ""

    def state(self) -> str:
        """Return the worker's report as JSON."""
        failed = {version: [failure.wish, failure.error] for version, failure in sorted(self.failed.items())}
        state = {
            "pid": self.pid,
            "roster": self.roster_sequence,
            "loaded": sorted(self.loaded),
            "failed": failed,
            "following": self.following,
        }
        return json.dumps(state)

    @classmethod
    def of(cls, server: str, worker: str, report: str) -> Replicas:
        """Return what the report of a worker says."""
        state = json.loads(report)
        failed = {version: LoadFailure(*failure) for version, failure in state["failed"].items()}
        loaded = frozenset(state["loaded"])
        return cls(server, worker, state["pid"], loaded, failed, state["roster"], state["following"])


def live(connection: Connection) -> tuple[list[Replicas], dict[str, Wish]]:
    """Return the workers whose reports count, and the wishes by version."""
    workers: list[Replicas] = []
    wishes: dict[str, Wish] = {}
    for server, worker, state in model_workers.live(connection):
        if server == WISHES:
            wishes[worker] = Wish(*state.split(" ", 1))
        else:
            workers.append(Replicas.of(server, worker, state))
    return workers, wishes


def wish(connection: Connection, version: str, token: str = "") -> str:
    """Make or repeat a wish that all workers load a model; return the token of the current wish.

    A wish that ended a worker stays until it expires: its caller, whose call ended with that worker, will retry.

    Args:
        connection: a connection in a transaction that holds the write lock.
        version: the model.
        token: the wish to repeat; empty: a new one, unless there is one already.
    """
    _, wishes = live(connection)
    standing = wishes.get(version) or Wish(token or secrets.token_hex(8))
    if not standing.error:
        model_workers.report(connection, WISHES, version, standing.token)
    return standing.token


def withdraw_wish(connection: Connection, version: str) -> None:
    """End a wish, except one that ended a worker: it stays until it expires."""
    _, wishes = live(connection)
    if version in wishes and not wishes[version].error:
        model_workers.withdraw(connection, WISHES, version)


def remove_dead(connection: Connection, dead: Sequence[Replicas]) -> None:
    """Remove the reports of workers whose processes have ended, and end the wishes that they followed at that time.

    Args:
        connection: a connection in a transaction that holds the write lock.
        dead: the workers.
    """
    _, wishes = live(connection)
    ended = {each.following: each for each in dead if each.following}
    for version, wish in wishes.items():
        if not wish.error and (worker := ended.get(wish.token)) is not None:
            worker_name = f"worker {worker.worker} of server {worker.server}"
            error = f"loading model {version} killed {worker_name}; it is not retried for {_SECONDS} s"
            model_workers.report(connection, WISHES, version, f"{wish.token} {error}")
    for each in dead:
        model_workers.withdraw(connection, each.server, each.worker)
