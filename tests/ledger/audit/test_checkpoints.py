"""Signed heads: verifiable by anyone, one per interval in the ledger; without a key only signing fails."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.fakes.clock import SteppedClock

from dejavu_ledger import Ledger
from dejavu_ledger.audit.checkpoints import SigningUnavailable, is_signed
from dejavu_ledger.database import sql
from dejavu_server.worker.signer import Signer


def signer(ledger: Ledger, key: Path, clock: SteppedClock | None = None, seconds: float = 60.0) -> Signer:
    return Signer(lambda: ledger, key, seconds=seconds, clock=clock or SteppedClock())


async def kept(ledger: Ledger) -> list[int]:
    """Return the sequences of the checkpoints in the ledger."""
    text = "SELECT sequence FROM checkpoints ORDER BY sequence"
    return [sequence for (sequence,) in await ledger.read(lambda connection: sql.rows(connection, text))]


async def test_a_checkpoint_is_of_the_head_as_it_is_now_and_the_ledger_keeps_one_only_if_its_head_moved(
    ledger: Ledger, tmp_path: Path
) -> None:
    key, clock = tmp_path / "key.pem", SteppedClock()
    mine = signer(ledger, key, clock)
    assert await mine.write_checkpoint() is None
    assert not key.exists(), "there was nothing to sign"
    empty = await mine.checkpoint()
    genesis = hashlib.sha256(f"dejavu ledger {ledger.identity.ledger_id}".encode()).digest()
    assert (empty.sequence, empty.hash, empty.epoch) == (0, genesis, ledger.identity.epoch)
    await ledger.commit([issued(game(n)) for n in range(3)])
    clock.step(5)
    later = await mine.checkpoint()
    assert (is_signed(empty), is_signed(later)) == (True, True)
    assert (later.sequence, later.signed_time, later.public_key) == (3, clock.now, empty.public_key)
    assert await kept(ledger) == [], "a request writes nothing"
    assert await mine.write_checkpoint() is not None
    clock.step(60)
    assert await mine.write_checkpoint() is None
    clock.step(-86_400)  # a clock that was put back does not stop checkpoints
    await ledger.commit([issued(game(4))])
    assert await mine.write_checkpoint() is not None
    assert await kept(ledger) == [3, 4]


async def test_however_many_workers_there_are_the_ledger_keeps_one_checkpoint_an_interval(
    ledger: Ledger, url: str, tmp_path: Path
) -> None:
    clock = SteppedClock()
    others = [await Ledger.open(url) for _ in range(3)]
    signers = [signer(each, tmp_path / "key.pem", clock) for each in (ledger, *others)]
    for number in range(3):
        await ledger.commit([issued(game(number))])
        made = await asyncio.gather(*(each.write_checkpoint() for each in signers))
        assert sum(each is not None for each in made) == 1
        await ledger.commit([issued(game(number + 100))])
        assert [await each.write_checkpoint() for each in signers] == [None] * 4, "one was made just now"
        clock.step(60)
    assert await kept(ledger) == [1, 3, 5]
    for each in others:
        await each.close()


async def test_a_signer_that_runs_signs_what_is_there_and_ends_when_told(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.commit([issued(game(1))])
    mine = signer(ledger, tmp_path / "key.pem", seconds=3600.0)
    mine.start()
    async with asyncio.timeout(20):
        while not await kept(ledger):  # noqa: ASYNC110 - a commit is not announced
            await asyncio.sleep(0.01)
    await mine.close()
    await mine.close()
    assert await kept(ledger) == [1]


async def test_without_a_usable_key_checkpoints_are_refused_until_it_is_mended(ledger: Ledger, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    mine = signer(ledger, key)
    key.write_text("nonsense")
    key.chmod(0o600)
    await ledger.commit([issued(game(1))])
    with pytest.raises(SigningUnavailable, match="PEM"):
        await mine.checkpoint()
    with pytest.raises(SigningUnavailable):
        await mine.write_checkpoint()
    assert len(await ledger.commit([issued(game(2))])) == 1
    key.unlink()
    assert is_signed(await mine.checkpoint())
