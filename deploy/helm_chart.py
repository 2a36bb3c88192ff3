"""Writes the Helm chart in deploy/helm/dejavu from the manifests for kustomize in deploy/kubernetes, by `make gen`.

The chart has two switches, the database and TLS with tokens: kustomize renders the manifests for the four combinations,
and what differs between them becomes a condition. Tests render the chart and compare it with kustomize's output. Needs
kubectl.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parent
KUBERNETES: Final = ROOT / "kubernetes"
CHART: Final = ROOT / "helm/dejavu"

Manifest = dict[str, Any]
Choice = tuple[bool, bool]
"""Whether the ledger is in PostgreSQL, and whether there are TLS and tokens."""

CHOICES: Final[tuple[Choice, ...]] = ((False, False), (False, True), (True, False), (True, True))
SWITCHES: Final = (".Values.ledger.postgresql", ".Values.tokens.secret")

_HASH: Final = re.compile(r"^(dejavu-(?:server|client))-[a-z0-9]{10}$")
_NOTE: Final = "# Written by deploy/helm_chart.py from deploy/kubernetes: edit those manifests.\n"
_REQUIRED_TLS: Final = 'required "tokens.secret needs tls.secret: a token needs TLS" .Values.tls.secret'
_SECRETS: Final = {
    "dejavu-signing": ".Values.signing.secret",
    "dejavu-database": ".Values.ledger.passwordSecret",
    "dejavu-tls": _REQUIRED_TLS,
    "dejavu-tokens": ".Values.tokens.secret",
}


def rendered(choice: Choice) -> list[Manifest]:
    """Return the objects that kustomize makes, without the namespace and without hashes in names."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KUBERNETES, manifests := Path(folder) / "kubernetes")
        (overlay := manifests / "overlays/chosen").mkdir()
        own: Manifest = {"resources": ["../postgres" if choice[0] else "../small"], "namespace": "dejavu"}
        if choice[1]:
            own["components"] = ["../../components/tls"]
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(own))
        command = ["kubectl", "kustomize", str(overlay)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - own manifests
    objects = yaml.safe_load_all(text)
    return [_renamed(each) for each in objects if each["kind"] != "Namespace"]


def _renamed(value: Any) -> Any:
    """Return a value without the hashes that kustomize adds to names of configuration maps."""
    if isinstance(value, dict):
        return {key: _renamed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each) for each in value]
    return _HASH.sub(r"\1", value) if isinstance(value, str) else value


class Template:
    """An object in which some values are expressions of Helm."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = copy.deepcopy(manifest)
        self._expressions: list[str] = []

    def text(self) -> str:
        """Return the text of the template."""
        manifest, kind = self._manifest, self._manifest["kind"]
        manifest["metadata"]["namespace"] = self._value(".Release.Namespace")
        name = manifest["metadata"]["name"]
        spec = manifest.get("spec", {})
        match kind, name:
            case "Deployment", _:
                self._deployment(name.removeprefix("dejavu-"), spec)
            case "HorizontalPodAutoscaler", _:
                spec["minReplicas"] = self._value(".Values.server.replicas")
                spec["maxReplicas"] = self._value(".Values.server.maxReplicas")
            case "PersistentVolumeClaim", _:
                spec["resources"]["requests"]["storage"] = self._value(".Values.ledger.storage")
            case "NetworkPolicy", "dejavu-server-databases":
                [peer] = spec["egress"][0]["to"]
                labels = peer["namespaceSelector"]["matchLabels"]
                labels["kubernetes.io/metadata.name"] = self._value(".Values.ledger.namespace")
            case "ConfigMap", "dejavu-server":
                if manifest["data"]["DEJAVU_LEDGER"].startswith("postgresql:"):
                    manifest["data"]["DEJAVU_LEDGER"] = self._value(".Values.ledger.postgresql | quote")
        text = yaml.safe_dump(manifest, sort_keys=False, width=1000)
        for number, expression in enumerate(self._expressions):
            text = text.replace(_token(number), f"{{{{ {expression} }}}}")
        return text

    def _deployment(self, part: str, spec: Manifest) -> None:
        if spec["replicas"] > 1:
            spec["replicas"] = self._value(f".Values.{part}.replicas")
        template = spec["template"]
        maps = " ".join(f'(include (print $.Template.BasePath "/configmap-dejavu-{each}.yaml") .)' for each in _MAPS)
        template["metadata"]["annotations"] = {"checksum/settings": self._value(f"print {maps} | sha256sum")}
        [container] = template["spec"]["containers"]
        image, _, _ = container["image"].partition(":")
        container["image"] = self._value(f'printf "%s{image}:%s" .Values.images.registry .Values.images.tag | quote')
        container["resources"] = self._value(f"toJson .Values.{part}.resources")
        for each in _secrets(template["spec"]):
            key = "secretName" if "secretName" in each else "name"
            each[key] = self._value(_SECRETS[each[key]])

    def _value(self, expression: str) -> str:
        self._expressions.append(expression)
        return _token(len(self._expressions) - 1)


_MAPS: Final = ("server", "client")


def _token(number: int) -> str:
    return f"xExpression{number}x"


def _secrets(value: Any) -> Iterator[Manifest]:
    """Yield the parts of a pod's specification that name a secret."""
    if isinstance(value, dict):
        if "secretName" in value or {"name", "key"} == value.keys():
            yield value
        for each in value.values():
            yield from _secrets(each)
    elif isinstance(value, list):
        for each in value:
            yield from _secrets(each)


