"""Generates dejavu_gateway/reference.html, the page /docs, from the description of the gateway's interface.

`make gen` runs it. With --check it only compares: `make check` fails if the file differs.

The page has the paths with a curl line each, and the fields of all messages. Its colors are those of the other pages.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from html import escape
from pathlib import Path
from typing import Any, Final

from dejavu_gateway.api.openapi import document

FOLDER: Final = Path(__file__).parent / "dejavu_gateway"
FILE: Final = FOLDER / "reference.html"
TOKENS: Final = Path(__file__).parent / "web/src/styles/tokens.css"

ORIGIN: Final = "localhost:8080"
SAMPLES: Final = {
    "gameId": "0022500001",
    "horizon": "HORIZON_FINAL",
    "metric": "LEADERBOARD_METRIC_CRPS",
    "modelVersion": "champion",
    "name": "dejavu",
    "version": "champion",
}
"""Values of path parameters, and of the query parameters that are required."""

TEXTS: Final = {"date-time": "time", "date": "date"}
KINDS: Final = {
    "string": "text", "integer": "integer", "number": "number", "boolean": "boolean", "object": "object",
    "null": "null",
}  # fmt: skip

STYLE: Final = """
*{box-sizing:border-box}
body{margin:0;overflow-wrap:anywhere;background:var(--ground);color:var(--ink);
font:1rem/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
header,main{max-width:75rem;margin:0 auto;padding:.75rem clamp(.75rem,3vw,2.5rem)}
header a{display:inline-block;margin-right:1rem;color:var(--muted);text-decoration:none}
header a:first-child{color:var(--ink);font-size:1.25rem;font-weight:700;letter-spacing:-.02em}
h1{font-size:1.75rem;line-height:1.15;margin:0 0 .75rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem}
h3{font-size:1rem;margin:0}
h3[id]{margin-top:1rem}
i{font-style:normal;color:var(--forecast)}
a{color:var(--blue)}
:focus-visible{outline:2px solid;outline-offset:2px}
section{background:var(--surface);border:1px solid var(--line);border-radius:.75rem;
padding:.75rem 1rem;margin:0 0 .75rem}
p{margin:.25rem 0 .5rem}
pre{background:var(--raised);border-radius:.5rem;padding:.5rem .75rem;margin:.5rem 0 0;
font-size:.8125rem;white-space:pre-wrap}
ul{list-style:none;margin:.25rem 0 0;padding:0;columns:22rem;font-size:.8125rem;color:var(--muted)}
li{break-inside:avoid}
b{font-weight:600;color:var(--ink)}
"""


def generated() -> str:
    """Return the content of the file."""
    interface = document()
    paths, schemas = interface["paths"], interface["components"]["schemas"]
    parts = []
    for tag in interface["tags"]:
        operations = (
            _operation(method.upper(), path, operation)
            for path, methods in paths.items()
            for method, operation in methods.items()
            if operation["tags"] == [tag["name"]]
        )
        parts += [f"<h2>{tag['name']}</h2>", *operations]
    parts.append("<h2 id=messages>Messages</h2>\n<section>")
    parts += (f"<h3 id={name}>{name}</h3>\n{_fields(each['properties'])}" for name, each in sorted(schemas.items()))
    parts.append("</section>")
    content = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" type="image/svg+xml" href="/icon.svg">
<title>Interface · Dejavu</title>
<style>{_colors()}{STYLE}</style>
</head>
<body>
<header><a href="/">Dejavu</a>
<a href="/">Tonight</a><a href="/record">Record</a><a href="/what-if">What if</a><a href="/system">System</a>
<a href="/help">Help</a></header>
<main>
<h1>Interface</h1>
<p>All paths, with a command each, and the fields of all <a href="#messages">messages</a>; texts have no kind.
For programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>
{content}
</main>
</body>
</html>
"""


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = {each["name"]: each["schema"] for each in operation.get("parameters", [])}
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    media_type, answer = next(iter(_answers(operation).items()))
    kind = _kind(answer["schema"]) if media_type == "application/json" else media_type
    said = f"Answer: {kind}." if kind != "object" else ""
    required = [each["name"] for each in operation.get("parameters", []) if each["required"] and each["in"] == "query"]
    command = _command(method, path, required, media_type, body.get("example"))
    form = f"Body: {_kind(body['schema'])}. " if "$ref" in body.get("schema", {}) else ""
    return (
        f"<section>\n<h3><i>{method}</i> {escape(path)}</h3>\n"
        f"<p>{escape(operation['summary'], quote=False)} {form}{said}</p>\n"
        f"{_fields(parameters)}<pre>{escape(command, quote=False)}</pre>\n</section>"
    )


def _answers(operation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = operation["responses"]["200"]["content"]
    return content


def _command(method: str, path: str, required: list[str], media_type: str, body: object) -> str:
    """Return a curl line, with the query parameters that are required."""
    query = "&".join(f"{name}={SAMPLES[name]}" for name in required)
    url = ORIGIN + re.sub(r"\{(\w+)\}", lambda name: SAMPLES[name[1]], path) + (f"?{query}" if query else "")
    if method == "POST":
        return f"curl {url} -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"
    if path == "/api/ws":
        return f"curl -N ws://{url}"
    option = "-N " if media_type == "text/event-stream" else "-O " if path.endswith((".png", ".parquet")) else ""
    return f"curl {option}{shlex.quote(url)}"


def _fields(properties: dict[str, Any]) -> str:
    """Return a list of fields with their kinds, except that of a text; nothing if there are none."""
    kinds = {name: _kind(schema) for name, schema in properties.items()}
    items = "".join(f"<li><b>{name}</b>" + f" {kind}" * (kind != "text") for name, kind in kinds.items())
    return f"<ul>\n{items}</ul>" if items else ""


def _kind(schema: dict[str, Any]) -> str:
    """Return what a value is, with links to messages."""
    match schema:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            return f"<a href=#{name}>{name}</a>"
        case {"anyOf": options}:
            return " or ".join(map(_kind, options))
        case {"enum": values}:
            prefix = values[0].removesuffix("UNSPECIFIED") if values[0].endswith("_UNSPECIFIED") else ""
            said = values[1:] if prefix else values  # the first stands for none
            return f"{prefix}{{{', '.join(each.removeprefix(prefix) for each in said)}}}"
        case {"type": "array", "items": items}:
            return f"list of {_kind(items)}"
        case {"type": "object", "properties": properties}:
            return "{" + ", ".join(f"{name} {_kind(each)}" for name, each in properties.items()) + "}"
        case {"type": "string", "format": form}:
            return TEXTS[form]
        case {"type": "string", "contentEncoding": form}:
            return str(form)
        case {"type": kind}:
            return KINDS[kind]
    raise ValueError(schema)


def _colors() -> str:
    """Return the colors of the page's themes that the style names, the dark ones where the viewer prefers them."""
    source = TOKENS.read_text()
    light, dark = (
        re.search(rf"{re.escape(selector)} {{(.*?)}}", source, re.DOTALL)
        for selector in (":root", ':root[data-theme="dark"]')
    )
    if light is None or dark is None:
        raise LookupError(f"{TOKENS} has no theme")
    names = sorted(set(re.findall(r"var\((--\w+)\)", STYLE)))

    def chosen(theme: str) -> str:
        return ";".join(f"{name}:{re.search(rf'{name}: ([^;]+);', theme)[1]}" for name in names)  # type: ignore[index]

    return f":root{{{chosen(light[1])}}}\n@media(prefers-color-scheme:dark){{:root{{{chosen(dark[1])}}}}}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if FILE.read_text() == generated() else f"{FILE} differs from its source: run make gen")
    FILE.write_text(generated())
