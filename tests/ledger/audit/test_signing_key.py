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
from dejavu_ledger.audit.signing_key import (
    SigningUnavailable,
    key_path,
    load_or_create,
    public_bytes,
    read_public_key,
)


def pem(key: object, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)  # type: ignore[attr-defined]
    return content


def put(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    before = os.umask(0)
    try:
        made = load_or_create(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert public_bytes(load_or_create(path)) == public_bytes(made)
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


def test_of_many_that_find_no_key_one_makes_it_and_all_use_it(tmp_path: Path) -> None:
    path, barrier = tmp_path / "key.pem", threading.Barrier(8)

    def get(_: int) -> bytes:
        barrier.wait(10)
        return public_bytes(load_or_create(path))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(get, range(8)))) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "key.pem", pem(Ed25519PrivateKey.generate()), mode)
    with pytest.raises(SigningUnavailable, match=rf"mode {mode:04o}.*expected 0600"):
        load_or_create(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of root")
def test_a_key_of_root_that_the_group_of_a_container_may_read_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Ed25519PrivateKey.generate()
    mounted = put(tmp_path / "key.pem", pem(key), 0o440)  # as Kubernetes mounts a secret with fsGroup
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    assert public_bytes(load_or_create(mounted)) == public_bytes(key)
    for mode in (0o460, 0o444, 0o441):
        with pytest.raises(SigningUnavailable, match=f"mode {mode:04o}"):
            load_or_create(put(tmp_path / f"{mode}.pem", pem(key), mode))
    os.chown(mounted, 10001, 10001)  # its owner alone, unless that is root
    with pytest.raises(SigningUnavailable, match="mode 0440"):
        load_or_create(mounted)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "PEM"),
        (pem(Ed25519PrivateKey.generate(), b"secret"), "without a password"),
        (pem(generate_private_key(SECP256R1())), "not an ed25519 key"),
    ],
)
def test_what_is_no_ed25519_key_is_refused_and_stays(tmp_path: Path, content: bytes, why: str) -> None:
    path = put(tmp_path / "key.pem", content)
    with pytest.raises(SigningUnavailable, match=why):
        load_or_create(path)
    assert path.read_bytes() == content


def test_neither_a_folder_nor_a_pipe_is_waited_for_or_replaced(tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "nowhere" / "key.pem"):
        with pytest.raises(SigningUnavailable):
            load_or_create(nothing)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SigningUnavailable, match="not a regular file"):
        load_or_create(tmp_path / "pipe")


def test_a_key_lies_beside_its_ledger_unless_told_otherwise(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert key_path(url) == tmp_path / "signing-key.pem"
    assert key_path(url, "/elsewhere/key.pem") == Path("/elsewhere/key.pem")
    assert key_path(url, "~/key.pem") == Path.home() / "key.pem"
    with pytest.raises(InvalidLedgerUrl):
        key_path("nonsense")


def test_a_public_key_is_read_as_pem_or_hexadecimal(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    as_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert read_public_key(put(tmp_path / "hex", raw.hex().encode() + b"\n")) == raw
    assert read_public_key(put(tmp_path / "pem", as_pem)) == raw


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"00ff",
        b"\xff",
        pem(Ed25519PrivateKey.generate()),
        generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ],
)
def test_what_is_no_public_key_is_refused_by_its_file(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"key\.txt"):
        read_public_key(put(tmp_path / "key.txt", content))
