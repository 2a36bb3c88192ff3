"""Bundles that lack components load, serve, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import publish_with_components
from tests.support.processes.servers import running_worker

from dejavu_client import FINAL, DejavuClient
from dejavu_store.bundle import load_bundle

PATTERN = [2.0, -1.0, 3.0, 6.0, 4.0, 4.0, 9.0]


@pytest.mark.parametrize("components", [(), ("dejavu",), ("lstm",)])
def test_it_serves_what_is_there_and_says_so(tmp_path: Path, components: tuple[str, ...]) -> None:
    publish_with_components(tmp_path / "bundle", components)
    with running_worker(tmp_path, load_bundle(tmp_path / "bundle")) as address, DejavuClient(address) as client:
        [described] = client.list_models()
        explained = client.predict(PATTERN, horizon=FINAL, pregame_margin=3.0, explain=True).explanation
    assert tuple(described.components) == components
    assert [each.name for each in explained.components] == ["linear", *components]
    assert (described.past_games > 0) == (len(explained.similar_games) > 0) == ("dejavu" in components)
