"""The OpenAPI document, and a page that shows it: made here, without a script and without the internet."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from typing import Any, Final

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from outlay.faces.server.routes.openapi import document

router = APIRouter()

STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); overflow: auto; padding: .6rem .8rem; border-radius: 6px; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.2rem; font-family: ui-monospace, monospace; }
table { border-collapse: collapse; margin: .4rem 0; }
td, th { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; }
nav a { margin-right: .8rem; }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'"


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The document."""
    return Response(_documents(request.app)[0], media_type="application/json")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """The page."""
    headers = {"content-security-policy": POLICY}
    return Response(_documents(request.app)[1], media_type="text/html; charset=utf-8", headers=headers)


@cache
def _documents(app: FastAPI) -> tuple[bytes, bytes]:
    """The document and the page, made at the first look: programs that only write never pay for them."""
    found = document(app.routes)
    return msgspec.json.encode(found), "".join(_page(found)).encode()


def _page(found: Mapping[str, Any]) -> Iterator[str]:
    groups: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            groups.setdefault((operation.get("tags") or ["more"])[0], []).append((method.upper(), path, operation))
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Outlay API</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><h1>Outlay API {escape(found['info']['version'])}</h1>"
    yield f"<p>{escape(found['info']['description'])}</p>"
    yield '<p>The whole as OpenAPI 3.1: <a href="openapi.json">openapi.json</a>. '
    yield "Send a key as <code>Authorization: Bearer outlay_…</code>.</p><nav>"
    yield from (f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in groups)
    yield "</nav>"
    schemas = found["components"]["schemas"]
    for name, operations in groups.items():
        yield f'<h2 id="{_anchor(name)}">{escape(name)}</h2>'
        for method, path, operation in operations:
            yield from _operation(method, path, operation, schemas)
    yield "</body></html>"


def _operation(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><b>{method}</b> <code>{escape(path)}</code> {escape(operation.get('summary', ''))}"
    yield f"</summary><p>{escape(operation.get('description', ''))}</p>"
    parameters = operation.get("parameters") or ()
    if parameters:
        yield "<table><tr><th>parameter</th><th>in</th><th></th></tr>"
        for one in parameters:
            yield f"<tr><td><code>{escape(one['name'])}</code></td><td>{one['in']}</td>"
            yield f"<td>{escape(one.get('description', ''))}</td></tr>"
        yield "</table>"
    for kind, content in (operation.get("requestBody") or {}).get("content", {}).items():
        yield f"<p>body, <code>{escape(kind)}</code></p>{_shape(content.get('schema', {}), schemas)}"
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            for kind, content in answer.get("content", {}).items():
                shape = _shape(content.get("schema", {}), schemas)
                yield f"<p>{status}, <code>{escape(kind)}</code></p>{shape}"
    yield "</details>"


def _shape(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """A schema as JSON, its references followed once."""
    if not schema:
        return ""
    text = msgspec.json.format(msgspec.json.encode(_followed(schema, schemas, 2)), indent=1).decode()
    return f"<pre>{escape(text)}</pre>"


def _followed(schema: Any, schemas: Mapping[str, Any], depth: int) -> Any:
    if isinstance(schema, list):
        return [_followed(one, schemas, depth) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        return _followed(schemas[name], schemas, depth - 1) if depth and name in schemas else name
    return {key: _followed(value, schemas, depth) for key, value in schema.items() if key != "title"}


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
