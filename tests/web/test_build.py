"""The build of the page that is committed: small, without anything from elsewhere, and with the licenses it needs."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

DIST = Path(__file__).parents[2] / "gateway/dejavu_gateway/page"
FILES = sorted(path for path in DIST.rglob("*") if path.is_file() and not path.name.startswith("licenses"))


def compressed(files: list[Path]) -> int:
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in files)


def test_the_page_has_less_than_90_kb() -> None:
    loaded = [path for path in FILES if path.suffix not in {".ico", ".png"}]  # others are for what reads no SVG
    assert compressed(loaded) < 90_000


def test_no_source_map_is_shipped_or_asked_for() -> None:
    assert [path.name for path in FILES if path.suffix == ".map" or b"sourceMappingURL" in path.read_bytes()] == []


def test_the_page_has_no_inline_script_and_one_style_that_asks_for_nothing() -> None:
    index = (DIST / "index.html").read_text()
    assert re.findall(r"<script[^>]*>", index) == re.findall(r"<script[^>]* src=[^>]*>", index)
    [style] = re.findall(r"<style>(.*?)</style>", index, re.DOTALL)
    assert not re.search(r"@import|url\(", style)
    assert "stylesheet" not in index
    assert not re.search(r"\sstyle=|\son\w+=", index)


def test_the_page_names_no_other_host() -> None:
    named = {host for path in FILES for host in re.findall(rb"https?://([\w.-]+)", path.read_bytes())}
    assert named <= {b"www.w3.org"}  # names of SVG and MathML, which nobody asks


def test_the_licenses_of_what_it_contains_are_shipped() -> None:
    licenses = (DIST / "licenses.md").read_text()
    assert {"solid-js", "uplot"} <= set(re.findall(r"^## (\S+)", licenses, re.MULTILINE))
