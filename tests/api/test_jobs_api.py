"""/studio/v1/jobs: the queue over HTTP."""

from __future__ import annotations

import json

import httpx
import pytest

from studio.core.errors import OutOfMemory
from studio.core.events import event
from studio.core.jobs import JobView
from studio.core.requests import GenerateRequest
from tests.api.samples import JOB, run_job, wait_until

LONG = {**JOB, "steps": 150}


def events_of(response: httpx.Response):
    """The events of a whole stream."""
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [event.validate_json(each) for each in data]


def test_a_request_becomes_a_job_with_model_and_seed_filled_in(client):
    reply = client.post("/studio/v1/jobs", json={"kind": "generate", "prompt": "a cat"})
    job = JobView.model_validate(reply.json())
    assert reply.status_code == 201
    assert reply.headers["location"] == f"/studio/v1/jobs/{job.id}"
    assert isinstance(job.request, GenerateRequest)
    assert job.request.model == "fake/toytown"
    assert job.request.seed >= 0


def test_an_install_is_a_job_as_well(client):
    job = client.post("/studio/v1/jobs", json={"kind": "install", "repo": "fake-org/taesd"}).json()
    assert job["request"]["repo"] == "fake-org/taesd"


def test_a_finished_job_names_its_images(client):
    job = run_job(client)
    assert job["state"] == "finished"
    assert client.get(f"/studio/v1/images/{job['images'][0]}").json()["seed"] == 7


def test_the_list_has_running_jobs_first(client, studio):
    ended = run_job(client)
    running = client.post("/studio/v1/jobs", json=LONG).json()
    waiting = client.post("/studio/v1/jobs", json=LONG).json()
    wait_until(lambda: studio.job(running["id"]).state == "running")
    listed = [job["id"] for job in client.get("/studio/v1/jobs").json()]
    assert listed == [running["id"], waiting["id"], ended["id"]]


def test_deleting_a_running_job_cancels_it(client, studio):
    job = client.post("/studio/v1/jobs", json=LONG).json()
    wait_until(lambda: studio.job(job["id"]).state == "running")
    client.delete(f"/studio/v1/jobs/{job['id']}")
    wait_until(lambda: studio.job(job["id"]).state == "cancelled")


def test_an_ended_job_is_dismissed_and_brought_back(client):
    path = f"/studio/v1/jobs/{run_job(client)['id']}"
    for dismissed in (True, False):
        assert client.patch(path, json={"dismissed": dismissed}).json()["dismissed"] is dismissed
        assert client.get(path).json()["dismissed"] is dismissed


def test_a_waiting_job_cannot_be_dismissed(client):
    client.post("/studio/v1/jobs", json=LONG)
    waiting = client.post("/studio/v1/jobs", json=LONG).json()
    reply = client.patch(f"/studio/v1/jobs/{waiting['id']}", json={"dismissed": True})
    assert reply.status_code == 422
    assert "Cancel it first" in reply.json()["message"]


def test_a_retry_is_a_new_job_with_the_same_request(client):
    first = run_job(client)
    second = client.post(f"/studio/v1/jobs/{first['id']}/retry").json()
    assert second["id"] != first["id"]
    assert second["request"] == first["request"]


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"width": 100}, "width", "The field width must be a multiple of 8, and is 100."),
        ({"width": 8}, "width", "The field width must be at least 64, and is 8."),
        ({"steps": "many"}, "steps", "The field steps must be a whole number, and is 'many'."),
        ({"sampler": "bogo"}, "sampler", "The field sampler must be one of 'DPM++ 2M', "),
        ({"hires": {"scale": 9}}, "hires.scale", "The field hires.scale must be at most 4.0, and is 9."),
        ({"colour": "red"}, "colour", "There is no field colour here."),
        ({"kind": "dance"}, "kind", "The field kind must be one of 'generate', 'install', 'preprocess', and"),
        ({"source": {}}, "source.image", "The field source.image is missing."),
        ({"source": {"image": "../x"}}, "source.image", "The field source.image must match"),
        ({"prompt": "(("}, "prompt", "Character 2: The bracket ( is never closed."),
        ({"sampler": "DDIM", "schedule": "Karras"}, "schedule", "DDIM cannot follow the Karras schedule."),
        ({"vae": "fake/vae-xl"}, "vae", "The VAE XL VAE is for SDXL, but Toytown is SD 1.x."),
    ],
)
def test_a_bad_field_gets_a_sentence_and_its_name(client, change, field, sentence):
    reply = client.post("/studio/v1/jobs", json={**JOB, **change})
    assert reply.status_code == 422
    assert reply.json()["field"] == field
    assert reply.json()["message"].startswith(sentence)


