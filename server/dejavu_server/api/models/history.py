"""Pages of the changes of models in the ledger, newest first."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Final

from dejavu.v1 import model_service_pb2 as pb
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries import pages
from dejavu_ledger.queries.model_changes import KnownRoster, newest_changes
from dejavu_ledger.queries.pages import DIGEST_BYTES, Cursor, PageCursor
from dejavu_server.api.converters.models import change_message
from dejavu_server.api.paging import page_size
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.limits import Caller
from dejavu_store.stages import ModelChange

_LIST: Final = b"model changes "


class ModelHistory:
    """Lists changes of models.

    Args:
        reads: reads the ledger, for all services of the worker.
    """

    def __init__(self, reads: SharedReads) -> None:
        self._reads = reads
        self._roster = KnownRoster()

    async def list_model_changes(
        self, request: pb.ListModelChangesRequest, caller: Caller
    ) -> pb.ListModelChangesResponse:
        """Return a page.

        Raises:
            InvalidPageSize, InvalidPageToken: if the request has an invalid one.
            NotRegistered: if no model has the alias that it names.
            Overloaded: if too many of these reads wait.
            LedgerError: if the ledger cannot be read.
        """
        size = page_size(request.page_size)
        page = partial(_page, self._roster, name=request.model_version, token=request.page_token, size=size)
        changes, token = await self._reads.look_up(page, caller.turn)
        messages = (change_message(change) for change in changes)
        return pb.ListModelChangesResponse(
            changes=[message for message in messages if message is not None], next_page_token=token
        )


def _page(
    roster: KnownRoster, connection: Connection, name: str, token: str, size: int
) -> tuple[list[ModelChange], str]:
    with sql.snapshot(connection):
        identity = store.identity(connection)
        version = roster.read(connection).version_of(name) if name else ""
        digest = hashlib.blake2b(_LIST + version.encode(), digest_size=DIGEST_BYTES).digest()
        before = pages.decode_token(token, identity, digest).before.sequence if token else None
        found = newest_changes(connection, size + 1, before, version)
    if len(found) <= size:
        return found, ""
    last = found[size - 1].sequence
    return found[:size], pages.encode_token(identity, digest, PageCursor(last, Cursor(0, last)))
