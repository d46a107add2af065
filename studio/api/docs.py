"""The page at /docs: the OpenAPI schema to read. All of it comes from here, so it is there without a network.

FastAPI's own page loads its scripts from another site, which would be blank offline, and may do online
whatever Easel's page may.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

Schema = Mapping[str, Any]

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, summary { font-family: ui-monospace, monospace; font-size: 0.9em; overflow-wrap: anywhere }
summary { cursor: pointer; padding: 0.3rem 0 } summary span { font-family: system-ui, sans-serif }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 } td { padding: 0.2rem 1rem 0.2rem 0;
vertical-align: top; overflow-wrap: anywhere;
border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
td:first-child { min-width: 9rem }
"""

_BOUNDS = (
    ("minimum", "at least"), ("maximum", "at most"), ("multipleOf", "multiple of"), ("pattern", "like"),
    ("maxLength", "longest"), ("minItems", "fewest"), ("maxItems", "most"),
)  # fmt: skip


_STRONG, _CODE, _ENTRY = (
    re.compile(r"\*\*(.+?)\*\*"),
    re.compile(r"`(.+?)`"),
    re.compile(r"^- ", re.MULTILINE),
)


class _Operation(NamedTuple):
    method: str
    path: str
    schema: Schema

    @property
    def tag(self) -> str:
        return str(self.schema["tags"][0])


def docs_router() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(docs_page(request.app.openapi()))

    return router


def docs_page(schema: Schema) -> str:
    """The whole page, as HTML without scripts.

    Args:
        schema: as at /openapi.json.
    """
    title = escape(schema["info"]["title"])
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: HTTP API</title><style>{_STYLE}</style></head><body><h1>{title}: HTTP API</h1>"
        f"{_text(schema['info']['description'])}"
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>'
        f"{''.join(_groups(schema['paths']))}<h2>Schemas</h2>"
        f"{''.join(_named(*each) for each in sorted(schema['components']['schemas'].items()))}</body></html>"
    )


def _groups(paths: Schema) -> Iterator[str]:
    operations = [
        _Operation(method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]
    for tag, group in groupby(operations, key=lambda operation: operation.tag):
        yield f"<h2>{escape(tag)}</h2>{''.join(map(_operation, group))}"


def _operation(operation: _Operation) -> str:
    told = operation.schema
    rows = [(one["name"], one["schema"], one.get("description", "")) for one in told.get("parameters", ())]
    rows += [("body", one, kind) for kind, one in _contents(told.get("requestBody", {}))]
    for status, answer in told["responses"].items():
        rows += [(f"answer {status}", one, kind) for kind, one in _contents(answer)]
    return (
        f"<details><summary><b>{operation.method}</b> {escape(operation.path)} "
        f"<span>{escape(told.get('summary', ''))}</span></summary>"
        f"{_text(told.get('description', ''))}{_table(rows)}</details>"
    )


def _contents(message: Schema) -> list[tuple[str, Schema]]:
    return [(kind, one.get("schema", {})) for kind, one in message.get("content", {}).items()]


def _named(name: str, schema: Schema) -> str:
    fields = schema.get("properties", {})
    rows = [(field, one, one.get("description", "")) for field, one in fields.items()]
    # A link to what is folded away unfolds it; a link to the fold itself would not.
    return (
        f'<details><summary>{escape(name)}</summary><div id="{escape(name)}">'
        f"{_text(schema.get('description', ''))}{_table(rows) if rows else _kind(schema)}</div></details>"
    )


def _table(rows: Iterable[tuple[str, Schema, str]]) -> str:
    cells = (
        f"<tr><td><code>{escape(name)}</code><td>{_kind(schema)}{_limits(schema)}<td>{escape(note)}"
        for name, schema, note in rows
    )
    return f"<table>{''.join(cells)}</table>"


def _kind(schema: Schema) -> str:
    """What a value is: a type, a list of one, a link to a named schema, or one of several."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_kind, choices))
    if values := [schema["const"]] if "const" in schema else schema.get("enum"):
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_kind(schema['items'])}"
    return escape(str(schema.get("type", "anything")))


def _limits(schema: Schema) -> str:
    told = [f"{words} {_number(schema[key])}" for key, words in _BOUNDS if key in schema]
    if "default" in schema:
        told.append(f"default {json.dumps(schema['default'])}")
    return escape("".join(f", {one}" for one in told))


def _number(value: Any) -> str:
    """64.0 -> '64': JSON Schema writes bounds of whole numbers as floats."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _text(markdown: str) -> str:
    """Paragraphs; of markdown, what descriptions here use: lists, **strong** and `code`."""
    marked = _CODE.sub(r"<code>\1</code>", _STRONG.sub(r"<b>\1</b>", escape(markdown.strip())))
    lines = _ENTRY.sub("<br>• ", marked)
    return "".join(f"<p>{part}</p>" for part in lines.split("\n\n") if part)
