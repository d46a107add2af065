"""The PyPI client `webuiapi`, unchanged, against a real server."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import webuiapi
from PIL import Image

from studio.api.app import create_app
from tests.api.samples import wait_until

SMALL = {"width": 64, "height": 64, "steps": 3}


@pytest.fixture
def api(port):
    return webuiapi.WebUIApi(host="127.0.0.1", port=port)


@pytest.fixture
def picture():
    return Image.new("RGB", (64, 64), "blue")


def test_txt2img(api):
    result = api.txt2img(prompt="a red ball", negative_prompt="a box", seed=4, batch_size=2, **SMALL)
    assert [each.size for each in result.images] == [(64, 64)] * 2
    assert result.info["all_seeds"] == [4, 5]
    assert result.info["warnings"] == []
    assert result.parameters["negative_prompt"] == "a box"


def test_txt2img_with_a_hires_pass(api, studio):
    api.txt2img(
        prompt="x", enable_hr=True, hr_scale=1.5, hr_upscaler=webuiapi.HiResUpscaler.LatentNearest, **SMALL
    )
    assert studio.images().images[0].request.hires.scale == 1.5


def test_img2img(api, picture, studio):
    result = api.img2img(images=[picture], prompt="a blue house", denoising_strength=0.5, **SMALL)
    assert result.image.size == (64, 64)
    assert result.info["warnings"] == []
    assert studio.images().images[0].request.source.strength == 0.5


def test_img2img_with_a_mask(api, picture, studio):
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    result = api.img2img(
        images=[picture], mask_image=mask, mask_blur=2, inpainting_fill=3, inpaint_full_res_padding=24,
        inpainting_mask_invert=1, denoising_strength=0.6, **SMALL,
    )  # fmt: skip
    assert result.info["warnings"] == []
    request = studio.images().images[0].request
    inpaint = request.inpaint
    assert (inpaint.content, inpaint.area, inpaint.padding) == ("latent nothing", "only masked", 24)
    assert (inpaint.blur, inpaint.invert, inpaint.soft) == (6, True, False)
    assert Image.open(io.BytesIO(studio.blob(inpaint.mask))).size == (64, 64)
    assert request.source.strength == 0.6


def test_a_mask_without_a_number_for_its_content_is_refused(api, picture):
    with pytest.raises(RuntimeError, match="inpainting_fill must be 0"):
        api.img2img(images=[picture], mask_image=picture, inpainting_fill=4, **SMALL)


def test_boxes_as_a_script(api, picture, studio):
    box = {"phrase": "a red ball", "box": [0.1, 0.4, 0.5, 0.9]}
    scripts = {"gligen": {"args": [{"boxes": [box], "beta": 0.5}]}}
    result = api.txt2img(prompt="x", alwayson_scripts=scripts, **SMALL)
    assert result.info["warnings"] == []
    boxes = studio.images().images[0].request.boxes
    assert (boxes.share, boxes.boxes[0].phrase) == (0.5, "a red ball")
    assert boxes.boxes[0].box.y1 == 0.9
    api.img2img(images=[picture], alwayson_scripts=scripts, **SMALL)
    assert studio.images().images[0].request.boxes == boxes


def units(**fields):
    """Arguments for one unit; without a dictionary of its own, webuiapi keeps the unit for later calls."""
    return {"controlnet_units": [webuiapi.ControlNetUnit(**fields)], "alwayson_scripts": {}}


def test_txt2img_with_a_controlnet(api, picture, studio):
    picture.paste("white", (16, 16, 48, 48))  # one of one colour has no edges, and is refused
    unit = units(
        image=picture, module="canny", model="Town Canny", weight=0.8, guidance_end=0.7, control_mode=1,
        threshold_a=50, threshold_b=90, resize_mode="Crop and Resize",
    )  # fmt: skip
    result = api.txt2img(prompt="x", **unit, **SMALL)
    assert result.info["warnings"] == []
    (control,) = studio.images().images[0].request.controls
    assert (control.weight, control.end, control.mode) == (0.8, 0.7, "prompt")
    assert (control.preprocessor.low, control.preprocessor.high) == (50, 90)


def test_img2img_with_a_controlnet_that_follows_the_same_picture(api, picture, studio):
    api.img2img(images=[picture], prompt="x", **units(module="none", model="Town Canny"), **SMALL)
    request = studio.images().images[0].request
    assert request.controls[0].image == request.source.image
    assert request.controls[0].preprocessor is None


def test_a_unit_that_names_nothing_is_refused_and_one_that_is_off_is_not_read(api, picture):
    with pytest.raises(RuntimeError, match=r"no model called .*nowhere"):
        api.txt2img(**units(image=picture, model="nowhere [12345678]"), **SMALL)
    api.txt2img(**units(enabled=False, model="nowhere"), **SMALL)


def test_png_info(api):
    made = api.txt2img(prompt="a red ball", seed=4, **SMALL).image
    assert api.png_info(made).info.startswith("a red ball")


def test_options_and_models(api):
    assert api.util_get_model_names() == ["Large XL", "Toytown"]
    api.util_set_model("large")
    assert api.util_get_current_model() == "Large XL"
    api.set_options({"sd_model_checkpoint": "Toytown", "samples_format": "webp"})
    assert api.txt2img(prompt="x", **SMALL).image.format == "WEBP"
    assert api.get_options()["sd_model_checkpoint"] == "Toytown"


def test_progress_interrupt_and_waiting_until_idle(api, port):
    with ThreadPoolExecutor() as pool:
        call = pool.submit(webuiapi.WebUIApi(port=port).txt2img, prompt="x", width=64, height=64, steps=150)
        wait_until(lambda: api.get_progress()["progress"] > 0.01)
        assert api.interrupt() == {}
        assert call.result(timeout=10).images == []
    api.util_wait_for_ready(check_interval=0.05)
    assert api.get_progress()["state"]["job_count"] == 0
    assert api.skip() == {}


@pytest.mark.parametrize(
    "method",
    [
        "get_samplers",
        "get_schedulers",
        "get_upscalers",
        "get_latent_upscale_modes",
        "get_sd_models",
        "get_sd_vae",
        "get_memory",
        "get_cmd_flags",
        "get_scripts",
        "get_embeddings",
        "get_loras",
        "get_hypernetworks",
    ],
)
def test_what_there_is(api, method):
    assert getattr(api, method)()


@pytest.mark.parametrize(
    "method",
    ["get_face_restorers", "get_realesrgan_models", "get_prompt_styles"],
)
def test_what_there_is_not(api, method):
    assert getattr(api, method)() == []


def test_a_lora_found_in_the_list_is_called_in_a_prompt(api, studio):
    name = api.get_loras()[0]["name"]
    api.txt2img(prompt=f"a red ball <lora:{name}:0.8>", **SMALL)
    assert studio.images().images[0].request.prompt == "a red ball <lora:Watercolour:0.8>"


def test_names_for_menus(api):
    assert "DPM++ 2M" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()


def test_refreshing(api):
    assert api.refresh_checkpoints() == {}


def test_extensions_are_looked_for_and_not_found(api):
    assert (api.has_controlnet, api.has_adetailer, api.has_animatediff) == (False, False, False)


def test_the_password(serve, studio, settings):
    port = serve(create_app(studio, settings.model_copy(update={"auth": ("ada", "secret")})))
    inside = webuiapi.WebUIApi(port=port, username="ada", password="secret")
    assert inside.txt2img(prompt="x", **SMALL).image.size == (64, 64)
    with pytest.raises(RuntimeError, match="401"):
        webuiapi.WebUIApi(port=port).txt2img(prompt="x", **SMALL)
