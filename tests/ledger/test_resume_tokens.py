"""Guarantees of a resume token, and tokens that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from tests.support.builders.issued_forecasts import game, issued
from tests.support.processes.empty_ledger import ledger_url

from dejavu_ledger import InvalidResumeToken, Ledger, ResumeTokenExpired, resume_tokens
from dejavu_ledger.database import schema
from dejavu_models.errors import InvalidInput

law = settings(deadline=None)

all_tokens = st.builds(
    resume_tokens.ResumeToken,
    ledger_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    epoch=st.binary(min_size=8, max_size=8).map(bytes.hex),
    sequence=st.integers(0, 2**64 - 1),
)


@law
@given(all_tokens)
def test_a_token_reads_back_and_is_safe_in_a_url(token: resume_tokens.ResumeToken) -> None:
    text = resume_tokens.encode(token)
    assert resume_tokens.decode(text) == token
    assert re.fullmatch(r"[A-Za-z0-9_-]{44}", text)


@law
@given(st.text())
def test_any_other_text_is_refused_as_a_bad_field(text: str) -> None:
    with pytest.raises(InvalidResumeToken) as refused:
        resume_tokens.decode(text)
    assert isinstance(refused.value, InvalidInput)
    assert refused.value.field == "resume_token"
    assert len(str(refused.value)) < 500


@law
@given(all_tokens, st.integers(0, 43))
def test_a_cut_or_lengthened_token_is_refused(token: resume_tokens.ResumeToken, length: int) -> None:
    text = resume_tokens.encode(token)
    for wrong in (text[:length], f"{text}AAAA", f" {text}", f"{text}\n"):
        with pytest.raises(InvalidResumeToken):
            resume_tokens.decode(wrong)


def test_a_token_of_a_later_form_is_refused() -> None:
    text = resume_tokens.encode(resume_tokens.ResumeToken("0" * 32, "0" * 16, 5))
    with pytest.raises(InvalidResumeToken, match="form 2"):
        resume_tokens.decode("Ag" + text[2:])


async def test_a_token_of_another_ledger_is_invalid(ledger: Ledger, tmp_path: Path) -> None:
    other = await Ledger.open(ledger_url(tmp_path, "other.db"))
    await change(other, ledger_id=f"{1:032x}")  # empty ledgers in PostgreSQL are copies of one
    await other.close()
    other = await Ledger.open(ledger_url(tmp_path, "other.db"))
    with pytest.raises(InvalidResumeToken, match="another ledger"):
        await ledger.resume_position(other.token(0))
    await other.close()


async def test_a_place_that_is_not_reached_yet_is_expired(ledger: Ledger) -> None:
    await ledger.commit([issued()])
    with pytest.raises(ResumeTokenExpired, match="restored"):
        await ledger.resume_position(ledger.token(2))


async def test_a_token_from_before_a_restore_is_expired(ledger: Ledger) -> None:
    await ledger.commit([issued()])
    await change(ledger, epoch="00000000000000ff")
    with pytest.raises(ResumeTokenExpired, match="restored"):
        await ledger.resume_position(ledger.token(1))


async def test_a_token_of_each_place_is_good(ledger: Ledger) -> None:
    await ledger.commit([issued(game(n)) for n in range(3)])
    assert [await ledger.resume_position(ledger.token(place)) for place in range(4)] == list(range(4))


async def change(ledger: Ledger, **values: object) -> None:
    """Change the ledger's identity as a restore would."""
    await ledger.write(lambda connection: connection.execute(update(schema.ledger).values(**values)))
