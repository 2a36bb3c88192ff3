"""The built page: its files, read once, and index.html for every path that the page itself routes,
with the preview of a game that programs show beside a pasted link.
"""

from __future__ import annotations

import html
import mimetypes
import re
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dejavu_feed.game_ids import is_game_id
from dejavu_gateway.api.context import context_of
from dejavu_gateway.api.share import HEIGHT, WIDTH, is_minute
from dejavu_gateway.http.answers import (
    EMBEDDED_HEADERS,
    PNG,
    Content,
    content_response,
    content_security_policy,
)
from dejavu_gateway.http.envelope import forwarded_scheme
from dejavu_gateway.messages.errors import RequestRefused

GAME_PATH: Final = "/game/{id}"
PAGE_PATHS: Final = (
    "/",
    GAME_PATH,
    "/record",
    "/what-if",
    "/system",
    "/models",
    "/help",
    "/embed/game/{id}",
    "/overlay",
    "/overlay/game/{id}",
    "/overlay/closest",
    "/overlay/ticker",
    "/board",
)
REFERENCE_PATH: Final = "/docs"
REFERENCE: Final = Path(__file__).parents[1] / "reference.html"
"""The page of the interface, which gateway/generate_reference.py makes."""

IMMUTABLE: Final = "public, max-age=31536000, immutable"
REVALIDATED: Final = "no-cache"

_TYPES: Final = {
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}

_SCRIPT: Final = "<{}>; rel=modulepreload; fetchpriority=low"
_ANSWER: Final = "<{}>; rel=preload; as=fetch; crossorigin=anonymous"
_CHARTS: Final = "assets/library-"
_SCRIPTS: Final = re.compile(r"assets/(rest|library)-[\w-]+\.js")
"""Scripts of the build that the list of games does not need: those of the other pages and of the charts."""

_STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SHELL: Final = re.compile(r'(<div id="app">).*?(</div>)', re.DOTALL)
"""Placeholder in index.html until the script has loaded: the header of the page, which a chart in a frame does not
have."""

_HEAD_END: Final = b"</head>"

_OF_PROGRAMS: Final = ("/api/", "/v2/", "/share/", "/assets/")
"""Prefixes of the paths whose errors are for programs, even if a browser requests them."""

_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
"""A Host header of a name or an address: any other text stays out of the page."""

_ABOUT: Final = "Who wins, and by how many points, with calibrated intervals and a record that anybody can check"

_OF_AN_EVENING: Final = ("/board", "/overlay", "/overlay/closest", "/overlay/ticker")
"""Paths, beside that of the list, whose pages show the games of an evening."""

_GAME_PATH: Final = re.compile(r"/game/([0-9]{10})$")


