"""The page's files: routes of the page, assets, security headers, and the answer without a build."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
from pathlib import Path

import pytest
from starlette.requests import Request
from tests.gateway.conftest import SCRIPT, Site
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import spawned_gateway

from dejavu_gateway.api.pages import WebBuild

PAGES = ("/", "/game/0022300001", "/record", "/what-if", "/system", "/models", "/embed/game/0022300001", "/board")
OVERLAYS = ("/overlay", "/overlay/game/0022300001", "/overlay/closest", "/overlay/ticker")


@pytest.mark.parametrize("path", [*PAGES, *OVERLAYS])
def test_every_path_of_the_page_is_its_index(site: Site, build: Path, path: str) -> None:
    answer = site.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text == (build / "index.html").read_text()
    assert answer.headers["cache-control"] == "no-cache"
    assert site.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304


async def test_the_style_of_the_page_is_allowed_by_its_hash_and_no_other_is(tmp_path: Path) -> None:
    style = "body { color: red }\n"
    index = f'<style>{style}</style><div id="app"><header>Dejavu</header></div>'
    (tmp_path / "index.html").write_text(index)
    build = WebBuild(tmp_path)
    expected = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    for path, shown in (("/", index), ("/embed/game/0022300001", f'<style>{style}</style><div id="app"></div>')):
        answer = await build.page(
            Request({"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""})
        )
        [policy] = re.findall(r"style-src ([^;]*);", answer.headers["content-security-policy"])
        assert policy == f"'self' 'sha256-{expected}'"
        assert answer.body == shown.encode(), "a chart in a frame has no head of the page"


def test_assets_are_kept_for_good_and_come_compressed(site: Site) -> None:
    answer = site.get("/assets/main-1a2b.js")
    assert answer.text == SCRIPT
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    plain = site.get("/assets/main-1a2b.js", headers={"accept-encoding": "identity"})
    assert plain.text == SCRIPT
    assert "content-encoding" not in plain.headers
    assert site.get("/favicon.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    ("path", "is_page"),
    [
        *((path, True) for path in ("/nothing/deeper", "/index.html")),
        *((path, False) for path in ("/api/nothing", "/v2/nothing")),
        *((path, False) for path in ("/assets/nothing.js", "/assets/%2e%2e/index.html")),
    ],
)
def test_an_unknown_path_is_an_error_and_a_page_for_a_person_who_may_have_meant_one(
    site: Site, build: Path, path: str, is_page: bool
) -> None:
    said = "there is nothing at this path" if path.startswith("/v2/") else "NOT_FOUND"
    for headers in ({}, {"accept": "application/json"}):
        answer = site.get(path, headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error if path.startswith("/v2/") else error["code"]) == (404, said)
    page = site.get(path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    kind = "text/html; charset=utf-8" if is_page else "application/json"
    assert (page.status_code, page.headers["content-type"]) == (404, kind)
    if is_page:
        assert page.text == (build / "index.html").read_text()
        assert page.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    ["/", "/assets/main-1a2b.js", "/api/status", "/api/nothing", "/metrics", "/embed/game/1", "/overlay/closest"],
)
def test_every_answer_has_the_security_headers(site: Site, path: str) -> None:
    headers = site.get(path).headers
    embedded = path.startswith(("/embed/", "/overlay/"))
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["content-security-policy"]
    assert headers["content-security-policy"].endswith(
        f"frame-ancestors {'*' if embedded else chr(39) + 'none' + chr(39)}"
    )
    assert ("x-frame-options" in headers) is not embedded
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"]
    assert "unsafe" not in headers["content-security-policy"]
    assert not [name for name in headers if name.startswith("access-control-")]
    assert "server" not in headers


def test_each_command_of_the_page_of_the_interface_is_answered(site: Site) -> None:
    page = site.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "unsafe" not in page.headers["content-security-policy"]
    commands = [shlex.split(html.unescape(each)) for each in re.findall(r"<pre>curl (.*)</pre>", page.text)]
    assert len(commands) > 30
    refused = set[str]()
    for words in commands:
        [url] = [each for each in words if each.startswith(("localhost:8080/", "ws://localhost:8080/"))]
        path = url.partition(":8080")[2].replace("0022500001", game(0))
        if path in {"/api/stream", "/api/ws"}:  # which go on
            continue
        answer = site.post(path, json.loads(words[words.index("-d") + 1])) if "-d" in words else site.get(path)
        if answer.status_code != 200:
            refused.add(re.sub(r"\w*champion.*|\?.*", "", path))
    # The server has no model store.
    assert refused == {"/api/comparison", "/api/model-changes", "/api/models/", "/v2/models/dejavu/versions/"}


def test_without_a_build_the_interface_works_and_the_page_says_what_is_missing(site: Site, tmp_path: Path) -> None:
    with spawned_gateway("--target", site.server, "--web", str(tmp_path)) as gateway:
        other = Site(site.server, str(gateway.wait_for("listening")["address"]))
        assert gateway.wait_for("web_build_missing")["folder"] == str(tmp_path)
        answer = other.get("/")
        assert answer.status_code == 503
        assert answer.json()["error"]["reason"] == "WEB_BUILD_MISSING"
        assert other.get("/healthz").status_code == 200
