"""Server reflection with the comments of the contract, under the names of v1 and v1alpha, whose messages are equal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import cache
from importlib import resources
from typing import Any, Final

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, SourceCodeInfo
from google.protobuf.descriptor_pool import Default
from google.protobuf.text_format import MessageToString, Parse
from grpc_reflection.v1alpha import reflection, reflection_pb2

from dejavu_server.api.decoding import checked
from dejavu_server.api.handlers import Handlers
from dejavu_server.limits import Caller

V1ALPHA: Final[str] = reflection.SERVICE_NAME
V1: Final = V1ALPHA.replace(".v1alpha.", ".v1.")
"""Name of the service that the library does not have; newer tools ask for it first."""

REFLECTION_SERVICES: Final = (V1, V1ALPHA)

_LONGEST_PAUSE: Final = 0.05
"""Maximum pause between two requests of a reflection stream, in seconds."""


class _CommentedFile:
    """A file as the servicer reads it, with its comments."""

    def __init__(self, file: FileDescriptor) -> None:
        self._file = file
        self.name: str = file.name

    @property
    def dependencies(self) -> list[_CommentedFile]:
        return [_CommentedFile(each) for each in self._file.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:  # noqa: N802 - the name of FileDescriptor
        self._file.CopyToProto(proto)
        if self.name in (comments := _comments()):
            proto.source_code_info.CopyFrom(comments[self.name])


class _CommentedPool:
    """The files of this process as the servicer looks them up."""

    def FindFileByName(self, name: str) -> _CommentedFile:  # noqa: N802 - the name of DescriptorPool
        return _CommentedFile(Default().FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> _CommentedFile:  # noqa: N802 - the name of DescriptorPool
        try:
            file = Default().FindFileContainingSymbol(symbol)
        except KeyError:  # it does not know methods and fields: look for what contains them
            file = Default().FindFileContainingSymbol(symbol.rpartition(".")[0])
        return _CommentedFile(file)

    def __getattr__(self, name: str) -> Any:
        return getattr(Default(), name)  # of extensions


def _add_v1() -> None:
    """Add the file of `V1`, which the library lacks, to those of this process."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    renamed = Parse(MessageToString(file).replace("v1alpha", "v1"), FileDescriptorProto())
    Default().AddSerializedFile(renamed.SerializeToString())


_add_v1()


@cache
def _comments() -> dict[str, SourceCodeInfo]:
    """Return the comments of the contract by name of file; generated messages have none."""
    files = FileDescriptorSet.FromString(resources.files("dejavu").joinpath("contract.binpb").read_bytes()).file
    return {
        file.name: SourceCodeInfo(
            location=[
                each for each in file.source_code_info.location if each.leading_comments or each.trailing_comments
            ]
        )
        for file in files
    }


async def _paced(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the requests of a stream more and more slowly: limits count streams, not the requests of each.

    Tools send some ten requests, which takes them 50 ms longer.
    """
    pause = 0.0
    async for request in requests:
        await asyncio.sleep(pause)
        pause = min(pause + 0.001, _LONGEST_PAUSE)
        yield request


def reflection_handlers(services: Iterable[str]) -> Handlers:
    """Return the handlers of a reflection service for the named services and both of its own names."""
    servicer = reflection.aio.ReflectionServicer([*services, *REFLECTION_SERVICES], _CommentedPool())

    def answers(requests: AsyncIterator[Any], _: Caller) -> Any:
        return servicer.ServerReflectionInfo(_paced(requests), None)

    info = grpc.stream_stream_rpc_method_handler(
        answers,
        checked(reflection_pb2.ServerReflectionRequest),
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return {"ServerReflectionInfo": info}
