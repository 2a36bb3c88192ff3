"""Guarantees of a resume token, and tokens that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness.tokens import lose_entries_after_2, token_of
from tests.support.processes.empty_ledger import ledger_url

from dejavu_ledger import InvalidResumeToken, Ledger, ResumeTokenExpired, tail
from dejavu_ledger.database import sql
from dejavu_ledger.database.store import ChainHead
from dejavu_models.errors import InvalidInput

all_tokens = st.builds(
    tail.ResumeToken,
    ledger_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    epoch=st.binary(min_size=8, max_size=8).map(bytes.hex),
    sequence=st.integers(0, 2**64 - 1),
    hash=st.binary(min_size=tail.HASH_BYTES, max_size=tail.HASH_BYTES),
)


@settings(deadline=None)
@given(all_tokens, st.integers(0, 55))
def test_a_token_reads_back_is_safe_in_a_url_and_whole(token: tail.ResumeToken, length: int) -> None:
    text = tail.encode_token(token)
    assert tail.decode_token(text) == token
    assert re.fullmatch(r"[A-Za-z0-9_-]{56}", text)
    for wrong in (text[:length], f"{text}AAAA", f" {text}", f"{text}\n"):
        with pytest.raises(InvalidResumeToken):
            tail.decode_token(wrong)
    with pytest.raises(InvalidResumeToken, match="form 2"):
        tail.decode_token("Ag" + text[2:])


@settings(deadline=None)
@given(st.text())
def test_any_other_text_is_refused_as_a_bad_field(text: str) -> None:
    with pytest.raises(InvalidResumeToken) as refused:
        tail.decode_token(text)
    assert isinstance(refused.value, InvalidInput)
    assert refused.value.field == "resume_token"
    assert len(str(refused.value)) < 500


async def test_a_token_of_another_ledger_is_invalid(ledger: Ledger, tmp_path: Path) -> None:
    other = await Ledger.open(ledger_url(tmp_path, "other.db"))
    await change(other, ledger_id=f"{1:032x}")  # empty ledgers in PostgreSQL are copies of one
    await other.close()
    other = await Ledger.open(ledger_url(tmp_path, "other.db"))
    with pytest.raises(InvalidResumeToken, match="another ledger"):
        await ledger.resume_position(await token_of(other, 0))
    await other.close()


async def test_a_token_of_each_place_is_good_and_expires_beyond_the_newest_or_with_the_epoch(ledger: Ledger) -> None:
    await ledger.commit([issued(game(n)) for n in range(3)])
    tokens = [await token_of(ledger, place) for place in range(4)]
    assert [(await ledger.resume_position(token)).sequence for token in tokens] == list(range(4))
    for beyond in (4, 2**63, 2**64 - 1):
        with pytest.raises(ResumeTokenExpired, match="restored") as refused:
            await ledger.resume_position(ledger.token(ChainHead(beyond, bytes(32))))
        # By this code, clients of all languages know to begin anew without a token.
        assert (refused.value.category, refused.value.field) == ("OUT_OF_RANGE", "resume_token")
    await change(ledger, epoch="00000000000000ff")
    with pytest.raises(ResumeTokenExpired, match="restored"):
        await ledger.resume_position(tokens[1])


async def test_a_token_expires_with_its_entry_if_a_restore_kept_the_epoch(ledger: Ledger) -> None:
    """As by a database's own tools; formerly, a stream went on in the restored ledger and skipped entries."""
    await ledger.commit([issued(game(n)) for n in range(4)])
    before, of_kept, of_lost = [await token_of(ledger, place) for place in (0, 2, 4)]
    await ledger.write(lose_entries_after_2)
    with pytest.raises(ResumeTokenExpired):
        await ledger.resume_position(of_lost)
    await ledger.commit([issued(game(n)) for n in range(10, 14)])
    with pytest.raises(ResumeTokenExpired, match="before the ledger was restored"):
        await ledger.resume_position(of_lost)
    assert [(await ledger.resume_position(token)).sequence for token in (before, of_kept)] == [0, 2]


async def change(ledger: Ledger, **values: str) -> None:
    """Change the ledger's identity as a restore would."""
    put = ", ".join(f"{name} = :{name}" for name in values)
    await ledger.write(lambda connection: sql.rows(connection, f"UPDATE ledger SET {put}", **values))
