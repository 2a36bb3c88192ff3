"""Fixtures for conftest.py: a token in a file, an authority, and a server that requires client certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.support.fakes.certificates import Authority
from tests.support.fakes.service import FakeServer

SECRET = "djv_s3cr3t-of-the-test"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with SECRET."""
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def mutual(authority: Authority) -> Iterator[FakeServer]:
    """A server that requires client certificates of the authority."""
    pair = authority.issue("server").contents()
    with FakeServer(credentials=grpc.ssl_server_credentials([pair], authority.certificate.read_bytes(), True)) as fake:
        yield fake
