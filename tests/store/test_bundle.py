from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.store.manifests import contents, resealed, rewrite

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.errors import (
    BundleCorrupt,
    BundleError,
    BundleIncomplete,
    BundleNotFound,
    BundleTooNew,
    BundleTooOld,
    BundleUnfit,
)
from dejavu_models.manifest import SCHEMA_VERSION, LineageRecord
from dejavu_models.types import Horizon, HorizonSupport
from dejavu_store import bundle
from dejavu_store.bundle import MANIFEST, load_bundle, publish, read_manifest
from dejavu_store.registry import default_bundle

FILES = ("lstm.npz", "linear.npz", "dejavu.npz", "weights.npz", "calibration.npz", "ratings.npz")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)  # unreadable even for root


DAMAGE: dict[str, tuple[Callable[[Path], object], type[BundleError], str]] = {
    "a flipped bit": (flip, BundleCorrupt, ".*SHA-256"),
    "cut off": (lambda file: os.truncate(file, file.stat().st_size // 2), BundleCorrupt, ".*SHA-256"),
    "missing": (Path.unlink, BundleIncomplete, " is missing"),
    "a folder": (replace_by_folder, BundleCorrupt, " cannot be read"),
    "unreadable": (link_to_itself, BundleCorrupt, " cannot be read"),
}


@pytest.mark.parametrize(("damage", "error", "said"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_refuses_the_bundle_by_its_name(
    small_bundle: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    error: type[BundleError],
    said: str,
) -> None:
    for name in FILES:
        copy = shutil.copytree(small_bundle, tmp_path / name / "bundle")
        damage(copy / name)
        with pytest.raises(error, match=f"bundle: {name}{said}"):
            load_bundle(copy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *((text, MANIFEST) for text in ("", "{", "[]", "null", "3", '"bundle"', "\xff", "[[1, 2]]")),
        *((text, "nested too deeply") for text in ("[" * 100_000, '{"seed":' * 100_000)),
    ],
    ids=lambda text: text[:8],
)
def test_a_manifest_that_is_no_object_refuses_the_bundle(copy: Path, text: str, said: str) -> None:
    (copy / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(BundleCorrupt, match=said):
        load_bundle(copy)


@pytest.mark.parametrize("damage", [replace_by_folder, link_to_itself])
def test_a_manifest_that_cannot_be_read_refuses_the_bundle(copy: Path, damage: Callable[[Path], object]) -> None:
    damage(copy / MANIFEST)
    with pytest.raises(BundleCorrupt, match=f"bundle: {MANIFEST} cannot be read"):
        load_bundle(copy)


def test_without_a_manifest_there_is_no_bundle(copy: Path, tmp_path: Path) -> None:
    (copy / MANIFEST).unlink()
    for folder in (copy, tmp_path / "nowhere", copy / "lstm.npz"):
        with pytest.raises(BundleNotFound, match="no bundle"):
            load_bundle(folder)


@pytest.mark.parametrize(
    ("version", "error", "said"),
    [
        (SCHEMA_VERSION + 1, BundleTooNew, f"schema version {SCHEMA_VERSION + 1}, .* reads {SCHEMA_VERSION}: update"),
        (1, BundleTooOld, r"schema version 1, .* refit it"),
    ],
)
def test_another_schema_is_refused_as_such_whatever_else_it_says(
    copy: Path, version: int, error: type[BundleError], said: str
) -> None:
    (copy / MANIFEST).write_text(json.dumps({"schema_version": version, "all": "new"}))
    with pytest.raises(error, match=said):
        load_bundle(copy)


def test_an_unfit_bundle_is_refused_unless_allowed(copy: Path) -> None:
    def condemn(manifest: dict[str, Any]) -> None:
        manifest["verdict"].update(fit=False, reason="its intervals hold too seldom")

    rewrite(copy, condemn)
    with pytest.raises(BundleUnfit, match=r"marked unfit \(allow it by --allow-unfit\): its intervals hold too seldom"):
        load_bundle(copy)
    allowed = load_bundle(copy, allow_unfit=True)
    assert not allowed.info.approved
    assert allowed.version == json.loads((copy / MANIFEST).read_text())["version"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.pop("seed"), "seed"),
        (lambda it: it.update(surprise=1), "surprise"),
        (lambda it: it.update(seed="0"), "seed"),
        (lambda it: it.update(schema_version="1"), "schema_version"),
        (lambda it: it.update(schema_version=0), "schema_version"),
        (lambda it: it.update(created_time="2026-01-01T00:00:00"), "created_time"),
        (lambda it: it.update(version="feedfacefeedface"), "version"),
        (lambda it: it.pop("verdict"), "verdict"),
        (lambda it: it["verdict"].update(fit="yes"), "verdict.fit"),
        (lambda it: it["verdict"].update(reason=""), "verdict.reason"),
        (lambda it: it["components"].remove("lstm"), "files"),
        (lambda it: it.update(dejavu={}), "dejavu"),
        (lambda it: it["ratings"].update(carry=1.5), "carry"),
        (lambda it: it["ratings"].update(date="yesterday"), "date"),
        (lambda it: it["golden"].clear(), "golden"),
        (lambda it: it["files"].update({"../lstm.npz": "0" * 64}), "files"),
        (lambda it: it["files"].update({"extra.bin": "0" * 64}), "extra.bin"),
        (lambda it: it["files"].pop("lstm.npz"), "lstm.npz"),
        (lambda it: it["files"].update({"lstm.npz": "0" * 63}), "lstm.npz"),
        # Values that did not fit into the messages of the contract once broke ListModels for all callers.
        (lambda it: it["train"].update(seasons=[2**40]), "train.seasons"),
        (lambda it: it["train"].update(games=2**40), "train.games"),
        (lambda it: it.update(created_time="0001-01-01T00:00:00+14:00"), "created_time"),
        (lambda it: it.update(created_time="9999-12-31T23:59:59-14:00"), "created_time"),
        (lambda it: it["train"].update(first_date="9999-12-31"), "first_date"),
        (lambda it: it["metrics"].append({"name": "MAE", "value": 1e300}), "metrics"),
        (lambda it: it["metrics"].extend([{"name": "MAE", "value": 1.0}] * 1000), "metrics"),
        (lambda it: it["verdict"].update(reason="\x1b]0;title\x07"), "verdict.reason"),
        (lambda it: it["verdict"].update(reason="\u202eno"), "verdict.reason"),
        (lambda it: it["verdict"].update(reason="x" * 10_000), "verdict.reason"),
        (lambda it: it.update(lineage={"parent_version": "champion"}), "lineage"),
        (lambda it: it.update(lineage={"reason": "x" * 501}), "lineage"),
        (lambda it: it.update(lineage={"author": "me"}), "lineage"),
    ],
)
def test_a_manifest_is_checked_strictly(copy: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    rewrite(copy, change)
    with pytest.raises(BundleCorrupt, match=said):
        load_bundle(copy)


def test_to_change_the_settings_of_the_ratings_is_to_break_the_version(copy: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["ratings"]["noise"] += 1

    rewrite(copy, change)
    with pytest.raises(BundleCorrupt, match="version does not match"):
        load_bundle(copy)


def test_neither_time_nor_figures_change_the_version(small_bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(small_bundle)
    later = manifest.model_copy(update={"created_time": datetime(2040, 1, 1, tzinfo=UTC), "metrics": (), "seed": 5})
    assert publish(tmp_path / "again", later, contents(small_bundle)).version == manifest.version


def test_a_bundle_that_answers_otherwise_than_its_trainer_is_not_published(small_bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(small_bundle)
    last = manifest.golden[-1]
    other = last.model_copy(update={"point_forecast": last.point_forecast + 0.01})
    wrong = manifest.model_copy(update={"golden": (*manifest.golden[:-1], other)})
    with pytest.raises(BundleCorrupt, match="golden"):
        publish(tmp_path / "wrong", wrong, contents(small_bundle))
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_is_refused_leaves_the_old_one_in_place(copy: Path) -> None:
    files = contents(copy) | {"lstm.npz": b"no graph"}
    version = load_bundle(copy).version
    with pytest.raises(BundleError):
        publish(copy, resealed(read_manifest(copy), files), files)
    assert load_bundle(copy).version == version
    assert [path.name for path in copy.parent.iterdir()] == ["bundle"]


def test_publishing_replaces_the_old_bundle_whole(small_bundle: Path, tmp_path: Path) -> None:
    target = shutil.copytree(default_bundle(), tmp_path / "bundle")
    (target / "left-over.txt").write_text("of the old one")
    manifest = read_manifest(small_bundle)
    publish(target, manifest, contents(small_bundle))
    assert load_bundle(target).version == manifest.version
    assert {path.name for path in target.iterdir()} == {MANIFEST, *manifest.files}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_if_the_new_bundle_cannot_be_moved_the_old_one_returns(
    small_bundle: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("disk on fire")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    with pytest.raises(OSError, match="disk on fire"):
        publish(copy, read_manifest(small_bundle), contents(small_bundle))
    monkeypatch.undo()
    assert load_bundle(copy).version == read_manifest(small_bundle).version


def before_read(number: int, meddle: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call `meddle` just before the file with this number is read; 0 is the manifest."""
    read_bytes, left = Path.read_bytes, iter(range(number))

    def read(self: Path) -> bytes:
        if next(left, None) is None:
            monkeypatch.setattr(Path, "read_bytes", read_bytes)
            meddle()
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", read)


@pytest.mark.parametrize("number", [0, 1, len(FILES)])
def test_a_bundle_replaced_while_it_is_read_is_loaded_whole(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    target = shutil.copytree(default_bundle(), tmp_path / "bundle")
    manifest, files = read_manifest(small_bundle), contents(small_bundle)
    before_read(number, lambda: publish(target, manifest, files), monkeypatch)
    forecaster = load_bundle(target)
    assert forecaster.version == manifest.version
    bundle.check_golden(forecaster)


@pytest.mark.parametrize("number", [0, 1, len(FILES)])
def test_a_bundle_that_vanishes_while_it_is_read_is_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before_read(number, lambda: shutil.rmtree(copy), monkeypatch)
    with pytest.raises(BundleNotFound, match="no bundle"):
        load_bundle(copy)


@pytest.mark.parametrize("kind", ["a folder of other things", "a file"])
def test_what_is_not_a_bundle_is_never_replaced(small_bundle: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "mine"
    if kind == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a bundle"):
        publish(target, read_manifest(small_bundle), contents(small_bundle))
    assert (target if target.is_file() else target / "thesis.txt").read_text() == "mine"


def test_the_bundle_that_ships_is_whole_small_and_as_described() -> None:
    forecaster = load_bundle(default_bundle())
    bundle.check_golden(forecaster)
    info = forecaster.info
    assert info.train_seasons == tuple(range(2014, 2023))
    assert info.calibration_seasons == (2023, 2024)
    assert (info.train_games, info.calibration_games) == (11_513, 2638)
    assert info.horizons == (HorizonSupport(Horizon.HALFTIME, 1, 23), HorizonSupport(Horizon.FINAL, 1, 47))
    assert info.approved
    assert info.totals
    inputs = ("total_points", "last_score", "pregame_total", "neutral_site", "possession", "lineups", "moment")
    assert info.inputs == inputs
    assert info.line
    assert {golden.horizon for golden in forecaster.manifest.golden} == set(Horizon)
    assert sum(path.stat().st_size for path in default_bundle().iterdir()) < 8_500_000


def test_lineage_is_written_only_if_it_is_known(copy: Path) -> None:
    manifest = read_manifest(copy).model_copy(update={"lineage": None})
    assert "lineage" not in json.loads(manifest.to_json())
    lineage = LineageRecord(parent_version="0123456789abcdef", reason="new season", code_version="0.2.0+g1a2b3c4")
    descendant = manifest.model_copy(update={"lineage": lineage})
    (copy / MANIFEST).write_text(descendant.to_json())
    assert read_manifest(copy) == descendant
    assert descendant.version == manifest.version


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("mean", 1e300, "its mean is float64; expected finite float64 within ±1000"),
        ("mean", math.nan, "its mean is float64; expected finite"),
        ("mean", 300.0, "it expects margins of up to 3[0-9][0-9] points; expected at most 200"),
        ("covariance", -80.0, "its covariance has negative variances"),
        ("covariance", 1e9, r"its covariance is float64; expected finite float64 within ±1e\+06"),
    ],
)
def test_ratings_that_no_team_has_are_refused(copy: Path, name: str, value: float, reason: str) -> None:
    arrays = from_npz((copy / "ratings.npz").read_bytes())
    arrays[name].reshape(-1)[0] = value
    files = contents(copy) | {"ratings.npz": to_npz(**arrays)}
    with pytest.raises(BundleCorrupt, match=reason):
        publish(copy.parent / "wrong", resealed(read_manifest(copy), files), files)
