"""Whether a bundle may be loaded, by its manifest alone."""

from __future__ import annotations

from dejavu_models.errors import BundleUnfit, ComponentsRefused
from dejavu_models.manifest import Manifest
from dejavu_models.point.graph_component import check_runtime


def check_allowed(manifest: Manifest, source: object, *, unfit: bool, components: bool) -> None:
    """Check that a bundle may be loaded.

    Args:
        manifest: its manifest.
        source: its origin, for messages; may be empty.
        unfit: whether to accept a bundle whose recipe failed its backtest.
        components: whether to accept a bundle with components that plug in.

    Raises:
        BundleUnfit: if it is marked unfit.
        ComponentsRefused: if it has components that are not allowed, or whose runtime is not installed.
    """
    model = f"{source}: model {manifest.version}" if str(source) else f"model {manifest.version}"
    names = ", ".join(each.name for each in manifest.graphs)
    refused = bool(names) and not components
    if not (manifest.verdict.fit or unfit):
        options = f"--allow-unfit{', and its components by --allow-components' if refused else ''}"
        raise BundleUnfit(f"{model} is marked unfit (allow it by {options}): {manifest.verdict.reason}")
    if refused:
        raise ComponentsRefused(f"{model} has components that plug in: {names} (allow them by --allow-components)")
    if names:
        check_runtime(model)
