from __future__ import annotations

import gc
import weakref

from dejavu_models.errors import (
    FieldError,
    FieldErrors,
    InvalidInput,
    InvalidPattern,
    Unsupported,
    UnsupportedSlots,
)


def test_what_one_model_cannot_do_is_not_taken_for_what_nobody_may_ask() -> None:
    error = UnsupportedSlots("17 slots", "18")
    assert isinstance(error, Unsupported)
    assert isinstance(error, FieldError)
    assert not isinstance(error, InvalidInput)
    assert (error.field, error.description) == ("pattern", "17 slots; expected 18")


class Request:
    """A request that is read."""


def read(_: Request) -> None:
    raise InvalidPattern("0 slots", "1 to 47")


def refuse(request: Request) -> None:
    faults = FieldErrors()
    faults.read(read, None, request)
    faults.add(InvalidInput("x", "y", "alpha"))
    faults.raise_first()


def test_a_refused_request_is_freed_with_its_errors() -> None:
    gc.disable()
    try:
        request = Request()
        kept, fields = weakref.ref(request), list[str]()
        try:
            refuse(request)
        except InvalidPattern as error:
            fields = [each.field for each in (error, *error.others)]
        del request
        assert fields == ["pattern", "alpha"]
        assert kept() is None
    finally:
        gc.enable()
