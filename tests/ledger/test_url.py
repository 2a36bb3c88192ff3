"""URLs of ledgers: which are accepted, and what is shown of the others."""

from __future__ import annotations

import pytest

from dejavu_ledger.url import check_ledger_url

REFUSED = {
    "mysql://dejavu:secret@host/record": "'mysql://dejavu:…@host/record' can name no ledger",
    "mysql://dejavu:se://cret@host/record": "'mysql://dejavu:…@host/record' can name no ledger",
    "dejavu:secret@host/record": "'dejavu:…@host/record' can name no ledger",
    "mysql://dejavu@host/record": "'mysql://dejavu@host/record' can name no ledger",
    "mysql://host:3306/record": "'mysql://host:3306/record' can name no ledger",
    "record.db": "for this file: sqlite:///record.db",
    "sqlite:///record.db?mode=ro": "PATH without '?'",
    "sqlite:///": "can name no ledger",
    "sqlite:///:memory:": "can name no ledger",
    "postgresql://dejavu:secret@host/record": "expected it in PGPASSWORD",
    "postgresql://dejavu@host/record?password=secret": "expected it in PGPASSWORD",
    "postgresql://[host/record": "the URL cannot be parsed",
}


@pytest.mark.parametrize("url", REFUSED)
def test_a_refusal_says_what_is_expected_and_no_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        check_ledger_url(url)
    assert REFUSED[url] in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize("url", ["sqlite:////var/record.db", "postgresql://dejavu@host/record", "postgres:///record"])
def test_a_url_that_can_name_a_ledger_is_returned(url: str) -> None:
    assert check_ledger_url(url) == url
