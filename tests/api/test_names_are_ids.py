"""Every name from outside is looked up, never opened: a corpus of paths x every place that takes a name."""

from __future__ import annotations

import http.client
import itertools
import json
from urllib.parse import quote

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from studio.api.app import create_app
from studio.core.settings import Settings
from tests.api.samples import HOST, JOB, SMALL, png_base64, served
from tests.fakes import FakeStudio

SECRET = "the secret of this machine"

CORPUS = (
    "../secret.txt",
    "../../secret.txt",
    "..\\secret.txt",
    "%2e%2e%2fsecret.txt",
    "%252e%252e%252fsecret.txt",
    "..%c0%afsecret.txt",
    "....//secret.txt",
    "{absolute}",
    "file://{absolute}",
    "/proc/self/environ",
    "C:\\Windows\\win.ini",
    "\\\\server\\share\\secret.txt",
    "//server/share/secret.txt",
    "secret.txt\x00.png",
    "~/secret.txt",
    "$HOME/secret.txt",
    ".",
    "..",
    "a" * 300,
    "a/" * 20_000,
    "'; DROP TABLE images; --",
    "${{7*7}}",
    "\u202etxt.terces",
)

ROUTES = (
    ("GET", "/studio/v1/jobs/{}"),
    ("GET", "/studio/v1/jobs/{}/events"),
    ("DELETE", "/studio/v1/jobs/{}"),
    ("POST", "/studio/v1/jobs/{}/retry"),
    ("GET", "/studio/v1/blobs/{}"),
    ("GET", "/studio/v1/images/{}"),
    ("GET", "/studio/v1/images/{}/file"),
    ("GET", "/studio/v1/images/{}/thumbnail"),
    ("DELETE", "/studio/v1/images/{}"),
    ("GET", "/gradio_api/file={}"),
    ("GET", "/gradio_api/file/{}"),
    ("GET", "/static/{}"),
    ("GET", "/assets/{}"),
    ("GET", "/svelte/{}"),
)

FIELDS = (
    ("/studio/v1/jobs", lambda name: {**JOB, "model": name}),
    ("/studio/v1/jobs", lambda name: {**JOB, "vae": name}),
    ("/studio/v1/jobs", lambda name: {**JOB, "source": {"image": name}}),
    ("/studio/v1/jobs", lambda name: {**JOB, "sampler": name}),
    ("/studio/v1/jobs", lambda name: {"kind": "install", "repo": name}),
    ("/studio/v1/jobs", lambda name: {"kind": name}),
    ("/studio/v1/images/delete", lambda name: {"images": [name]}),
    ("/studio/v1/images/export", lambda name: {"images": [name]}),
    ("/studio/v1/images/undo", lambda name: {"undo": name}),
    ("/studio/v1/models/activate", lambda name: {"model": name}),
    ("/sdapi/v1/options", lambda name: {"sd_model_checkpoint": name}),
    ("/sdapi/v1/options", lambda name: {"sd_vae": name}),
    ("/sdapi/v1/options", lambda name: {"samples_format": name}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "override_settings": {"sd_model_checkpoint": name}}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "override_settings": {"sd_vae": name}}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "sampler_name": name}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "scheduler": name}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "enable_hr": True, "hr_upscaler": name}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "script_name": name}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "alwayson_scripts": {name: {"args": [True]}}}),
    ("/sdapi/v1/txt2img", lambda name: {**SMALL, "force_task_id": name}),
    ("/sdapi/v1/img2img", lambda name: {**SMALL, "init_images": [name]}),
    ("/sdapi/v1/img2img", lambda name: {**SMALL, "init_images": [png_base64()], "mask": name}),
    ("/sdapi/v1/png-info", lambda name: {"image": name}),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def secret(folder):
    """A file right beside the studio's own."""
    path = folder / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.fixture(scope="module")
def studio(folder):
    return FakeStudio(folder)


@pytest.fixture(scope="module")
def site(studio, folder):
    """The APIs with a page on them."""
    with gr.Blocks() as page:
        gr.Textbox()
    return gr.mount_gradio_app(create_app(studio, Settings(data_dir=folder)), page, path="/")


@pytest.fixture(scope="module")
def client(site):
    with TestClient(site, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def knock(site):
    """Sends a path as it is, which no well-behaved client does."""

    def send(method, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection._validate_path = lambda url: None
        connection.request(method, path)
        reply = connection.getresponse()
        return reply.status, reply.read()

    with served(site) as port:
        yield send


def spelled(name, secret):
    return name.replace("{absolute}", str(secret))


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_no_path_in_an_address_leads_outside(knock, secret, method, route):
    for name in CORPUS:
        plain = spelled(name, secret)
        for spelling in {quote(plain, safe=""), quote(plain), quote(plain, safe="/\\%:")}:
            status, body = knock(method, route.format(spelling))
            assert SECRET.encode() not in body, spelling[:300]
            assert status < 500, spelling[:300]
            if route.startswith("/studio") and len(spelling) < 8000:
                assert status in (400, 404, 422), spelling


def test_the_undecoded_path_leads_nowhere_either(knock, secret):
    for path in (
        "/../secret.txt",
        "/studio/v1/images/../../../secret.txt",
        f"//{secret}",
        "/%2e%2e/secret.txt",
    ):
        status, body = knock("GET", path)
        assert SECRET.encode() not in body
        assert status < 500


@pytest.mark.parametrize(("path", "body"), FIELDS)
def test_no_path_in_a_field_is_opened(client, studio, secret, path, body):
    for name in CORPUS:
        reply = client.post(path, json=body(spelled(name, secret)))
        assert SECRET not in reply.text
        assert reply.status_code in (404, 422), name[:300]
        assert reply.json()["message"]
    assert studio.jobs() == ()


def test_names_of_other_types_are_refused(client, studio):
    fields = [(path, body) for path, body in FIELDS if "alwayson_scripts" not in body("x")]
    for (path, body), name in itertools.product(fields, (7, True, [], {}, ["x"])):
        reply = client.post(path, json=body(name))
        assert reply.status_code in (404, 422), (path, name)
    assert studio.jobs() == ()


def test_a_search_takes_any_text_as_text(client, studio, secret):
    for name in CORPUS:
        for field in ("text", "model", "job"):
            reply = client.get("/studio/v1/images", params={field: spelled(name, secret)[:400]})
            assert reply.status_code in (200, 422)
            assert reply.json().get("total", 0) == 0


def test_an_upload_keeps_no_name(client, folder):
    before = {path for path in folder.parent.rglob("*") if path.is_file()}
    files = {"../../../escaped.png": ("../../../escaped.png", json.dumps({}).encode(), "image/png")}
    assert client.post("/studio/v1/blobs", files=files).status_code == 422
    assert {path for path in folder.parent.rglob("*") if path.is_file()} == before
