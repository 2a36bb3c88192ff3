"""The reference of the contract, made for the site of documentation, says everything that the protos say."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

import contract

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos/dejavu").rglob("*.proto"))
DECLARATION = re.compile(r"(?:rpc|message|enum|service|oneof) (\w+)|.*?(\w+) = \d+;")
"""A line of a proto that declares something; its name is in one of the groups."""


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return contract.pages(contract.descriptors())


def declarations(proto: Path) -> list[tuple[str, str]]:
    """Return name and comment of everything that a proto file declares."""
    found, comment = list[tuple[str, str]](), list[str]()
    for line in map(str.strip, proto.read_text().splitlines()):
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
        else:
            if match := DECLARATION.match(line):
                found.append((match[1] or match[2], " ".join(filter(None, comment))))
            comment.clear()
    return found


@pytest.mark.parametrize("proto", PROTOS, ids=lambda path: path.stem)
def test_every_declaration_is_on_the_page_of_its_file_with_its_comment(proto: Path, pages: dict[str, str]) -> None:
    page = html.unescape(pages[str(proto.relative_to(ROOT).with_suffix(".md"))])
    words = " ".join(page.replace("<br>", " ").replace(r"\|", "|").split())
    declared = declarations(proto)
    assert len(declared) > 2
    assert [(name, comment) for name, comment in declared if not (name in words and comment and comment in words)] == []


def test_the_index_leads_to_every_page_and_a_type_to_its_section_whatever_its_file(pages: dict[str, str]) -> None:
    links = re.findall(r"\]\((.*?)\)", pages[contract.INDEX])
    folder = (ROOT / contract.INDEX).parent
    assert {(folder / link).resolve() for link in links} == {ROOT / page for page in pages if page != contract.INDEX}
    page = pages["protos/dejavu/v1/prediction_service.md"]
    assert "Predict ([PredictRequest](prediction_service.md#PredictRequest)) returns (" in page
    assert "[Forecast](forecast.md#Forecast)" in page
    cache = pages["protos/dejavu/ops/v1/cache_service.md"]
    assert "repeated [dejavu.v1.PredictRequest](../../v1/prediction_service.md#PredictRequest)" in cache
    inference = pages["protos/dejavu/inference/open_inference.md"]
    assert "map&lt;string, [InferParameter](open_inference.md#InferParameter)&gt;" in inference
