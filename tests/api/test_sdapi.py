"""/sdapi/v1 over HTTP, as any of AUTOMATIC1111's clients calls it."""

from __future__ import annotations

import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.core.errors import NumericalError, OutOfMemory
from studio.core.jobs import JobState
from studio.core.models import ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from tests.api.samples import SMALL, open_base64, png_base64, wait_until

LONG = {**SMALL, "steps": 150}


def post(client, path, **fields):
    return client.post(f"/sdapi/v1/{path}", json=fields)


def get(client, path):
    return client.get(f"/sdapi/v1/{path}").json()


def info_of(reply):
    return json.loads(reply.json()["info"])


@pytest.fixture
def in_background(client):
    """Calls that go on while the test asks other things."""
    threads = []

    def start(path, **fields):
        replies = []
        thread = threading.Thread(target=lambda: replies.append(post(client, path, **fields)))
        thread.start()
        threads.append(thread)
        return replies

    yield start
    for thread in threads:
        thread.join(timeout=10)


def test_txt2img_answers_with_the_pictures_and_all_about_them(client):
    reply = post(client, "txt2img", **SMALL, seed=5, batch_size=2, n_iter=2)
    info = info_of(reply)
    assert [open_base64(each).size for each in reply.json()["images"]] == [(64, 64)] * 4
    assert info["all_seeds"] == [5, 6, 7, 8]
    assert info["all_prompts"] == ["a red ball"] * 4
    assert info["index_of_first_image"] == 0
    assert info["infotexts"][1].startswith("a red ball\nSteps: 3")
    assert len(info["job_timestamp"]) == 14
    assert reply.json()["parameters"]["prompt"] == "a red ball"


def test_the_pictures_are_the_files_of_the_library(client, studio):
    reply = post(client, "txt2img", **SMALL)
    (image,) = info_of(reply)["image_ids"]
    assert open_base64(reply.json()["images"][0]).info["parameters"] == studio.image(image).infotext


def test_send_images_false_leaves_them_in_the_library(client, studio):
    reply = post(client, "txt2img", **SMALL, send_images=False)
    assert reply.json()["images"] == []
    assert studio.images().total == 1
    assert info_of(reply)["all_seeds"] == [studio.images().images[0].seed]


def test_img2img_starts_from_the_picture(client, studio):
    reply = post(client, "img2img", **SMALL, init_images=[png_base64("blue")], denoising_strength=0.5)
    request = studio.images().images[0].request
    assert request.source.strength == 0.5
    assert studio.blob(request.source.image).startswith(b"\x89PNG")
    assert "init_images" not in reply.json()["parameters"]
    assert info_of(reply)["denoising_strength"] == 0.5


def test_img2img_repeats_the_picture_where_asked(client):
    picture = png_base64()
    reply = post(client, "img2img", **SMALL, init_images=[picture], include_init_images=True)
    assert reply.json()["parameters"]["init_images"] == [picture]


def test_the_format_is_an_option(client):
    reply = post(client, "txt2img", **SMALL, override_settings={"samples_format": "jpg"})
    assert open_base64(reply.json()["images"][0]).format == "JPEG"


def test_warnings_name_what_was_ignored(client):
    assert info_of(post(client, "txt2img", **SMALL, tiling=True))["warnings"] == [
        "tiling was ignored: Easel does not have it."
    ]


def test_warnings_tell_what_the_job_noted_as_well(client, studio):
    studio.notes = ("The textual inversion xl is made for SDXL: its name is read as plain text.",)
    warnings = info_of(post(client, "txt2img", **SMALL, tiling=True))["warnings"]
    assert warnings == ["tiling was ignored: Easel does not have it.", *studio.notes]


@pytest.mark.parametrize(("blur", "count"), [(42, 0), (43, 1), (1000, 1)])
def test_warnings_tell_of_a_mask_blur_that_is_too_wide(client, studio, blur, count):
    pictures = {"init_images": [png_base64("blue")], "mask": png_base64("white")}
    warnings = info_of(post(client, "img2img", **SMALL, **pictures, mask_blur=blur))["warnings"]
    assert len(warnings) == count
    assert all(f"mask_blur was {blur}, and 42.7 was taken" in warning for warning in warnings)
    assert studio.images().images[0].request.inpaint.blur == min(3 * blur, 128)
    without_mask = {"init_images": pictures["init_images"], "mask_blur": blur}
    assert info_of(post(client, "img2img", **SMALL, **without_mask))["warnings"] == []


def test_the_task_id_is_the_jobs_id(client, studio):
    post(client, "txt2img", **SMALL, force_task_id="task(abc-1)")
    assert studio.job("task(abc-1)").state == "finished"


