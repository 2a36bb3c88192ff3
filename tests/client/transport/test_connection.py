"""The watch over the waits of a synchronous stream."""

from __future__ import annotations

import queue
import time

import grpc
import pytest

from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu_client.transport.connection import StreamReader


class Stream:
    """Gives the responses that are put into it; waiting ends with an error once it is cancelled."""

    def __init__(self) -> None:
        self.responses = queue.Queue[StreamPredictionsResponse | None]()
        self.cancelled = False

    def __next__(self) -> StreamPredictionsResponse:
        response = self.responses.get(timeout=10)
        if response is None:
            raise grpc.RpcError
        return response

    def cancel(self) -> None:
        self.cancelled = True
        self.responses.put(None)


def test_a_wait_that_lasts_too_long_is_cancelled() -> None:
    stream = Stream()
    with pytest.raises(TimeoutError):
        StreamReader(stream, 0.02).read()
    assert stream.cancelled


def test_time_between_waits_does_not_count() -> None:
    stream, response = Stream(), StreamPredictionsResponse(resume_token="a")
    reader = StreamReader(stream, 0.02)
    stream.responses.put(response)
    assert reader.read() is response
    time.sleep(0.1)  # several checks of the watch
    assert not stream.cancelled
    reader.close()


def test_a_closed_reader_is_not_watched_and_ends_as_the_stream_ends() -> None:
    stream = Stream()
    reader = StreamReader(stream, 0.02)
    reader.close()
    with pytest.raises(grpc.RpcError):
        reader.read()
