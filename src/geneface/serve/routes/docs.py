"""GET /docs: the API to read, made from /openapi.json. FastAPI's own page loads its programs from another host."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --quiet: #777; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 2rem 1.25rem 6rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { margin: 3rem 0 .5rem; font-size: 1.2rem; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; } pre { background: var(--soft); padding: .75rem 1rem;
  overflow-x: auto; border-radius: .5rem; margin: .5rem 0; }
details { border-top: 1px solid var(--line); padding: .55rem 0; } summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4rem; font: 600 .8rem ui-monospace, monospace; }
summary span { color: var(--quiet); margin-left: .75rem; } dt { font: 600 .875rem ui-monospace, monospace; }
dd { margin: 0 0 .35rem 1rem; } h3 { font-size: .9rem; margin: .9rem 0 .25rem; }
"""


@router.get("/docs.css")
async def style() -> Response:
    """The style of /docs: nothing stands inside the page, which the security policy forbids."""
    return Response(_STYLE, media_type="text/css")


@router.get("/docs")
async def page(request: Request) -> HTMLResponse:
    """The routes by subject, each with what it takes, what it answers and how to call it."""
    schema = request.app.openapi()
    parts = []
    for tag in schema["tags"]:
        inside = [
            _route(str(request.base_url).rstrip("/"), path, method, operation, schema)
            for path, operations in schema["paths"].items()
            for method, operation in operations.items()
            if tag["name"] in operation.get("tags", ["server"])
        ]
        if inside:
            parts.append(f"<h2>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>{''.join(inside)}")
    info = schema["info"]
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>geneface: the API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/docs.css">'
        f"<main><h1>The API of geneface {escape(info['version'])}</h1><p>{_words(info['description'])}</p>"
        '<p>For programs: <a href="/openapi.json">/openapi.json</a>. The WebSocket of a live session is described in '
        f"docs/serve.md.</p>{''.join(parts)}</main></html>"
    )


def _route(base: str, path: str, method: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    fields = {one["name"]: one.get("description", one["in"]) for one in operation.get("parameters", [])}
    for content in body.values():
        found = _resolved(content.get("schema", {}), schema)
        fields |= {name: _about(one) for name, one in found.get("properties", {}).items()}
    taken = "".join(f"<dt>{escape(name)}</dt><dd>{_words(about)}</dd>" for name, about in fields.items())
    answers = "".join(
        f"<dt>{escape(status)}</dt><dd>{_words(answer.get('description', ''))}</dd>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code>"
        f"<span>{escape(operation.get('summary', ''))}</span></summary>"
        f"<p>{_words(operation.get('description', ''))}</p>"
        f"<pre>{escape(_curl(base, path, method, body))}</pre>"
        + (f"<h3>Takes</h3><dl>{taken}</dl>" if taken else "")
        + f"<h3>Answers</h3><dl>{answers}</dl></details>"
    )


def _curl(base: str, path: str, method: str, body: dict[str, Any]) -> str:
    words = ["curl", *([] if method == "get" else [f"-X {method.upper()}"]), f"{base}{path}"]
    content = body.get("application/json")
    if content is not None:
        example = content.get("example") or next(iter(content.get("examples", {}).values()), {}).get("value") or {}
        words.append(f"-H 'Content-Type: application/json' -d '{json.dumps(example)}'")
    elif "multipart/form-data" in body:
        words.append("-F name=value")
    return " ".join(words)


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").rpartition("/")[2]
    return schema["components"]["schemas"].get(name, {}) if name else part


def _about(field: dict[str, Any]) -> str:
    kind = field.get("type") or " or ".join(sorted({one.get("type", "object") for one in field.get("anyOf", [])}))
    return ": ".join(word for word in (kind, field.get("description", "")) if word)


def _words(text: str) -> str:
    """Text with its `code`."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))
