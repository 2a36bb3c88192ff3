"""The signing key, and signed heads: verifiable by anyone, one per interval; without a key only signing fails."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.fakes.clock import SteppedClock

from dejavu_ledger import Ledger, LedgerCorrupt, verify
from dejavu_ledger.audit.checkpoints import (
    SignedTimes,
    SigningUnavailable,
    is_signed,
    load_or_create,
    read_public_key,
)
from dejavu_ledger.copies import back_up, restore
from dejavu_ledger.database import sql
from dejavu_ledger.records import Checkpoint
from dejavu_server.worker.signer import Signer


def pem(key: object, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)  # type: ignore[attr-defined]
    return content


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


ED25519, OTHER = Ed25519PrivateKey.generate(), generate_private_key(SECP256R1())
PUBLIC = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo


def test_of_many_that_find_no_key_one_makes_it_for_its_owner_alone_and_all_use_it(tmp_path: Path) -> None:
    path, barrier, before = tmp_path / "key.pem", threading.Barrier(8), os.umask(0)

    def get(_: int) -> bytes:
        barrier.wait(10)
        return load_or_create(path).public_key().public_bytes_raw()

    try:
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(get, range(8)))) == 1
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        *((pem(ED25519), mode, rf"mode {mode:04o}.*expected 0600") for mode in (0o640, 0o604)),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, "PEM"),
        (pem(ED25519, b"secret"), 0o600, "without a password"),
        (pem(OTHER), 0o600, "not an ed25519 key"),
    ],
)
def test_a_key_that_others_may_use_or_that_is_none_is_refused_and_stays(
    tmp_path: Path, content: bytes, mode: int, why: str
) -> None:
    path = put(tmp_path / "key.pem", content, mode)
    with pytest.raises(SigningUnavailable, match=why):
        load_or_create(path)
    assert path.read_bytes() == content


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of root")
def test_a_key_of_root_that_the_group_of_a_container_may_read_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = put(tmp_path / "key.pem", pem(ED25519), 0o440)  # as Kubernetes mounts a secret with fsGroup
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    assert load_or_create(mounted).public_key() == ED25519.public_key()
    for mode in (0o460, 0o444, 0o441):
        with pytest.raises(SigningUnavailable, match=f"mode {mode:04o}"):
            load_or_create(put(tmp_path / f"{mode}.pem", pem(ED25519), mode))
    os.chown(mounted, 10001, 10001)  # its owner alone, unless that is root
    with pytest.raises(SigningUnavailable, match="mode 0440"):
        load_or_create(mounted)


def test_neither_a_folder_nor_a_pipe_is_waited_for_or_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for nothing, why in (
        (tmp_path, None),
        (tmp_path / "nowhere" / "key.pem", None),
        (tmp_path / "pipe", "regular file"),
    ):
        with pytest.raises(SigningUnavailable, match=why):
            load_or_create(nothing)


def test_a_public_key_is_read_as_pem_or_hexadecimal_and_anything_else_refused_by_its_file(tmp_path: Path) -> None:
    raw = ED25519.public_key().public_bytes_raw()
    for content in (raw.hex().encode() + b"\n", ED25519.public_key().public_bytes(*PUBLIC)):
        assert read_public_key(put(tmp_path / "key.txt", content)) == raw
    for content in (b"", b"00ff", b"\xff", pem(ED25519), OTHER.public_key().public_bytes(*PUBLIC)):
        with pytest.raises(ValueError, match=r"key\.txt"):
            read_public_key(put(tmp_path / "key.txt", content))


def signer(ledger: Ledger, key: Path, clock: SteppedClock | None = None) -> Signer:
    return Signer(lambda: ledger, key, seconds=60.0, clock=clock or SteppedClock())


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


@pytest.mark.sqlite
async def test_a_clock_that_was_set_back_leaves_a_ledger_that_a_larger_tolerance_verifies_and_keeps(
    ledger: Ledger, url: str, tmp_path: Path
) -> None:
    clock = SteppedClock(datetime.now(UTC))
    mine = signer(ledger, tmp_path / "key.pem", clock)
    for number in (1, 2):
        await recorded(ledger, issued(game(number), generated_time=clock.now))
        await mine.write_checkpoint()
        clock.step(-3600)
    kept, restored, tolerance = tmp_path / "backup.db", f"sqlite:///{tmp_path}/restored.db", timedelta(hours=2)
    for does in (lambda **given: back_up(url, kept, **given), lambda **given: restore(kept, restored, **given)):
        with pytest.raises(LedgerCorrupt, match=r"or the clock was set back.*--clock-tolerance"):
            does()
        assert does(clock_tolerance=tolerance).sequence == 2
    assert verify(url, clock_tolerance=tolerance).checkpoints == 2


@given(
    checkpoints=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 900)), max_size=6),
    sequence=st.integers(1, 10),
    at=st.integers(-300, 1200),
)
@example(checkpoints=[(1, 500), (3, 100)], sequence=4, at=200)  # after one that was signed later
@example(checkpoints=[(1, 500), (2, 500), (3, 100)], sequence=1, at=300)  # in one that was signed earlier
@example(checkpoints=[(3, 120)], sequence=3, at=240)
@example(checkpoints=[(3, 120)], sequence=4, at=0)
def test_an_entry_is_dated_after_every_checkpoint_before_it_and_before_every_one_that_contains_it(
    checkpoints: list[tuple[int, int]], sequence: int, at: int
) -> None:
    start = datetime(2026, 1, 15, tzinfo=UTC)
    signed = [
        Checkpoint("", "", number, b"", start + timedelta(seconds=second), b"", b"") for number, second in checkpoints
    ]
    tolerance = 120  # as long as a call may take, and a server's clock may be wrong
    sound = all(
        (at <= second + tolerance if number >= sequence else at >= second - tolerance) for number, second in checkpoints
    )
    try:
        SignedTimes(signed).check(sequence, start + timedelta(seconds=at))
    except LedgerCorrupt:
        assert not sound
    else:
        assert sound
