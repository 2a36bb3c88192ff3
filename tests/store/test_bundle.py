"""Bundles in folders: what is damaged, unfit or of another form is refused, and publishing is all or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import Any

import pytest
from tests.store.conftest import as_pipe, rewrite
from tests.support.builders.bundles import sealed, write_refreshed_manifest
from typing_extensions import override

from dejavu_models.errors import (
    BundleCorrupt,
    BundleError,
    BundleIncomplete,
    BundleNotFound,
    BundleTooNew,
    BundleTooOld,
)
from dejavu_models.manifest import SCHEMA_VERSION, Manifest
from dejavu_models.types import Horizon, HorizonSupport
from dejavu_store.bundle import MANIFEST, check_golden, load_bundle, publish, read_files, read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle, served_bundle

LSTM = "lstm.npz"


def contents(folder: Path) -> dict[str, bytes]:
    return read_files(folder, read_manifest(folder))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)  # unreadable even for root


@pytest.mark.parametrize(
    ("damage", "name", "error", "said"),
    [
        (flip, LSTM, BundleCorrupt, "SHA-256"),
        (Path.unlink, LSTM, BundleIncomplete, "is missing"),
        (link_to_itself, "ratings.npz", BundleCorrupt, "cannot be read"),
        (as_pipe, "weights.npz", BundleCorrupt, "is no regular file"),
        (lambda file: os.truncate(file, 2**28), LSTM, BundleCorrupt, "expected at most"),
        (Path.unlink, MANIFEST, BundleNotFound, "manifest"),
    ],
)
def test_a_damaged_file_refuses_the_bundle_by_its_name(
    copy: Path, damage: Callable[[Path], object], name: str, error: type[BundleError], said: str
) -> None:
    damage(copy / name)
    with pytest.raises(error, match=f"bundle: .*{name}.*{said}" if said != "manifest" else "no bundle"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        *((text, BundleCorrupt, MANIFEST) for text in ("", "{", "[]", "\xff")),
        ("[" * 100_000, BundleCorrupt, "nested too deeply"),
        ("[" + "[]," * 2**20 + "[]]", BundleCorrupt, "expected at most"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1, "all": "new"}), BundleTooNew, "update"),
        ('{"schema_version": 1, "all": "old"}', BundleTooOld, "refit it"),
    ],
    ids=lambda text: str(text)[:8],
)
def test_another_manifest_refuses_the_bundle_and_names_its_schema(
    copy: Path, text: str, error: type[BundleError], said: str
) -> None:
    (copy / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(error, match=said):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.update(surprise=1), "surprise"),
        (lambda it: it["ratings"].update(noise=it["ratings"]["noise"] + 1), "version does not match"),
        (lambda it: it["components"].remove("lstm"), "files"),
        (lambda it: it["ratings"].update(carry=1.5), "carry"),
        (lambda it: it["golden"].clear(), "golden"),
        (lambda it: it["files"].update({"../lstm.npz": "0" * 64}), "files"),
        (lambda it: it["files"].update({"extra.bin": "0" * 64}), "extra.bin"),
        (lambda it: it["files"].pop(LSTM), LSTM),
        # Values that did not fit into the messages of the contract once broke ListModels for all callers.
        (lambda it: it["train"].update(seasons=[2**40]), "train.seasons"),
        (lambda it: it.update(created_time="0001-01-01T00:00:00+14:00"), "created_time"),
        (lambda it: it["train"].update(first_date="9999-12-31"), "first_date"),
        (lambda it: it["metrics"].append({"name": "MAE", "value": 1e300}), "metrics"),
        (lambda it: it["metrics"].extend([{"name": "MAE", "value": 1.0}] * 1000), "metrics"),
        (lambda it: it["verdict"].update(reason="\x1b]0;title\x07"), "verdict.reason"),
        (lambda it: it.update(lineage={"parent_version": "champion"}), "lineage"),
    ],
)
def test_a_manifest_is_checked_strictly(copy: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    rewrite(copy, change)
    with pytest.raises(BundleCorrupt, match=said):
        load_bundle(copy)


def other_answer(manifest: Manifest, files: dict[str, bytes]) -> Manifest:
    last = manifest.golden[-1]
    wrong = last.model_copy(update={"point_forecast": last.point_forecast + 0.01})
    return manifest.model_copy(update={"golden": (*manifest.golden[:-1], wrong)})


def other_file(manifest: Manifest, files: dict[str, bytes]) -> Manifest:
    files[LSTM] = b"no graph"
    return sealed(manifest, files)


@pytest.mark.parametrize(("spoil", "said"), [(other_answer, "golden"), (other_file, LSTM)])
def test_a_bundle_that_answers_otherwise_or_does_not_load_leaves_the_old_one_in_place(
    copy: Path, spoil: Callable[[Manifest, dict[str, bytes]], Manifest], said: str
) -> None:
    files = contents(copy)
    before = read_manifest(copy)
    with pytest.raises(BundleCorrupt, match=said):
        publish(copy, spoil(before, files), files)
    assert load_bundle(copy).manifest == before
    assert [path.name for path in copy.parent.iterdir()] == ["bundle"]


def test_publishing_replaces_the_old_bundle_whole(small_bundle: Path, tmp_path: Path) -> None:
    target = shutil.copytree(default_bundle(), tmp_path / "bundle")
    (target / "left-over.txt").write_text("of the old one")
    manifest = read_manifest(small_bundle)
    publish(target, manifest, contents(small_bundle))
    assert load_bundle(target).version == manifest.version
    assert {path.name for path in target.iterdir()} == {MANIFEST, *manifest.files}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_is_not_a_bundle_is_never_replaced(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for target in (tmp_path / "mine" / "thesis.txt", tmp_path / "mine"):
        target.write_text("mine") if not target.exists() else None
        with pytest.raises(FileExistsError, match="not a bundle"):
            publish(target, read_manifest(small_bundle), contents(small_bundle))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


class Meddled(PosixPath):
    """Folder in which something happens just before the file of a number is opened; 0 is the manifest."""

    left = -1
    meddle: Callable[[], object]

    @override
    def __truediv__(self, name: Any) -> Path:  # type: ignore[override]
        self.left -= 1
        if self.left == -1:
            self.meddle()
        return Path(self, name)


@pytest.mark.parametrize("number", [0, 6])
def test_a_bundle_replaced_while_it_is_read_is_loaded_whole_or_not_at_all(
    small_bundle: Path, tmp_path: Path, number: int
) -> None:
    target = shutil.copytree(default_bundle(), tmp_path / "bundle")
    manifest, files = read_manifest(small_bundle), contents(small_bundle)
    folder = Meddled(target)
    folder.left = number
    folder.meddle = lambda: publish(target, manifest, files)
    forecaster = load_bundle(folder)
    assert forecaster.version == manifest.version
    check_golden(forecaster)


def test_the_bundle_that_ships_is_whole_small_and_as_described() -> None:
    forecaster = load_bundle(default_bundle())
    check_golden(forecaster)
    info = forecaster.info
    assert info.train_seasons == tuple(range(2014, 2023))
    assert info.calibration_seasons == (2023, 2024)
    assert (info.train_games, info.calibration_games) == (11_513, 2638)
    assert info.horizons == (HorizonSupport(Horizon.HALFTIME, 1, 23), HorizonSupport(Horizon.FINAL, 1, 47))
    assert (info.approved, info.totals, info.line) == (True, True, True)
    inputs = ("total_points", "last_score", "pregame_total", "neutral_site", "possession", "lineups", "moment")
    assert info.inputs == inputs
    assert {golden.horizon for golden in forecaster.manifest.golden} == set(Horizon)
    assert sum(path.stat().st_size for path in default_bundle().iterdir()) < 8_500_000


def test_a_refreshed_copy_takes_the_place_of_the_shipped_bundle_until_another_one_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert served_bundle() == default_bundle()
    for of_version, served in (("", refreshed_bundle()), ("feedfacefeedface", default_bundle())):
        write_refreshed_manifest(refreshed_bundle(), of_version)
        assert served_bundle() == served
    (refreshed_bundle() / MANIFEST).write_text('{"schema_version": 99}')
    assert served_bundle() == default_bundle()
