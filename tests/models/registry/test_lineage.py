"""Where a bundle comes from: an optional part of its manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.models.registry.manifests import rewrite

from dejavu_models.errors import (
    BundleCorrupt,
)
from dejavu_models.manifest import (
    LineageRecord,
)
from dejavu_models.registry.bundle import MANIFEST, read_manifest


def test_lineage_is_written_only_if_it_is_known(copy: Path) -> None:
    manifest = read_manifest(copy).model_copy(update={"lineage": None})
    assert "lineage" not in json.loads(manifest.to_json())
    lineage = LineageRecord(parent_version="0123456789abcdef", reason="new season", code_version="0.2.0+g1a2b3c4")
    descendant = manifest.model_copy(update={"lineage": lineage})
    (copy / MANIFEST).write_text(descendant.to_json())
    assert read_manifest(copy) == descendant
    assert descendant.version == manifest.version


@pytest.mark.parametrize("wrong", [{"parent_version": "champion"}, {"reason": "x" * 501}, {"author": "me"}])
def test_a_lineage_that_is_not_one_is_refused(copy: Path, wrong: dict[str, str]) -> None:
    rewrite(copy, lambda manifest: manifest.update(lineage=wrong))
    with pytest.raises(BundleCorrupt, match="lineage"):
        read_manifest(copy)