class WebBuild:
    """The files of a build, in memory, and the page of the interface.

    Args:
        folder: the folder of the build, with index.html.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self._files = {path.relative_to(folder).as_posix(): Content(path.read_bytes()) for path in paths}
        index = self._files.get("index.html", b"").decode()
        styles = _STYLE.findall(index)
        self._reference = Content(REFERENCE.read_bytes())
        self._pages = {
            embedded: (
                (_SHELL.sub(r"\1\2", index) if embedded else index).encode(),
                {
                    **(EMBEDDED_HEADERS if embedded else {}),
                    "content-security-policy": content_security_policy(*styles, embedded=embedded),
                },
            )
            for embedded in (False, True)
        }

    @property
    def is_missing(self) -> bool:
        """Whether there is no build."""
        return "index.html" not in self._files

    async def game(self, request: Request) -> Response:
        """Answer /game/ID with index.html and the preview of the game."""
        return await self.page(request, preview(request))

    async def page(self, request: Request, head: str = "") -> Response:
        """Answer a path of the page with index.html.

        Args:
            request: the request.
            head: elements that its head has in addition.
        """
        if self.is_missing:
            message = (
                f"the web build is missing in {self._folder}: build it by npm in gateway/web; "
                "an installed package contains it. The interface under /api works without it."
            )
            raise RequestRefused("WEB_BUILD_MISSING", message)
        path = request.url.path
        content, headers = self._pages[path.startswith(("/embed/", "/overlay/", "/board"))]
        headers = {**headers, "link": ", ".join(self._needs(path))}
        content = content.replace(_HEAD_END, head.encode() + _HEAD_END, 1)
        return await content_response(request, content, "text/html", REVALIDATED, headers)

    def _needs(self, path: str) -> list[str]:
        """Return links to the first requests of a page, so that a browser makes them before the page's scripts run."""
        evening = [_ANSWER.format("/api/games?includeReplays=1")]
        if path == "/":
            return evening
        shown = _GAME_PATH.search(path)
        answers = [_ANSWER.format(f"/api/games/{shown[1]}")] if shown else evening if path in _OF_AN_EVENING else []
        scripts = [each for each in self._files if _SCRIPTS.match(each) and (shown or not each.startswith(_CHARTS))]
        return [*(_SCRIPT.format(f"/{each}") for each in scripts), *answers]

    async def reference(self, request: Request) -> Response:
        """Answer /docs, the page of the interface, under a policy that allows its style."""
        policy = {"content-security-policy": content_security_policy(*_STYLE.findall(self._reference.decode()))}
        return await content_response(request, self._reference, "text/html", REVALIDATED, policy)

    async def asset(self, request: Request) -> Response:
        """Answer /assets/NAME. Names change with the content, so browsers can keep the files forever."""
        name = f"assets/{request.path_params['path']}"
        file = self._files.get(name)
        if file is None:
            raise RequestRefused("UNKNOWN_PATH", "there is no such file in the web build")
        return await content_response(request, file, _media_type(name), IMMUTABLE)

    async def other(self, request: Request) -> Response:
        """Answer any other path: with a file at the root of the build, such as an icon, or with a not-found error.

        A person gets the error as a page, a program as an error of the interface.
        """
        path = request.url.path
        name = path.removeprefix("/")
        file = self._files.get(name) if "/" not in name and name != "index.html" else None
        if file is not None:
            return await content_response(request, file, _media_type(name), REVALIDATED)
        if self.is_missing or path.startswith(_OF_PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
            raise RequestRefused("UNKNOWN_PATH", "there is nothing at this path")
        content, headers = self._pages[False]
        headers = {**headers, "cache-control": "no-store", "link": ", ".join(self._needs(path))}
        return Response(content, HTTPStatus.NOT_FOUND, headers, media_type="text/html")


def _media_type(name: str) -> str:
    return _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def preview(request: Request) -> str:
    """Return the elements of a game's preview, for the head of its page; empty if the path names no game.

    Their addresses have the host under which the page was requested, which is one of the gateway's names (--host), and
    the scheme that a trusted proxy reports.
    """
    game_id, host = str(request.path_params["id"]), request.headers.get("host", "")
    if not is_game_id(game_id) or not _HOST.fullmatch(host):
        return ""
    context = context_of(request)
    scheme = forwarded_scheme(request.scope, request.headers, context.settings.trusted_proxies) or "http"
    minute = request.query_params.get("minute", "")
    moment = f"?minute={minute}" if is_minute(minute) else ""
    shown = context.feed.games.of(game_id)
    title = f"{shown.away_team} @ {shown.home_team}" if shown else "An NBA game"
    properties = {
        "og:type": "website",
        "og:site_name": "Dejavu",
        "og:title": f"{title}: a forecast while it is played",
        "og:description": _ABOUT,
        "og:url": f"{scheme}://{host}/game/{game_id}{moment}",
        "og:image": f"{scheme}://{host}/share/game/{game_id}.png{moment}",
        "og:image:type": PNG,
        "og:image:width": str(WIDTH),
        "og:image:height": str(HEIGHT),
        "og:image:alt": "The lead so far, and the forecast of the end with its interval",
    }
    elements = [_element("property", *each) for each in properties.items()]
    return "".join([*elements, _element("name", "twitter:card", "summary_large_image")])


def _element(attribute: str, name: str, content: str) -> str:
    return f'<meta {attribute}="{name}" content="{html.escape(content)}">'