@pytest.mark.parametrize("task", ["../../x", "a/b", "a b", "a\x00", "", "x" * 101])
def test_a_task_id_that_is_no_id_is_refused(client, studio, task):
    reply = post(client, "txt2img", **SMALL, force_task_id=task)
    assert (reply.status_code, reply.json()["field"]) == (422, "force_task_id")
    assert studio.jobs() == ()


def test_errors_of_the_plan_carry_the_clients_field(client):
    reply = post(client, "txt2img", **SMALL, sampler_name="DDIM", scheduler="karras")
    assert (reply.status_code, reply.json()["field"]) == (422, "scheduler")


def test_a_job_that_fails_answers_with_its_error(client, studio):
    studio.fail_next = OutOfMemory("It needs 9 GB, and 4 GB are free.", "Make the picture smaller.")
    reply = post(client, "txt2img", **SMALL)
    assert reply.status_code == 503
    assert reply.json()["error"] == "OutOfMemory"
    assert post(client, "txt2img", **SMALL).status_code == 200


def test_a_job_whose_picture_is_no_number_tells_the_client_not_to_try_again(client, studio):
    studio.fail_next = NumericalError("The model's output is not a number (NaN).", "Use fp32.")
    reply = post(client, "txt2img", **SMALL)
    assert (reply.status_code, reply.json()["error"]) == (422, "NumericalError")


def nested(depth):
    return [nested(depth - 1)] if depth else "x"


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"prompt": "a \ud83e"}, "prompt"),
        ({"foo": "\ud800"}, "foo"),
        ({"styles": ["\udfff"]}, "styles"),
        ({"override_settings": {"\ud800": 1}}, "override_settings"),
        ({"alwayson_scripts": {"x": {"args": nested(60)}}}, "alwayson_scripts"),
        ({"foo": nested(60)}, "foo"),
        ({"\ud800": 1}, None),
    ],
)
def test_what_no_reply_could_repeat_is_refused_before_any_work(client, studio, fields, at):
    body = json.dumps({**SMALL, **fields})
    reply = client.post("/sdapi/v1/txt2img", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["field"]) == (422, at)
    assert studio.jobs() == ()


def test_lists_within_lists_are_repeated_as_they_came(client):
    assert post(client, "txt2img", **SMALL, foo=nested(40)).json()["parameters"]["foo"] == nested(40)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("clip_skip", "override_settings.CLIP_stop_at_last_layers"),
        ("source.image", "init_images"),
        ("controls.0.image", "alwayson_scripts.controlnet.args"),
        ("width", "width"),
        (None, None),
    ],
)
def test_a_job_that_fails_names_the_field_as_the_client_does(client, studio, field, told):
    studio.fail_next = OutOfMemory("It needs 9 GB.", field=field)
    assert post(client, "txt2img", **SMALL).json()["field"] == told


def test_idle_is_progress_zero_without_jobs(client):
    reply = get(client, "progress")
    assert reply["progress"] == 0
    assert reply["state"]["job_count"] == 0
    assert reply["current_image"] is None


def test_progress_shows_how_far_the_picture_is(client, in_background):
    in_background("txt2img", **LONG)
    reply = wait_until(lambda: (now := get(client, "progress"))["state"]["sampling_step"] > 2 and now)
    assert 0 < reply["progress"] < 1
    assert reply["eta_relative"] > 0
    assert (reply["state"]["job_count"], reply["state"]["sampling_steps"]) == (1, 150)
    assert open_base64(reply["current_image"]).format == "JPEG"
    assert reply["textinfo"] == "Denoising"
    assert client.get("/sdapi/v1/progress?skip_current_image=true").json()["current_image"] is None
    post(client, "interrupt")


def test_a_job_that_runs_is_never_at_zero(client, studio, in_background):
    studio.step_seconds = 1
    in_background("txt2img", **{**SMALL, "steps": 1})
    wait_until(lambda: studio.jobs() and studio.jobs()[0].state == "running")
    assert get(client, "progress")["progress"] > 0


def test_previews_can_be_switched_off(client, in_background):
    post(client, "options", live_previews_enable=False)
    in_background("txt2img", **LONG)
    reply = wait_until(lambda: (now := get(client, "progress"))["state"]["sampling_step"] > 2 and now)
    assert reply["current_image"] is None
    post(client, "interrupt")


@pytest.mark.parametrize("word", ["interrupt", "skip"])
def test_interrupt_stops_the_running_job_alone(client, studio, in_background, word):
    first = in_background("txt2img", **LONG)
    wait_until(lambda: get(client, "progress")["progress"] > 0)
    second = in_background("txt2img", **SMALL)
    wait_until(lambda: len(studio.jobs()) == 2)
    assert post(client, word).json() == {}
    wait_until(lambda: first and second)
    assert first[0].json()["images"] == []
    assert len(second[0].json()["images"]) == 1


