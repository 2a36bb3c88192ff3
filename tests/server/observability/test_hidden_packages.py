from __future__ import annotations

import sys

import pytest

from dejavu_server import hidden


def test_what_is_hidden_cannot_be_imported_until_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with hidden("wave"), pytest.raises(ImportError):
        import wave
    import wave

    assert wave is sys.modules["wave"]


def test_what_has_been_imported_stays() -> None:
    import json

    with hidden("json"):
        import json as again
    assert again is json is sys.modules["json"]
