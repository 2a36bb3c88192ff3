"""Tracking of fits in MLflow, for teams that have it: parameters, metrics, report and bundle, and a model registry.

The extra mlflow has the library, which is imported only if a server is named. Serving does not need it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dejavu_common.build import install
from dejavu_common.shown_text import visible
from dejavu_models.errors import DejavuError
from dejavu_models.manifest import Manifest
from dejavu_store.bundle import read_manifest

EXPERIMENT: Final = "dejavu"
MODEL: Final = "dejavu"
"""Name of the registered model whose versions the bundles are."""

CHALLENGER: Final = "challenger"
"""Alias of the newest registered version. Only the servers know which version serves."""

BUNDLE: Final = "bundle"
"""Folder of the bundle in the artifacts of a run."""

_VERSION_TAG: Final = "dejavu.model_version"
_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # only our result goes there
    # An unreachable server is reported after seconds, not after MLflow's own ten minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
_ARTIFACT_SCHEMES: Final = frozenset(
    {"mlflow-artifacts", "http", "https", "s3", "gs", "wasb", "wasbs", "abfs", "abfss"}
)
"""Schemes of URLs that are not on a local disk. Checked because the client writes to any place that a server names."""

_LONGEST_VALUE: Final = 500
"""Longest value of a parameter that every MLflow server accepts."""

_LONGEST_REASON: Final = 300


class TrackingError(DejavuError):
    """MLflow is not installed, or its server refuses or does not answer; the message says which."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run in MLflow.

    Attributes:
        uri: the tracking server.
        run_id: id of the run.
        registered_version: version of the registered model; empty if the run is not registered.
    """

    uri: str
    run_id: str
    registered_version: str = ""


class MlflowTracker:
    """Logs bundles to a tracking server. A bundle that is logged again is found by its model version.

    Args:
        uri: its address, such as http://mlflow:5000.

    Raises:
        TrackingError: if MLflow is not installed, or the address is no server.
    """

    def __init__(self, uri: str) -> None:
        if not uri.startswith(("http://", "https://")):
            raise TrackingError(f"{uri}: is no tracking server; expected http://HOST:PORT or https://HOST:PORT")
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            # Imported late: it is optional, and takes seconds.
            import mlflow  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise TrackingError(
                f"{error.name} is not installed; install the extra mlflow: {install('trainer,mlflow')}"
            ) from None
        mlflow.set_tracking_uri(uri)
        self._uri, self._mlflow, self._client = uri, mlflow, mlflow.MlflowClient(uri, uri)

    def log(self, bundle: Path, report: dict[str, Any] | None = None) -> TrackedRun:
        """Log a bundle: parameters and metrics of its manifest, a report, and its files.

        A run of the same model that was completed is returned instead. After an error the new run is marked as failed.

        Args:
            bundle: folder of the bundle.
            report: a JSON document about the fit, logged as report.json; None if there is none.

        Raises:
            TrackingError: if the server refuses it or does not answer.
        """
        manifest = read_manifest(bundle)
        where = f"tags.`{_VERSION_TAG}` = '{manifest.version}' and attributes.status = 'FINISHED'"
        with self._reported():
            experiment = self._mlflow.set_experiment(EXPERIMENT).experiment_id
            for found in self._client.search_runs([experiment], where, max_results=1):
                return TrackedRun(self._uri, found.info.run_id)
            with self._mlflow.start_run(run_name=manifest.version, tags={_VERSION_TAG: manifest.version}) as run:
                self._mlflow.log_params(parameters(manifest))
                self._mlflow.log_metrics(metrics(manifest))
                self._check_place(run.info.artifact_uri)
                if report is not None:
                    self._mlflow.log_dict(report, "report.json")
                self._mlflow.log_artifacts(str(bundle), BUNDLE)
        return TrackedRun(self._uri, run.info.run_id)

    def _check_place(self, place: str) -> None:
        """Raise TrackingError if the server names a folder of this machine as the place of files."""
        if urlsplit(place).scheme not in _ARTIFACT_SCHEMES:
            raise TrackingError(
                f"{self._uri}: names {visible(place)[:200]} as the place of files, a folder here;"
                " expected a server that takes them (mlflow server --serve-artifacts), or object storage"
            )

    def register(self, bundle: Path) -> TrackedRun:
        """Log a bundle unless it is logged, and give the alias `challenger` to its version of the registered model.

        Raises:
            TrackingError: if the server refuses it or does not answer.
        """
        run, client = self.log(bundle), self._client
        with self._reported():
            if not client.search_registered_models(f"name = '{MODEL}'"):
                client.create_registered_model(MODEL)
            versions = client.search_model_versions(f"run_id = '{run.run_id}'") or [
                client.create_model_version(
                    MODEL,
                    f"{client.get_run(run.run_id).info.artifact_uri}/{BUNDLE}",
                    run.run_id,
                    tags={_VERSION_TAG: read_manifest(bundle).version},
                    await_creation_for=0,
                )
            ]
            client.set_registered_model_alias(MODEL, CHALLENGER, versions[0].version)
        return TrackedRun(self._uri, run.run_id, str(versions[0].version))

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Convert errors of MLflow and of the libraries of its object storage to a TrackingError, on one line."""
        try:
            yield
        except TrackingError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise TrackingError(f"MLflow at {self._uri}: {visible(reason)[:_LONGEST_REASON]}") from error


def parameters(manifest: Manifest) -> dict[str, str]:
    """Return the parameters of a fit for MLflow: its inputs, cut to what every server accepts."""
    record, parts = manifest.model_dump(mode="json"), ("train", "calibrate", "ratings", "libraries", "lineage")
    values = {f"{part}.{name}": value for part in parts for name, value in (record[part] or {}).items()}
    values |= {name: record[name] for name in ("seed", "data_fingerprint")} | {"recipe": manifest.verdict.recipe}
    return {name: str(value)[:_LONGEST_VALUE] for name, value in values.items() if value != ""}


def metrics(manifest: Manifest) -> dict[str, float]:
    """Return the metrics of a fit for MLflow: those of its manifest with their intervals, and the verdict."""
    values = {"verdict.fit": float(manifest.verdict.fit)}
    for metric in manifest.metrics:
        values[metric.name] = metric.value
        if metric.lower is not None and metric.upper is not None:
            values |= {f"{metric.name}.lower": metric.lower, f"{metric.name}.upper": metric.upper}
    return values
