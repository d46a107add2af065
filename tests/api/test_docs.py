"""The page at /docs: all of the schema, and nothing from another site."""

from __future__ import annotations

import re
from html import escape

import pytest

from studio.api.docs import docs_page


@pytest.fixture
def page(client):
    reply = client.get("/docs")
    assert reply.headers["content-type"].startswith("text/html")
    return reply.text


def test_everything_on_the_page_comes_from_easel(page):
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]*)""", page)
    assert len(addresses) > 100
    assert [address for address in addresses if address[0] != "#"] == ["/openapi.json"]
    assert "<script" not in page


def test_the_page_names_every_route_and_every_field(page, client):
    schema = client.get("/openapi.json").json()
    routes = [(path, method) for path, methods in schema["paths"].items() for method in methods]
    assert len(routes) > 45
    for path, method in routes:
        assert f"<b>{method.upper()}</b> {escape(path)} " in page
    for name, one in schema["components"]["schemas"].items():
        start = page.index(f'<div id="{name}">')
        shown = page[start : page.index("</details>", start)]
        assert all(f"<code>{field}</code>" in shown for field in one.get("properties", {})), name


def test_every_link_leads_to_a_schema_of_the_page(page):
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(re.findall(r'<div id="([^"]+)">', page))


def test_bounds_and_defaults_are_told(page):
    assert "integer, at least 64, at most 4096, multiple of 8, default 512" in page


def test_texts_are_escaped():
    evil = "<script>alert(1)</script>"
    field = {"type": "string", "description": evil, "default": evil, "enum": [evil]}
    operation = {"tags": [evil], "summary": evil, "description": evil, "responses": {}}
    page = docs_page(
        {
            "info": {"title": evil, "description": evil},
            "paths": {f"/{evil}": {"get": operation}},
            "components": {"schemas": {evil: {"properties": {evil: field}}}},
        }
    )
    assert "<script" not in page