def test_several_bad_fields_are_told_together(client):
    message = client.post("/studio/v1/jobs", json={**JOB, "width": 1, "steps": 0}).json()["message"]
    assert "width" in message
    assert "steps" in message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"kind":', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_request_is_refused(client, body):
    reply = client.post("/studio/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422)
    assert reply.json()["message"]


@pytest.mark.parametrize("path", ["/studio/v1/jobs", "/sdapi/v1/txt2img"])
@pytest.mark.parametrize("body", ["{", '{"prompt": "a", }', "[1,"])
def test_a_body_that_is_no_json_names_no_field(client, path, body):
    reply = client.post(path, content=body, headers={"content-type": "application/json"}).json()
    assert reply["field"] is None
    assert reply["message"].startswith("The body is no valid JSON: ")


@pytest.mark.parametrize("path", ["/studio/v1/jobs", "/sdapi/v1/txt2img"])
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[" * 100_000, "its lists and objects are nested too deeply"),
        (b'{"prompt": "\xe9"}', "it is not in UTF-8"),
        (b'{"steps": ' + b"9" * 5000 + b"}", "a number in it has too many digits"),
    ],
)
def test_a_body_that_python_cannot_read_says_why(client, path, body, why):
    reply = client.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert reply.json()["message"] == f"The body is no valid JSON: {why}."


def test_half_a_character_is_refused_in_words(client):
    body = json.dumps({**JOB, "prompt": "a \ud83e"})
    reply = client.post("/studio/v1/jobs", content=body, headers={"content-type": "application/json"}).json()
    assert reply["field"] == "prompt"
    assert reply["message"].startswith("The field prompt must be text of whole characters, and is ")


@pytest.mark.parametrize("prompt", ["\ud800", "a\x00b", "x" * 20_001, "𝕳" * 20_000])
def test_odd_prompts_never_break_the_server(client, prompt):
    body = json.dumps({**JOB, "prompt": prompt})
    reply = client.post("/studio/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in (201, 422)


def test_a_full_queue_answers_503(client, studio):
    studio.max_queue = 1
    replies = [client.post("/studio/v1/jobs", json=LONG) for _ in range(3)]
    assert replies[-1].status_code == 503
    assert replies[-1].json()["error"] == "QueueFull"


def test_unknown_jobs_are_404(client):
    for reply in (
        client.get("/studio/v1/jobs/nothing"),
        client.get("/studio/v1/jobs/nothing/events"),
        client.delete("/studio/v1/jobs/nothing"),
        client.post("/studio/v1/jobs/nothing/retry"),
        client.patch("/studio/v1/jobs/nothing", json={"dismissed": True}),
    ):
        assert reply.status_code == 404
        assert reply.json()["error"] == "NotFound"


def test_events_come_in_order_and_end_with_the_terminal_one(client):
    job = client.post("/studio/v1/jobs", json=JOB).json()
    reply = client.get(f"/studio/v1/jobs/{job['id']}/events")
    events = events_of(reply)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert [each.number for each in events] == sorted({each.number for each in events})
    assert {"queued", "started", "progress", "preview"} <= {each.type for each in events}
    assert events[-1].type == "finished"


@pytest.mark.parametrize(
    "resume",
    [{"params": {"after": 2}}, {"headers": {"Last-Event-ID": "2"}}],
    ids=["after", "Last-Event-ID"],
)
def test_events_resume_after_the_last_one_seen(client, resume):
    job = run_job(client)
    events = events_of(client.get(f"/studio/v1/jobs/{job['id']}/events", **resume))
    assert min(each.number for each in events) > 2
    assert events[-1].type == "finished"


def test_a_failure_is_an_event_with_its_class_and_message(client, studio):
    studio.fail_next = OutOfMemory("It needs 9 GB, and 4 GB are free.", "Make the picture smaller.")
    job = client.post("/studio/v1/jobs", json=JOB).json()
    last = events_of(client.get(f"/studio/v1/jobs/{job['id']}/events"))[-1]
    assert (last.type, last.error) == ("failed", "OutOfMemory")
    assert last.message == "It needs 9 GB, and 4 GB are free. Make the picture smaller."


def test_the_stream_of_a_live_server_flows_while_the_job_runs(port, studio):
    base = f"http://127.0.0.1:{port}/studio/v1/jobs"
    job = httpx.post(base, json=LONG).json()
    with httpx.stream("GET", f"{base}/{job['id']}/events", timeout=10) as stream:
        first = next(line for line in stream.iter_lines() if line == "event: progress")
        assert first
        assert not studio.job(job["id"]).is_over


def test_a_silent_stream_shows_that_it_lives(studio, settings, serve):
    from studio.api.app import create_app
    from studio.api.follow import Followers

    app = create_app(studio, settings)
    app.state.followers = Followers(studio, patience=0.05)
    studio.step_seconds = 0.3
    base = f"http://127.0.0.1:{serve(app)}/studio/v1/jobs"
    job = httpx.post(base, json=JOB).json()
    with httpx.stream("GET", f"{base}/{job['id']}/events", timeout=10) as stream:
        lines = list(stream.iter_lines())
    assert any(line.startswith(":") for line in lines)
    numbers = [line for line in lines if line.startswith("id: ")]
    assert len(numbers) == len(set(numbers)), "an event came again after the silence"


def test_many_silent_streams_leave_the_server_free_to_answer(port, studio):
    studio.step_seconds = 0.5
    base = f"http://127.0.0.1:{port}/studio/v1/jobs"
    job = httpx.post(base, json=JOB).json()
    with httpx.Client(timeout=5, limits=httpx.Limits(max_connections=100)) as http:
        streams = [
            http.send(http.build_request("GET", f"{base}/{job['id']}/events"), stream=True) for _ in range(60)
        ]
        assert http.get(f"http://127.0.0.1:{port}/studio/v1/status").status_code == 200
        for stream in streams:
            stream.close()
