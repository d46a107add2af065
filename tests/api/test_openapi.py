"""The schema at /openapi.json says all that a client needs to know."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from studio.api.app import create_app
from studio.core.settings import Settings


@pytest.fixture(scope="module")
def schema():
    return create_app(None, Settings()).openapi()


@pytest.fixture(scope="module")
def operations(schema):
    found = {
        f"{method.upper()} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert len(found) > 45
    return found


def good_answers(operation):
    return [answer for status, answer in operation["responses"].items() if status.startswith("2")]


def test_every_route_has_a_summary_and_a_tag(operations):
    assert [name for name, operation in operations.items() if not operation.get("summary")] == []
    assert [name for name, operation in operations.items() if not operation.get("tags")] == []


def test_every_route_says_what_it_answers(operations):
    for name, operation in operations.items():
        (answer,) = good_answers(operation)
        assert answer["content"], name
        assert all(content["schema"] for content in answer["content"].values()), name


def test_every_route_says_what_an_error_looks_like(operations):
    for name, operation in operations.items():
        for status in ("4XX", "5XX"):
            content = operation["responses"][status]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith("/ErrorReply"), name


def test_every_writing_route_with_a_body_describes_it(operations):
    for name, operation in operations.items():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content["schema"], name


def test_every_request_of_the_vocabulary_can_be_posted(operations):
    body = operations["POST /studio/v1/jobs"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["discriminator"]["mapping"]) == {"generate", "install", "preprocess"}


def test_every_event_is_described(operations, schema):
    (answer,) = good_answers(operations["GET /studio/v1/jobs/{job_id}/events"])
    kinds = answer["content"]["text/event-stream"]["schema"]["discriminator"]["mapping"]
    assert {"progress", "preview", "finished", "failed", "cancelled"} <= set(kinds)
    assert all(reference.split("/")[-1] in schema["components"]["schemas"] for reference in kinds.values())


def test_every_operation_has_an_id_of_its_own(operations):
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere(schema):
    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            node = list(node.values())
        if isinstance(node, list):
            for each in node:
                yield from references(each)

    found = {reference.rpartition("/")[2] for reference in references(schema)}
    assert found <= set(schema["components"]["schemas"])
    assert len(found) > 30


def test_a_fault_of_ours_is_told_without_its_trace():
    class Broken:
        def status(self):
            raise RuntimeError("the innards")

    app = create_app(Broken(), Settings())
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        reply = client.get("/studio/v1/status")
    assert reply.status_code == 500
    assert "RuntimeError" in reply.json()["message"]
    assert "innards" not in reply.text
