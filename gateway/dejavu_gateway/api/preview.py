"""The preview of a game's page, which programs show beside a pasted link: Open Graph and X cards."""

from __future__ import annotations

import html
import re
from typing import Final

from starlette.requests import Request

from dejavu_gateway.api.context import context_of
from dejavu_gateway.api.share import HEIGHT, WIDTH, is_minute
from dejavu_gateway.http.answers import PNG
from dejavu_gateway.http.envelope import forwarded_scheme

_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
"""A Host header of a name or an address: any other text stays out of the page."""

_GAME: Final = re.compile(r"[0-9]{10}")
_ABOUT: Final = "Who wins, and by how many points, with intervals that hold and a record that anybody can check"


def preview(request: Request) -> str:
    """Return the elements of a game's preview, for the head of its page; empty if the path names no game.

    Their addresses have the host under which the page was requested, which is one of the gateway's names (--host), and
    the scheme that a trusted proxy reports.
    """
    game_id, host = str(request.path_params["id"]), request.headers.get("host", "")
    if not _GAME.fullmatch(game_id) or not _HOST.fullmatch(host):
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
