"""Folders of the bundles that a server loads by default, without a model store."""

from __future__ import annotations

from pathlib import Path

from dejavu_common.files import state_folder
from dejavu_models.errors import BundleError
from dejavu_store.bundle import read_manifest


def default_bundle() -> Path:
    """Return the folder of the shipped bundle: inside the installed package, or next to it in a source tree."""
    package = Path(__file__).parent
    installed = package / "bundles" / "default"
    return installed if installed.is_dir() else package.parent / "bundles" / "default"


def refreshed_bundle() -> Path:
    """Return the folder for the shipped bundle with refreshed ratings, in the user's state folder; it may not exist."""
    return state_folder() / "bundle"


def served_bundle() -> Path:
    """Return the folder of the bundle that a server serves by default.

    It is the refreshed bundle if that was made from the shipped one; else, as after an upgrade, it is the shipped one.
    """
    refreshed, shipped = refreshed_bundle(), default_bundle()
    try:
        record = read_manifest(refreshed).refresh
    except BundleError:  # there is no refreshed bundle, or it is of another version of this program
        return shipped
    return refreshed if record and record.of_version == read_manifest(shipped).version else shipped