def test_an_interrupted_call_answers_with_the_pictures_that_were_finished(client, studio, in_background):
    answers = in_background("txt2img", **LONG, n_iter=4, seed=7)
    wait_until(lambda: studio.jobs() and studio.jobs()[0].images)
    post(client, "interrupt")
    wait_until(lambda: answers)
    info, images = info_of(answers[0]), answers[0].json()["images"]
    assert studio.jobs()[0].state is JobState.CANCELLED
    assert 1 <= len(images) < 4
    assert info["all_seeds"] == list(range(7, 7 + len(images)))
    assert [open_base64(image).info["parameters"] for image in images] == info["infotexts"]


def test_interrupt_leaves_waiting_jobs_alone(client, studio):
    studio.ready = False
    job = client.post("/studio/v1/jobs", json={"kind": "generate", **SMALL}).json()
    assert get(client, "progress")["state"]["job_count"] == 1
    post(client, "interrupt")
    assert studio.job(job["id"]).state == "queued"


def test_interrupt_does_nothing_to_an_idle_studio(client):
    assert post(client, "interrupt").json() == {}
    assert len(post(client, "txt2img", **SMALL).json()["images"]) == 1


def test_a_client_that_goes_away_loses_no_picture(port, studio):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"http://127.0.0.1:{port}/sdapi/v1/txt2img", json={**SMALL, "steps": 60}, timeout=0.15)
    wait_until(lambda: studio.images().total == 1)


def test_waiting_calls_leave_the_server_free_to_answer(port, studio):
    url = f"http://127.0.0.1:{port}/sdapi/v1"
    studio.step_seconds = 0.03
    payload = {**SMALL, "steps": 2}
    with (
        httpx.Client(timeout=60, limits=httpx.Limits(max_connections=60)) as http,
        ThreadPoolExecutor(max_workers=45) as pool,
    ):
        for _ in range(45):
            pool.submit(http.post, f"{url}/txt2img", json=payload)
        wait_until(lambda: len(studio.jobs()) > 42)
        assert http.get(f"{url}/progress", timeout=5).json()["state"]["job_count"] == 1
    assert studio.images().total == 45


def test_png_info_reads_a_file_of_ours(client):
    picture = post(client, "txt2img", **SMALL, seed=9).json()["images"][0]
    reply = post(client, "png-info", image=f"data:image/png;base64,{picture}").json()
    assert reply["info"].startswith("a red ball\nSteps: 3")
    assert reply["items"]["parameters"] == reply["info"]
    assert (reply["parameters"]["Seed"], reply["parameters"]["Size-1"]) == ("9", "64")


def test_png_info_tells_every_key_of_the_last_line(client):
    text = (
        "a ball <lora:water:0.5>\nNegative prompt: a box\nSteps: 3, Sampler: Euler, CFG scale: 7, Seed: 1, "
        'Size: 64x96, Mask blur: 4, Hires resize: 128x192, GLIGEN: "{\\"boxes\\": []}", Version: v1.10'
    )
    note, file = PngInfo(), io.BytesIO()
    note.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=note)
    reply = post(client, "png-info", image=base64.b64encode(file.getvalue()).decode()).json()
    assert reply["parameters"] == {
        "Prompt": "a ball <lora:water:0.5>",
        "Negative prompt": "a box",
        "Steps": "3",
        "Sampler": "Euler",
        "Schedule type": "Automatic",
        "CFG scale": "7",
        "Seed": "1",
        "Size-1": "64",
        "Size-2": "96",
        "Clip skip": "1",
        "Mask blur": "4",
        "Hires resize-1": "128",
        "Hires resize-2": "192",
        "GLIGEN": '{"boxes": []}',
        "Version": "v1.10",
    }


def test_png_info_of_a_plain_picture_is_empty(client):
    assert post(client, "png-info", image=png_base64()).json() == {"info": "", "items": {}, "parameters": {}}


def test_png_info_of_no_picture_is_refused(client):
    assert post(client, "png-info", image="aGVsbG8=").status_code == 422


def test_the_whole_options_object_can_be_posted_back(client, studio):
    options = get(client, "options")
    reply = client.post("/sdapi/v1/options", json=options)
    assert reply.json()["ignored"] == []
    assert get(client, "options") == options


def test_an_option_switches_the_model(client, studio):
    post(client, "options", sd_model_checkpoint="Large XL")
    assert studio.active_model == "fake/large"
    assert get(client, "options")["sd_model_checkpoint"] == "Large XL"


