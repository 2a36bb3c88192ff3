"""The signing key file: created once, for its owner only; anything else is refused."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
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

from dejavu_ledger import InvalidLedgerUrl
from dejavu_ledger.audit.checkpoints import SigningUnavailable, key_path, load_or_create, read_public_key


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
        *((pem(ED25519), mode, rf"mode {mode:04o}.*expected 0600") for mode in (0o640, 0o604, 0o601)),
        (b"", 0o600, "PEM"),
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


def test_a_key_lies_beside_its_ledger_unless_told_otherwise(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert key_path(url) == tmp_path / "signing-key.pem"
    assert key_path(url, "/elsewhere/key.pem") == Path("/elsewhere/key.pem")
    assert key_path(url, "~/key.pem") == Path.home() / "key.pem"
    with pytest.raises(InvalidLedgerUrl):
        key_path("nonsense")


def test_a_public_key_is_read_as_pem_or_hexadecimal_and_anything_else_refused_by_its_file(tmp_path: Path) -> None:
    raw = ED25519.public_key().public_bytes_raw()
    for content in (raw.hex().encode() + b"\n", ED25519.public_key().public_bytes(*PUBLIC)):
        assert read_public_key(put(tmp_path / "key.txt", content)) == raw
    for content in (b"", b"00ff", b"\xff", pem(ED25519), OTHER.public_key().public_bytes(*PUBLIC)):
        with pytest.raises(ValueError, match=r"key\.txt"):
            read_public_key(put(tmp_path / "key.txt", content))
