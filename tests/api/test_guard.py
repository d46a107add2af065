"""Who may send what: Host, Origin, password and size, for the APIs and for the page mounted on them."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
from contextlib import suppress

import gradio as gr
import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from studio.api.app import create_app
from studio.api.guard import SECURITY_HEADERS
from studio.core.settings import Settings
from tests.api.samples import HOST, JOB, SMALL, png, png_base64
from tests.fakes import FakeStudio

FOREIGN_ORIGINS = (
    "null",
    "https://evil.example",
    "http://127.0.0.1:9999",
    "http://localhost:7860",
    "http://127.0.0.1:7860.evil.example",
    "http://127.0.0.1:7860@evil.example",
    "http://evil.example/http://127.0.0.1:7860",
    "http://127.0.0.1",
    "file://",
    "chrome-extension://abc",
    "",
    f"http://{HOST}, http://evil.example",
)
FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:7860",
    "127.0.0.1.evil.example",
    "localhost.evil.example:7860",
    "192.168.1.5:7860",
    "0.0.0.0:7860",
    "127.0.0.1:7860@evil.example",
    "127.0.0.1/evil.example",
    "[::1",
    "",
)
CONTENT_TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
)
WRITES = (
    ("POST", "/studio/v1/jobs", json.dumps(JOB).encode()),
    ("POST", "/studio/v1/blobs", png()),
    ("POST", "/studio/v1/models/activate", b'{"model": "fake/large"}'),
    ("POST", "/sdapi/v1/txt2img", json.dumps(SMALL).encode()),
    ("POST", "/sdapi/v1/img2img", json.dumps({**SMALL, "init_images": [png_base64()]}).encode()),
    ("POST", "/sdapi/v1/options", b'{"sd_model_checkpoint": "Large XL"}'),
    ("POST", "/sdapi/v1/interrupt", b""),
)


@pytest.fixture(scope="module")
def page():
    with gr.Blocks() as blocks:
        name = gr.Textbox()
        name.submit(lambda text: f"Hello {text}", name, name, api_name="greet")
    return blocks


@pytest.fixture
def site(studio, settings, page):
    """The APIs with a real page on them, as the command line serves them."""
    return gr.mount_gradio_app(create_app(studio, settings), page, path="/")


@pytest.fixture
def writes(studio):
    """Everything that a request could have changed."""
    before = snapshot(studio)
    return lambda: snapshot(studio) != before


def snapshot(studio: FakeStudio):
    return len(studio.jobs()), len(studio._blobs), studio.active_model, studio.images().total


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_no_foreign_origin_writes_anything(client, writes, origin):
    for (method, path, body), content_type in itertools.product(WRITES, CONTENT_TYPES):
        headers = {"Origin": origin, "Content-Type": content_type}
        assert client.request(method, path, content=body, headers=headers).status_code == 403
    assert not writes()


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_no_foreign_host_writes_anything(client, writes, host):
    for (method, path, body), content_type in itertools.product(WRITES, CONTENT_TYPES):
        for origin in ({}, {"Origin": f"http://{host}"}):
            headers = {"Host": host, "Content-Type": content_type, **origin}
            assert client.request(method, path, content=body, headers=headers).status_code == 403
    assert not writes()


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_no_foreign_host_reads_anything(client, host):
    assert client.get("/studio/v1/images", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_no_foreign_origin_reads_anything(client, origin):
    reply = client.get("/studio/v1/images", headers={"Origin": origin})
    assert reply.status_code == 403
    assert "access-control-allow-origin" not in reply.headers


def test_a_preflight_of_a_foreign_origin_is_refused(client):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    reply = client.options("/studio/v1/jobs", headers=headers)
    assert reply.status_code == 403
    assert "access-control-allow-origin" not in reply.headers


def test_a_form_of_another_site_without_origin_is_refused(client, writes):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/studio/v1/jobs", json=JOB, headers=headers).status_code == 403
    assert not writes()


@pytest.mark.parametrize("headers", [{}, {"Origin": f"http://{HOST}"}, {"Origin": f"http://{HOST}".upper()}])
def test_programs_and_the_own_page_may_write(client, headers):
    assert client.post("/studio/v1/jobs", json=JOB, headers=headers).status_code == 201


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST:1"])
def test_loopback_goes_by_all_its_names(client, host):
    assert client.get("/studio/v1/status", headers={"Host": host}).status_code == 200


def test_a_request_with_two_hosts_is_refused(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("GET", "/studio/v1/status", skip_host=True)
    connection.putheader("Host", "127.0.0.1")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)


def client_of(studio, host="127.0.0.1:7860", **settings) -> TestClient:
    app = create_app(studio, Settings(data_dir=studio.data_dir, **settings))
    return TestClient(app, base_url=f"http://{host}")


@pytest.mark.parametrize("allowed", ["Easel.example.com", "easel.example.com:443"])
def test_an_allowed_name_is_answered_behind_a_tls_proxy(studio, allowed):
    client = client_of(studio, "easel.example.com", allowed_hosts=(allowed,))
    headers = {"Origin": "https://easel.example.com"}
    assert client.post("/studio/v1/jobs", json=JOB, headers=headers).status_code == 201


def test_a_server_on_every_address_answers_to_addresses_but_not_to_names(studio):
    client = client_of(studio, host="192.168.1.5:7860")
    assert client.get("/studio/v1/status").status_code == 403
    everywhere = TestClient(create_app(studio, Settings(data_dir=studio.data_dir, host="0.0.0.0")))
    status = {
        host: everywhere.get("/studio/v1/status", headers={"Host": host}).status_code
        for host in ("192.168.1.5:7860", "[fe80::1]:7860", "evil.example:7860")
    }
    assert status == {"192.168.1.5:7860": 200, "[fe80::1]:7860": 200, "evil.example:7860": 403}


# ---------------------------------------------------------------- password

PASSWORD = "correct: hörse"
GUARDED = ("/", "/docs", "/openapi.json", "/studio/v1/status", "/sdapi/v1/options", "/config", "/theme.css")


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def locked(studio, settings, page):
    app = create_app(studio, settings.model_copy(update={"auth": ("ada", PASSWORD)}))
    with TestClient(gr.mount_gradio_app(app, page, path="/"), base_url=f"http://{HOST}") as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("ada", "wrong"),
        basic("bob", PASSWORD),
        basic("ada", ""),
        basic("", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Bearer " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()},
    ],
)
def test_nothing_is_shown_without_the_password(locked, headers):
    for path in GUARDED:
        reply = locked.get(path, headers=headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Basic")


def test_everything_is_shown_with_the_password(locked):
    for path in GUARDED:
        assert locked.get(path, headers=basic("ada", PASSWORD)).status_code == 200


def test_the_password_does_not_let_a_foreign_site_in(locked, writes):
    headers = {**basic("ada", PASSWORD), "Origin": "https://evil.example"}
    assert locked.post("/studio/v1/jobs", json=JOB, headers=headers).status_code == 403
    assert not writes()


def test_the_password_is_nowhere_in_the_flags(locked):
    reply = locked.get("/sdapi/v1/cmd-flags", headers=basic("ada", PASSWORD))
    assert "rse" not in reply.text


# ---------------------------------------------------------------- size


def in_pieces(total: int, piece: int = 2**16):
    """A body without a length, as a stream."""
    for start in range(0, total, piece):
        yield b"x" * min(piece, total - start)


@pytest.mark.parametrize("path", ["/studio/v1/blobs", "/studio/v1/jobs", "/sdapi/v1/txt2img"])
def test_a_body_over_the_limit_is_refused_by_its_length(client, settings, writes, path):
    reply = client.post(path, content=b"x" * (settings.max_upload_bytes + 1))
    assert reply.status_code == 413
    assert reply.json()["problem"] == "The upload is larger than the 1 MiB that this server accepts."
    assert not writes()


@pytest.mark.parametrize("path", ["/studio/v1/blobs", "/studio/v1/jobs", "/sdapi/v1/txt2img"])
def test_a_body_over_the_limit_is_refused_while_it_streams(port, settings, writes, path):
    url = f"http://127.0.0.1:{port}{path}"
    reply = httpx.post(url, content=in_pieces(settings.max_upload_bytes + 1))
    assert (reply.status_code, reply.json()["error"]) == (413, "BodyTooLarge")
    assert not writes()


def test_a_form_over_the_limit_is_refused_while_it_streams(port, settings, writes):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = itertools.chain([head], in_pieces(settings.max_upload_bytes))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = httpx.post(f"http://127.0.0.1:{port}/studio/v1/blobs", content=body, headers=headers)
    assert reply.status_code == 413
    assert not writes()


def test_reading_stops_at_the_limit(port):
    """A flood is cut off: of an endless body the server takes about the limit, not all that is sent."""
    sent = 0

    def flood():
        nonlocal sent
        for piece in in_pieces(2**28):
            sent += len(piece)
            yield piece

    with suppress(httpx.TransportError):  # the connection is cut while the client still sends
        httpx.post(f"http://127.0.0.1:{port}/studio/v1/blobs", content=flood(), timeout=10)
    assert sent < 2**26


def test_a_body_at_the_limit_passes(client, settings):
    reply = client.post("/studio/v1/blobs", content=b"x" * settings.max_upload_bytes)
    assert (reply.status_code, reply.json()["error"]) == (422, "ImageError")


# ---------------------------------------------------------------- the page


def upload(client, headers, size=10):
    return client.post("/gradio_api/upload", files={"files": ("a.txt", b"x" * size)}, headers=headers)


@pytest.fixture
def visitor(site):
    with TestClient(site, base_url=f"http://{HOST}") as client:
        yield client


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_foreign_site_cannot_use_the_page(visitor, origin):
    headers = {"Origin": origin}
    joined = {"data": ["x"], "fn_index": 0, "session_hash": "s"}
    assert upload(visitor, headers).status_code == 403
    assert visitor.post("/gradio_api/queue/join", json=joined, headers=headers).status_code == 403
    assert visitor.post("/gradio_api/call/greet", json={"data": ["x"]}, headers=headers).status_code == 403
    assert visitor.get("/config", headers=headers).status_code == 403


def test_the_own_page_uploads_and_is_shown(visitor):
    own = {"Origin": f"http://{HOST}"}
    assert upload(visitor, own).status_code == 200
    assert visitor.get("/").status_code == 200
    assert visitor.get("/config").json()["components"]


def test_a_rebound_name_does_not_reach_the_page(visitor):
    assert visitor.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert upload(visitor, {"Host": "evil.example", "Origin": "http://evil.example"}).status_code == 403


def test_the_page_takes_a_model_file_up_to_its_own_limit(visitor, settings):
    assert upload(visitor, {}, settings.max_upload_bytes + 1000).status_code == 200
    assert upload(visitor, {}, settings.max_model_bytes + 1).status_code == 413


def test_the_pages_upload_is_cut_off_while_it_streams(site, serve, settings):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    body = itertools.chain([head], in_pieces(settings.max_model_bytes))
    url = f"http://127.0.0.1:{serve(site)}/gradio_api/upload"
    reply = httpx.post(url, content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert reply.status_code == 413


def test_a_job_of_the_page_runs_through_the_guard_without_being_held_back(site, serve):
    """Gradio's answers are server-sent events."""
    base = f"http://127.0.0.1:{serve(site)}/gradio_api/call/greet"
    call = httpx.post(base, json={"data": ["Ada"]}).json()["event_id"]
    with httpx.stream("GET", f"{base}/{call}", timeout=10) as stream:
        assert 'data: ["Hello Ada"]' in list(stream.iter_lines())


def test_websockets_of_foreign_sites_are_closed(visitor):
    with (
        pytest.raises(WebSocketDisconnect),
        visitor.websocket_connect("/anything", headers={"Origin": "https://evil.example"}),
    ):
        pass


@pytest.mark.parametrize("path", ["/", "/docs", "/studio/v1/status", "/studio/v1/nothing", "/theme.css"])
def test_every_answer_carries_the_security_headers(visitor, path):
    reply = visitor.get(path)
    assert {name: reply.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_a_refusal_carries_the_security_headers_too(visitor):
    reply = visitor.get("/", headers={"Host": "evil.example"})
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_unknown_api_paths_do_not_fall_through_to_the_page(visitor):
    for method, path in (
        ("GET", "/studio/v1/x"),
        ("PUT", "/studio/v1/jobs"),
        ("POST", "/sdapi/v1/interrogate"),
    ):
        reply = visitor.request(method, path)
        assert (reply.status_code, reply.json()["error"]) == (404, "NotFound")