@pytest.mark.parametrize(
    ("wishes", "status", "field"),
    [
        ({"sd_model_checkpoint": "gone"}, 404, "sd_model_checkpoint"),
        ({"sd_model_checkpoint": "Broken"}, 422, "model"),
        ({"sd_vae": "gone"}, 404, "sd_vae"),
        ({"CLIP_stop_at_last_layers": 0}, 422, "CLIP_stop_at_last_layers"),
        ({"samples_format": 7}, 422, "samples_format"),
    ],
)
def test_options_that_cannot_be_are_refused_and_nothing_changes(client, wishes, status, field):
    before = get(client, "options")
    reply = client.post("/sdapi/v1/options", json={"jpeg_quality": 10, **wishes})
    assert (reply.status_code, reply.json()["field"]) == (status, field)
    assert get(client, "options") == before


@pytest.mark.parametrize("wishes", [{"\ud800": 1}, {"foo": "\ud800"}, {"foo": nested(60)}])
def test_options_that_no_reply_could_repeat_are_refused(client, wishes):
    body = json.dumps(wishes)
    reply = client.post("/sdapi/v1/options", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422


def test_overridden_settings_stay_only_where_asked(client, studio):
    wish = {"sd_model_checkpoint": "Large XL", "CLIP_stop_at_last_layers": 2}
    post(client, "txt2img", **SMALL, override_settings=wish)
    assert studio.active_model == "fake/toytown"
    post(client, "txt2img", **SMALL, override_settings=wish, override_settings_restore_afterwards=False)
    assert studio.active_model == "fake/large"
    assert get(client, "options")["CLIP_stop_at_last_layers"] == 2


def test_checkpoints_are_listed_with_title_and_hash(client, studio):
    digest = "0123456789abcdef" * 4
    studio.model_list.insert(
        0, ModelInfo(id="h", name="hashed", kind=ModelKind.CHECKPOINT, location="m/h.ckpt", sha256=digest)
    )
    rows = get(client, "sd-models")
    assert rows[0] == {
        "title": "hashed [0123456789]",
        "model_name": "hashed",
        "hash": "0123456789",
        "sha256": digest,
        "filename": "m/h.ckpt",
        "config": None,
    }
    assert "Broken" not in [row["model_name"] for row in rows]


def test_every_title_of_the_list_switches_to_its_model(client):
    for row in get(client, "sd-models"):
        post(client, "options", sd_model_checkpoint=row["title"])
        assert get(client, "options")["sd_model_checkpoint"] == row["title"]


def test_every_listed_sampler_alias_and_schedule_is_accepted(client):
    for row in get(client, "samplers"):
        for name in (row["name"], *row["aliases"]):
            assert post(client, "txt2img", **{**SMALL, "steps": 1}, sampler_name=name).status_code == 200
    for row in get(client, "schedulers"):
        reply = post(client, "txt2img", **{**SMALL, "steps": 1}, sampler_name="Heun", scheduler=row["name"])
        assert reply.status_code == 200


def test_every_listed_upscaler_is_accepted(client):
    rows = get(client, "upscalers") + get(client, "latent-upscale-modes")
    assert len(rows) == 4
    for row in rows:
        reply = post(client, "txt2img", **{**SMALL, "steps": 1}, enable_hr=True, hr_upscaler=row["name"])
        assert reply.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "prompt-styles",
        "face-restorers",
        "realesrgan-models",
        "script-info",
        "extensions",
    ],
)
def test_what_is_not_there_is_an_empty_list(client, path):
    assert get(client, path) == []


def test_the_machine_tells_about_itself(client):
    names = ["controlnet", "gligen"]
    assert get(client, "scripts") == {"txt2img": names, "img2img": names}
    assert get(client, "cmd-flags")["api"] is True
    memory = get(client, "memory")
    assert memory["ram"]["total"] == memory["ram"]["free"] + memory["ram"]["used"]
    assert "error" in memory["cuda"]
    assert client.get("/internal/ping").json() == {}


def test_a_gpu_tells_of_its_memory(client, studio, monkeypatch):
    status = studio.status().model_copy(update={"device": "cuda:0"})
    monkeypatch.setattr(studio, "status", lambda: status)
    cuda = get(client, "memory")["cuda"]["system"]
    assert cuda["total"] == cuda["free"] + cuda["used"] > 0


@pytest.mark.parametrize(
    "path",
    [
        "refresh-checkpoints",
        "refresh-vae",
        "refresh-loras",
        "refresh-embeddings",
        "unload-checkpoint",
        "reload-checkpoint",
    ],
)
def test_small_commands_answer(client, path):
    assert client.post(f"/sdapi/v1/{path}").json() == {}


def test_the_request_in_the_library_is_the_one_that_the_payload_means(client, studio):
    post(client, "txt2img", **SMALL, seed=3, sampler_name="DPM++ 2M Karras", cfg_scale=4)
    assert studio.images().images[0].request == GenerateRequest(
        **SMALL, seed=3, sampler="DPM++ 2M", schedule="Karras", guidance_scale=4, model="fake/toytown"
    )
