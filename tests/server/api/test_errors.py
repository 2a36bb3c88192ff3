from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2
from tests.support.builders.calls import MAY_PASS

from dejavu_ledger import LedgerUnavailable
from dejavu_models.errors import DejavuError, InvalidAlpha, UnknownModel
from dejavu_server.api.errors import describe, item_error, status

importlib.import_module("dejavu_server.worker.worker")  # imports all modules that define errors

# Raised only when a worker starts or by a command, so never sent to a caller; FitError is the trainer's.
OF_FILES = {"AccessFileError", "CacheSecretError", "DuplicateBundle", "InvalidCheckpoint", "InvalidModelStore"}
OF_PLACES = {"BindError", "CacheNotInstalled", "ChampionUnavailable", "InvalidLedgerUrl", "TargetRefused"}
ONLY_AT_THE_START = OF_FILES | OF_PLACES | {"ExportError", "FitError"}
# Base classes that are never raised.
ONLY_BASES = {"BundleError", "FieldError", "LedgerError"}


def kin(base: type[DejavuError]) -> Iterator[type[DejavuError]]:
    for child in base.__subclasses__():
        if child.__module__.startswith("dejavu_") and not child.__module__.startswith("dejavu_trainer."):
            yield child
            yield from kin(child)


ALL = sorted(set(kin(DejavuError)), key=str)


@pytest.mark.parametrize("error", ALL)
def test_every_domain_error_that_a_caller_can_meet_has_a_category(error: type[DejavuError]) -> None:
    names = {base.__name__ for base in error.__mro__}
    assert (error.category is not None) != bool(names & ONLY_AT_THE_START or error.__name__ in ONLY_BASES)


def test_every_domain_error_has_a_reason_of_its_own_in_the_form_that_google_asks_for() -> None:
    assert len({error.reason for error in ALL}) == len(ALL)
    assert [each.reason for each in ALL if not re.fullmatch(r"[A-Z0-9_]{1,63}", each.reason)] == []


@pytest.mark.parametrize("error", ALL)
def test_exactly_the_refusals_that_may_pass_say_when_to_retry(error: type[DejavuError]) -> None:
    own = inspect.signature(error.__init__).parameters.values() if inspect.isfunction(error.__init__) else ()
    made = error(*(each.name for each in own if each.name != "self" and each.default is inspect.Parameter.empty))
    retry = error_details_pb2.RetryInfo()
    found = any(detail.Unpack(retry) for detail in status(describe(made)).details)
    assert found == item_error(made).HasField("retry_delay_seconds") == (error.reason in MAY_PASS)
    assert item_error(made).retry_delay_seconds == retry.retry_delay.ToTimedelta().total_seconds()
    assert (retry.retry_delay.ToTimedelta() > timedelta()) == found


@pytest.mark.parametrize("error", [RuntimeError("secret"), DejavuError("secret")])
def test_what_has_no_category_leaves_as_a_bare_internal(error: Exception) -> None:
    assert describe(error).code is grpc.StatusCode.INTERNAL
    for told in (status(describe(error)), item_error(error)):
        assert b"secret" not in told.SerializeToString()


@pytest.mark.parametrize("text", ["x", "😀", "\0", "%", "\U000e0001", "\ud800"])
def test_a_status_fits_into_trailers_whatever_it_tells_of(text: str) -> None:
    long = text * 1_000_000
    for error in (UnknownModel(long, (long,) * 2), InvalidAlpha(long, long), LedgerUnavailable(long)):
        assert status(describe(error)).ByteSize() < 1024