def conditional(texts: Mapping[Choice, str]) -> str:
    """Return the text of a template that gives each of these texts for its choice."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    for axis, switch in enumerate(SWITCHES):
        halves = {on: {choice: text for choice, text in texts.items() if choice[axis] is on} for on in (True, False)}
        if all(halves.values()) and set(halves[True].values()) != set(halves[False].values()):
            yes, no = (conditional(halves[on]) for on in (True, False))
            if not yes:
                return f"{{{{- if not {switch} }}}}\n{no}{{{{- end }}}}\n"
            other = f"{{{{- else }}}}\n{no}" if no else ""
            return f"{{{{- if {switch} }}}}\n{yes}{other}{{{{- end }}}}\n"
    raise AssertionError("two texts for one choice")


def files() -> dict[str, str]:
    """Return the files of the chart, by their names."""
    variants = {choice: rendered(choice) for choice in CHOICES}
    templates: dict[str, dict[Choice, str]] = {}
    for choice, objects in variants.items():
        for each in objects:
            name = f"templates/{each['kind'].lower()}-{each['metadata']['name']}.yaml"
            templates.setdefault(name, dict.fromkeys(CHOICES, ""))[choice] = Template(each).text()
    texts = {name: _NOTE + conditional(each) for name, each in sorted(templates.items())}
    return {**texts, "Chart.yaml": _chart(variants[False, False]), "values.yaml": _values(variants)}


def _chart(objects: list[Manifest]) -> str:
    return f"""{_NOTE}apiVersion: v2
name: dejavu
description: Forecasts NBA games while they are played - servers, pollers and the page.
type: application
version: {_tag(objects)}
appVersion: {_tag(objects)}
kubeVersion: ">=1.27.0-0"
"""


def _tag(objects: list[Manifest]) -> str:
    [tag] = {_container(each)["image"].partition(":")[2] for each in objects if each["kind"] == "Deployment"}
    return str(tag)


def _container(deployment: Manifest) -> Manifest:
    container: Manifest = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def _values(variants: Mapping[Choice, list[Manifest]]) -> str:
    small = {each["metadata"]["name"]: each for each in variants[False, False] if each["kind"] == "Deployment"}
    [volume] = [each for each in variants[False, False] if each["kind"] == "PersistentVolumeClaim"]
    [scaler] = [each for each in variants[True, False] if each["kind"] == "HorizontalPodAutoscaler"]
    resources = {part: json.dumps(_container(small[f"dejavu-{part}"])["resources"]) for part in _PARTS}
    replicas = {part: small[f"dejavu-{part}"]["spec"]["replicas"] for part in _PARTS}
    return f"""{_NOTE}images:
  # In front of dejavu-server, dejavu-poller and dejavu-dashboard, for example registry.example.com/.
  registry: ""
  tag: {_tag(variants[False, False])}
ledger:
  # postgresql://USER@HOST/DATABASE, without the password: several servers. Empty: one server, with SQLite on a volume.
  postgresql: ""
  # Secret with the key password, and the namespace of the database.
  passwordSecret: dejavu-database
  namespace: databases
  # Size of the volume of SQLite.
  storage: {volume["spec"]["resources"]["requests"]["storage"]}
signing:
  # Secret with the key signing-key.pem.
  secret: dejavu-signing
tls:
  # Secret with ca.crt, tls.crt and tls.key, of a certificate for dejavu-server and 127.0.0.1; needed with tokens.
  secret: ""
tokens:
  # Secret with tokens.json, poller and dashboard. Empty: neither TLS nor tokens; network policies restrict access.
  secret: ""
server:
  # Servers on one PostgreSQL, and the most that autoscaling starts.
  replicas: {scaler["spec"]["minReplicas"]}
  maxReplicas: {scaler["spec"]["maxReplicas"]}
  resources: {resources["server"]}
poller:
  replicas: {replicas["poller"]}
  resources: {resources["poller"]}
dashboard:
  replicas: {replicas["dashboard"]}
  resources: {resources["dashboard"]}
"""


_PARTS: Final = ("server", "poller", "dashboard")


def main() -> None:
    """Write the chart."""
    if shutil.which("kubectl") is None:
        sys.stderr.write("deploy/helm stays as it is: kubectl is missing\n")
        return
    made = files()
    for path in [each for each in CHART.rglob("*.yaml") if str(each.relative_to(CHART)) not in made]:
        path.unlink()
    for name, text in made.items():
        path = CHART / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
