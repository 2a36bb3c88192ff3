"""Publishes a bundle into a model store and MLflow, and has a running server stage it and promote what is staged.

A server is called by running the `dejavu` command in a subprocess: the trainer does not import the gRPC contract.

MLflow, for teams that have it, gets parameters, metrics, report and bundle of a fit, and is a model registry. The extra
mlflow has its library, which is imported only if a server is named. Serving does not need it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from dejavu_common.build import install
from dejavu_common.shown_text import visible
from dejavu_models.errors import DejavuError
from dejavu_models.manifest import Manifest
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore

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


SECONDS: Final = 120.0
"""Time limit of one command."""


class CallFailed(DejavuError):
    """A server refused a call or did not answer, or the command that calls it cannot run.

    Attributes:
        error: what the command printed about it, such as `reason` and `message`; empty if it was not even begun.
    """

    reason = "CALL_FAILED"

    def __init__(self, message: str, error: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.error = error


def run_client(*arguments: str, server: str, seconds: float | None = SECONDS) -> dict[str, Any]:
    """Run `dejavu` with some arguments; return the first document that it prints, in protobuf's JSON.

    Credentials come from the environment, as for every `dejavu` (docs/clients.md).

    Args:
        arguments: the command, then its options.
        server: HOST:PORT of the server.
        seconds: time limit; None if the command has its own.

    Raises:
        CallFailed: if it fails; the message contains what the command said.
    """
    command = [*takewhile(lambda each: not each.startswith("-"), arguments)]
    options = arguments[len(command) :]
    run = (sys.executable, "-m", "dejavu_cli", *command, "--target", server, "--json", *options)
    name = " ".join(("dejavu", *command))
    try:
        ended = subprocess.run(run, capture_output=True, text=True, check=False, timeout=seconds)  # noqa: S603 - our own program
    except subprocess.TimeoutExpired:
        raise CallFailed(f"{name}: {server} did not answer in {seconds:g} seconds") from None
    if ended.returncode:
        told, error = _told(ended.stderr)
        raise CallFailed(f"{name}: {told or f'it ended with {ended.returncode} and no reason'}", error)
    document: dict[str, Any] = json.JSONDecoder().raw_decode(ended.stdout.lstrip() or "{}")[0]
    return document


def _told(stderr: str) -> tuple[str, Mapping[str, Any]]:
    """Return what an error says, and its document; only lines of text if the command was not even begun."""
    lines = stderr.strip().splitlines()
    try:
        error: dict[str, Any] = json.loads(lines[-1])["error"]
        fields = [f"{each['field']}: {each['description']}" for each in error["fieldViolations"]]
        parts = [error["message"], *fields, error.get("advice"), f"({error['reason'] or error['code']})"]
        return "; ".join(filter(None, parts)), error
    except (IndexError, KeyError, TypeError, ValueError):
        return "; ".join(line.strip().removeprefix("Error: ") for line in lines if line.strip()), {}


def serving_model(server: str) -> dict[str, Any]:
    """Return the model that answers requests without a version, in protobuf's JSON.

    Raises:
        CallFailed: if the server does not answer, or has no model.
    """
    models = run_client("models", "list", server=server).get("models", [])
    serving = [model for model in models if model.get("active")]
    if not serving:
        raise CallFailed(f"{server} has no model that serves")
    return dict(serving[0])


@dataclass(frozen=True, slots=True)
class Publication:
    """Result of publishing a bundle.

    Attributes:
        model_version: version of the bundle.
        store: name of the store; empty if none was named.
        added: whether the bundle was put into the store now; False if it was there already.
        server: address of the server that staged it; empty if none was named.
        staged: whether the server staged it now; False if it was staged already.
        mlflow: its run in MLflow; None if no server of MLflow was named.
    """

    model_version: str
    store: str
    added: bool
    server: str
    staged: bool
    mlflow: TrackedRun | None


def publish_bundle(
    bundle: Path, *, store: str = "", server: str = "", mlflow: str = "", reason: str = "", allow_unfit: bool = False
) -> Publication:
    """Put a bundle into a store, have a server of this store stage it, and register it in MLflow.

    Each of these is safe to repeat.

    Args:
        bundle: folder of the bundle.
        store: folder or URL of a model store; empty: none.
        server: HOST:PORT of a server with the same store; empty: none. Token and TLS are those of the environment
            (DEJAVU_TOKEN_FILE and so on).
        mlflow: address of an MLflow server; empty: none.
        reason: why it is staged; by default the reason in its lineage.
        allow_unfit: whether to put an unfit bundle into the store.

    Raises:
        BundleError: if the bundle is invalid or unfit.
        InvalidModelStore, ModelStoreUnavailable: if the store cannot be used.
        CallFailed: if the server refuses the bundle, or cannot be reached.
        TrackingError: if MLflow refuses the bundle or does not answer.
    """
    manifest = read_manifest(bundle)
    reason = reason or (manifest.lineage.reason if manifest.lineage else "")
    name, added = "", False
    if store:
        opened = ModelStore.open(store, allow_unfit=allow_unfit)
        name, added = opened.name, opened.put(bundle)
    staged = bool(server) and _stage(manifest.version, server, reason)
    tracked = MlflowTracker(mlflow).register(bundle) if mlflow else None
    return Publication(manifest.version, name, added, server, staged, tracked)


def _stage(version: str, server: str, reason: str) -> bool:
    """Have a server stage a model of its store; return whether it was not staged before."""
    options = ["--reason", reason] if reason else []
    try:
        answer = run_client("models", "load", version, *options, server=server, seconds=None)
    except CallFailed as error:
        raise CallFailed(f"{server} did not stage the bundle: {error}") from None
    return "change" in answer


NOT_PROVEN: Final = "MODEL_NOT_PROVEN"
"""Reason with which a server refuses a promotion without evidence."""

_REASON: Final = "dejavu-trainer retrain --promote"


@dataclass(frozen=True, slots=True)
class Promotion:
    """Answer of a server about a staged model.

    Attributes:
        model_version: the model.
        promoted: whether it is the champion now.
        reason: why it is not; empty if it is.
    """

    model_version: str
    promoted: bool
    reason: str = ""


def promote_staged(server: str) -> list[Promotion]:
    """Ask a server to promote its staged models, the one staged first of all, until one is the champion.

    A model that served before is not asked for: it would be promoted again for not being worse.

    Args:
        server: HOST:PORT of a server with a model store.

    Returns:
        The answers, in the order in which they were asked for; none if nothing is staged.

    Raises:
        CallFailed: if the server refuses for another reason than missing evidence, or does not answer.
    """
    answers = []
    for version in _candidates(server):
        try:
            run_client("models", "promote", version, "--reason", _REASON, server=server)
        except CallFailed as failed:
            if failed.error.get("reason") != NOT_PROVEN:
                raise
            answers.append(Promotion(version, promoted=False, reason=failed.error["message"]))
        else:
            return [*answers, Promotion(version, promoted=True)]
    return answers


def _candidates(server: str) -> list[str]:
    """Return the versions of the staged models that never served, in the order in which they were staged."""
    models = run_client("models", "list", server=server).get("models", [])
    changes = run_client("models", "history", "--limit", "500", server=server).get("changes", [])
    served = {each["modelVersion"] for each in changes if each["action"] == "MODEL_ACTION_PROMOTE"}
    staged = [str(each["version"]) for each in models if each.get("stage") == "MODEL_STAGE_STAGED"]
    return [version for version in staged if version not in served]
