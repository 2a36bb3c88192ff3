"""The serialized requests of a batch, each of which is parsed if it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictRequest
from dejavu_common.yielding import Turns
from dejavu_server.api.batches.groups import AlikeRequests, alike_requests
from dejavu_server.api.converters.prediction import MAX_BATCH, batch_requests
from dejavu_server.api.wire.decoding import checked
from dejavu_server.api.wire.format import Span, message_spans

_REQUESTS: Final = PredictBatchRequest.DESCRIPTOR.fields_by_name["requests"].number

_parse_batch = checked(PredictBatchRequest)


class SerializedRequests:
    """The requests of a batch; `len` is their number.

    Args:
        data: the serialized PredictBatchRequest.
        spans: where its requests are.
    """

    def __init__(self, data: bytes, spans: Sequence[Span]) -> None:
        self._data, self._spans = data, spans

    def __len__(self) -> int:
        return len(self._spans)

    def parse(self, index: int) -> PredictRequest:
        """Returns a request; raises MalformedRequest if it is no message."""
        try:
            return PredictRequest.FromString(self._data[slice(*self._spans[index])])
        except DecodeError:
            _parse_batch(self._data)  # neither is the batch, which the error is to tell
            raise

    async def alike(self, turns: Turns) -> list[AlikeRequests]:
        """Returns the groups of requests that differ in their numbers only; see `alike_requests`."""
        return await alike_requests(self._data, self._spans, turns)


def read_batch(data: bytes) -> SerializedRequests:
    """Reads a serialized PredictBatchRequest; its requests are not parsed, because each fails on its own.

    Raises:
        MalformedRequest: if it is no message.
        InvalidBatch: if it has no requests, or too many.
    """
    spans = message_spans(data, _REQUESTS, MAX_BATCH)
    if not spans:  # too many, none, or with fields that this contract does not have
        data = PredictBatchRequest(requests=batch_requests(_parse_batch(data))).SerializeToString()
        spans = message_spans(data, _REQUESTS, MAX_BATCH) or []
    return SerializedRequests(data, spans)
