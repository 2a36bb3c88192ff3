"""RegisterBundle: receives a bundle in pieces, which a later attempt can continue, and registers its model.

An upload is bounded in size, time and number, and holds no more than a chunk in memory. The bundle is verified in
another process before it is stored (dejavu_models/registry/store), and registered once it is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from dejavu.v1 import bundle_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu_models.errors import quoted
from dejavu_models.manifest import Manifest
from dejavu_models.registry.bundle import parse_manifest
from dejavu_models.registry.stages import MAX_REASON, InvalidReason
from dejavu_models.registry.store.errors import InvalidChunk, UploadTooLarge
from dejavu_models.registry.store.store import ModelStore
from dejavu_models.registry.store.uploads import Upload
from dejavu_models.registry.store.verification import verify_in_background
from dejavu_server.admission.callers import check_model_change, limited_caller
from dejavu_server.admission.controller import current_permit
from dejavu_server.admission.errors import CallerLimit, DeadlineExceeded
from dejavu_server.api.handlers import Context

ResultT = TypeVar("ResultT")

IDLE_SECONDS: Final = 30.0
"""Seconds without a message after which an upload ends."""

MAX_UPLOAD_SECONDS: Final = 900.0
"""Seconds after which an upload ends in any case; the next attempt continues it."""

_SOURCE: Final = "the upload"


class BundleReceiver:
    """Receives bundles into a store.

    Args:
        store: the store.
        register: registers the stored model of a version, with the given reason, unless it is registered already;
            returns the model.
        check: verifies the bundle in a folder; raises a BundleError to refuse it.
        idle_seconds: seconds without a message after which an upload ends.
        max_seconds: seconds after which it ends in any case.
    """

    def __init__(
        self,
        store: ModelStore,
        register: Callable[[str, str], Awaitable[pb.RegisteredModel]],
        *,
        check: Callable[[Path], None] = verify_in_background,
        idle_seconds: float = IDLE_SECONDS,
        max_seconds: float = MAX_UPLOAD_SECONDS,
    ) -> None:
        self._store = store
        self._register = register
        self._check = check
        self._idle_seconds = idle_seconds
        self._max_seconds = max_seconds
        self._uploading = set[str]()  # callers

    async def register_bundle(
        self, requests: AsyncIterator[pb.RegisterBundleRequest], _: Context
    ) -> AsyncGenerator[pb.RegisterBundleResponse, None]:
        """Receive one bundle.

        Raises:
            CallerLimit: if the caller has another upload, or may make no further change of models today.
            BundleError, DejavuError: if it is refused; see docs/calls.md. Data received until then are kept, as far as
                they can be part of the bundle.
        """
        with self._one_of_a_caller():
            async for response in self._receive_bundle(_Messages(requests, self._idle_seconds, self._max_seconds)):
                yield response

    @contextmanager
    def _one_of_a_caller(self) -> Iterator[None]:
        """Allow the current caller one upload at a time, so that slow uploads of one caller do not take all places."""
        caller = limited_caller.get()
        if caller in self._uploading:
            raise CallerLimit("uploads", "one upload at a time")
        if caller:
            self._uploading.add(caller)
        try:
            yield
        finally:
            self._uploading.discard(caller)

    async def _receive_bundle(self, messages: _Messages) -> AsyncGenerator[pb.RegisterBundleResponse, None]:
        header = await self._header(messages)
        manifest = await asyncio.to_thread(parse_manifest, header.manifest, _SOURCE)
        self._store.check_allowed(manifest, _SOURCE)
        if not await asyncio.to_thread(self._store.is_complete, manifest.version):
            check_model_change()  # before storing: a stored bundle stays, even if it cannot be registered
            async with AsyncExitStack() as stack:
                upload = await self._begin(stack, header.manifest, manifest)
                if offsets := upload.offsets:
                    files = [bundle_pb2.MissingFile(file=name, offset=offset) for name, offset in offsets.items()]
                    yield pb.RegisterBundleResponse(missing=bundle_pb2.MissingFiles(files=files))
                    await self._receive(messages, upload)
                contents = await _in_thread(upload.contents)
                put = partial(self._store.put_contents, check=self._check)
                await _in_thread(put, header.manifest, contents, _SOURCE)
                await _in_thread(self._store.uploads.finish, header.manifest, manifest.version)
        yield pb.RegisterBundleResponse(registered=await self._register(manifest.version, header.reason))

    async def _header(self, messages: _Messages) -> bundle_pb2.BundleHeader:
        """Return the first message.

        Raises:
            InvalidChunk: if there is none, or it is not a header.
            UploadTooLarge: if the manifest is too large.
            InvalidReason: if the reason is too long.
        """
        message = await messages.next()
        if message is None or message.WhichOneof("part") != "header":
            raise InvalidChunk("another message, or none", "the header of the bundle first", field="header")
        most = self._store.uploads.limits.chunk_bytes
        if len(message.header.manifest) > most:
            raise UploadTooLarge(f"a manifest of {len(message.header.manifest):,} bytes; expected at most {most:,}")
        if len(message.header.reason) > MAX_REASON:
            raise InvalidReason(
                quoted(message.header.reason), f"at most {MAX_REASON} characters", field="header.reason"
            )
        return message.header

    async def _begin(self, stack: AsyncExitStack, text: bytes, manifest: Manifest) -> Upload:
        """Begin or continue an upload, until the stack is closed."""
        missing = await asyncio.to_thread(self._store.missing, manifest)
        upload = self._store.uploads.begin(text, manifest.version, missing)
        stack.push_async_callback(_in_thread, upload.__exit__, None, None, None)
        return await _in_thread(upload.__enter__)

    async def _receive(self, messages: _Messages, upload: Upload) -> None:
        """Receive chunks until no file is missing, or the caller sends no more.

        Raises:
            InvalidChunk: if a message is not a chunk, or not the next one.
        """
        while upload.offsets and (message := await messages.next()) is not None:
            if message.WhichOneof("part") != "chunk":
                raise InvalidChunk("another message", "a chunk of a file that is missing")
            chunk = message.chunk
            await _in_thread(upload.write, chunk.file, chunk.offset, chunk.data)


class _Messages:
    """The messages of a call, with a time limit for each and for all.

    Args:
        requests: the messages.
        idle_seconds: seconds to wait for the next one.
        max_seconds: seconds from now to wait for all.
    """

    def __init__(
        self, requests: AsyncIterator[pb.RegisterBundleRequest], idle_seconds: float, max_seconds: float
    ) -> None:
        self._requests = aiter(requests)
        self._idle_seconds = idle_seconds
        self._max_seconds = max_seconds
        self._end = time.monotonic() + max_seconds

    async def next(self) -> pb.RegisterBundleRequest | None:
        """Return the next message; None if the caller sends no more.

        Raises:
            DeadlineExceeded: if none comes in time.
        """
        left = self._end - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(self._idle_seconds, left))):
                message = await anext(self._requests, None)
        except TimeoutError:
            if left < self._idle_seconds:
                raise DeadlineExceeded(f"the upload took more than {self._max_seconds:g} s; continue it") from None
            raise DeadlineExceeded(f"no message for {self._idle_seconds:g} s; continue the upload") from None
        if (permit := current_permit.get()) is not None:
            permit.request_received()
        return message


async def _in_thread(work: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Run work that uses the disk on a thread, to its end even if the call is cancelled: it may have files open."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
