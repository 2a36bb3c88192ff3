"""One call of RegisterBundle, message by message."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from dejavu.v1 import bundle_pb2
from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu_client.errors import (
    from_rpc_error,
)
from dejavu_models.registry.bundle import MANIFEST

PIECE = 16 * 1024


class Uploading:
    """One call, message by message."""

    def __init__(self, address: str, bundle: Path) -> None:
        self.bundle = bundle
        self._channel = grpc.insecure_channel(address)
        self._requests: queue.Queue[Any] = queue.Queue()
        self._call = ModelServiceStub(self._channel).RegisterBundle(iter(self._requests.get, None))

    def __enter__(self) -> Uploading:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._channel.close()

    def send(self, message: bundle_pb2.BundleHeader | bundle_pb2.BundleChunk) -> None:
        if isinstance(message, bundle_pb2.BundleHeader):
            self._requests.put(pb.RegisterBundleRequest(header=message))
        else:
            self._requests.put(pb.RegisterBundleRequest(chunk=message))

    def end(self) -> None:
        self._requests.put(None)

    def begin(self, **changes: Any) -> dict[str, int]:
        """Send the header; return the incomplete files: name → number of bytes that the server has."""
        manifest = (self.bundle / MANIFEST).read_bytes()
        self.send(bundle_pb2.BundleHeader(**{"manifest": manifest, "reason": "new season", **changes}))
        return {each.file: each.offset for each in self.answer().missing.files}

    def answer(self) -> pb.RegisterBundleResponse:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise from_rpc_error(error, "the server") from error

    def pieces(self, missing: dict[str, int]) -> Iterator[bundle_pb2.BundleChunk]:
        for name, start in missing.items():
            content = (self.bundle / name).read_bytes()
            for offset in range(start, len(content), PIECE):
                yield bundle_pb2.BundleChunk(file=name, offset=offset, data=content[offset : offset + PIECE])

    def finish(self, missing: dict[str, int]) -> pb.RegisteredModel:
        for piece in self.pieces(missing):
            self.send(piece)
        return self.answer().registered
