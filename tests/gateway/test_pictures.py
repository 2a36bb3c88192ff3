"""A game as PNG, and the preview of its page for programs that show pasted links."""

from __future__ import annotations

import html
import re
import struct
from concurrent.futures import ThreadPoolExecutor

import httpx
from tests.gateway.conftest import GAMES, MINUTES, Site
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import spawned_gateway

from dejavu_gateway.api.share import HEIGHT, WIDTH
from dejavu_gateway.limits import GatewayLimits


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_a_picture_is_that_of_its_minute_and_the_same_for_everybody(site: Site) -> None:
    newest, early, between, again = (
        site.get(f"/share/game/{game(0)}.png{query}") for query in ("", "?minute=10", "?minute=13.5", "?minute=10")
    )
    assert {each.status_code for each in (newest, early, between, again)} == {200}
    assert size(newest.content) == (WIDTH, HEIGHT)
    assert newest.content != early.content == between.content == again.content
    assert newest.headers["content-type"] == "image/png"
    assert newest.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "content-encoding" not in newest.headers
    validator = {"if-none-match": newest.headers["etag"]}
    assert site.get(f"/share/game/{game(0)}.png", headers=validator).status_code == 304


def test_an_address_that_asks_for_many_pictures_is_refused_and_others_have_theirs(site: Site) -> None:
    arguments = ("--target", site.server, "--demo", "--trusted-proxy", "127.0.0.1")
    with spawned_gateway(*arguments) as gateway, ThreadPoolExecutor(40) as threads:
        gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")

        def picture(place: tuple[int, int], address: str) -> int:
            url = f"http://{gateway.address}/share/game/{game(place[0])}.png?minute={place[1]}"
            return httpx.get(url, headers={"x-forwarded-for": address}, timeout=60).status_code

        places = [(number, minute) for number in range(GAMES) for minute in MINUTES] * 3
        greedy = [threads.submit(picture, place, "192.0.2.1") for place in places]
        assert threads.submit(picture, (0, 18), "192.0.2.2").result(60) == 200
        statuses = [each.result(60) for each in greedy]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= GatewayLimits().products.in_line


def preview(page: str) -> dict[str, str]:
    found = re.findall(r'<meta (?:property|name)="((?:og|twitter):[^"]+)" content="([^"]*)">', page)
    return {name: html.unescape(content) for name, content in found}


def test_a_pasted_link_has_a_preview_with_the_picture_of_its_minute(site: Site) -> None:
    arguments = ("--target", site.server, "--host", "page.example", "--trusted-proxy", "127.0.0.1")
    with spawned_gateway(*arguments) as gateway:
        gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")

        def of(path: str, host: str = "page.example", **headers: str) -> dict[str, str]:
            answer = httpx.get(f"http://{gateway.address}{path}", headers={"host": host, **headers}, timeout=60)
            return preview(answer.text)

        proxied = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1"}
        shown = of(f"/game/{game(0)}?minute=10", **proxied)
        assert shown["og:image"] == f"https://page.example/share/game/{game(0)}.png?minute=10"
        assert shown["og:url"] == f"https://page.example/game/{game(0)}?minute=10"
        own = f"localhost:{gateway.address.rpartition(':')[2]}"
        plain = of(f"/game/{game(0)}?minute=%22%3E%3Cscript%3E", host=own)
        assert plain["og:image"] == f"http://{own}/share/game/{game(0)}.png"
        assert httpx.get(plain["og:image"].replace("localhost", "127.0.0.1"), timeout=60).status_code == 200
        for path in ("/", "/game/none", f"/embed/game/{game(0)}"):
            assert of(path) == {}


def test_a_preview_repeats_no_host_that_is_none(site: Site) -> None:
    with spawned_gateway("--target", site.server, "--listen", "0.0.0.0:0") as gateway:
        port = str(gateway.wait_for("listening")["address"]).rpartition(":")[2]
        for host, named in (("page.example", True), ('a"><script>alert(1)</script>', False), ("a b", False)):
            page = httpx.get(f"http://127.0.0.1:{port}/game/{game(0)}", headers={"host": host}, timeout=60)
            assert page.status_code in {200, 400}
            assert bool(preview(page.text)) is named
            assert "alert(1)" not in page.text
