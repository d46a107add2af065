"""AUTOMATIC1111's payloads -> requests: pure functions."""

from __future__ import annotations

import time

import pytest

from studio.api.sdapi.names import (
    SAMPLER_ALIASES,
    SCHEDULE_NAMES,
    find_model,
    find_sampler,
    find_schedule,
    model_title,
)
from studio.api.sdapi.options import Options, changed
from studio.api.sdapi.payloads import Img2ImgPayload, Txt2ImgPayload
from studio.api.sdapi.translate import (
    Installed,
    read_source,
    source_picture,
    translate_img2img,
    translate_txt2img,
)
from studio.core.errors import InvalidRequest, NotFound
from studio.core.geometry import ResizeMode
from studio.core.models import ModelInfo, ModelKind
from studio.core.requests import GenerateRequest, HiresPass, OutputOptions, SourceImage, Variation
from studio.core.samplers import Sampler, Schedule, Upscaler
from tests.api.samples import png, png_base64

HASH = "ab" * 32
DREAM = ModelInfo(
    id="m1",
    name="dream_v2",
    kind=ModelKind.CHECKPOINT,
    location="/models/SD/dream_v2.safetensors",
    sha256=HASH,
)
PLAIN = ModelInfo(id="m2", name="plain", kind=ModelKind.CHECKPOINT, location="/models/plain.ckpt")
SOFT = ModelInfo(id="v1", name="soft", kind=ModelKind.VAE, location="/models/VAE/soft.pt")
INSTALLED = Installed(checkpoints=(DREAM, PLAIN), vaes=(SOFT,))
BLOB = "0" * 64


def txt2img(options=None, **fields):
    return translate_txt2img(Txt2ImgPayload(**fields), options or Options(), INSTALLED)


def img2img(**fields):
    payload = Img2ImgPayload(init_images=[png_base64()], **fields)
    source = read_source(payload, lambda data: BLOB)
    return translate_img2img(payload, source, Options(), INSTALLED)


def test_an_empty_payload_means_a1111s_defaults():
    assert txt2img().request == GenerateRequest(steps=50, sampler=Sampler.EULER)


def test_every_common_field_arrives():
    request = txt2img(
        prompt="a cat",
        negative_prompt="a dog",
        seed=3,
        subseed=4,
        subseed_strength=0.25,
        sampler_name="UniPC",
        scheduler="Beta",
        batch_size=2,
        n_iter=3,
        steps=9,
        cfg_scale=5.5,
        width=320,
        height=256,
    ).request
    assert request == GenerateRequest(
        prompt="a cat",
        negative_prompt="a dog",
        seed=3,
        variation=Variation(seed=4, strength=0.25),
        sampler=Sampler.UNIPC,
        schedule=Schedule.BETA,
        batch_size=2,
        batches=3,
        steps=9,
        guidance_scale=5.5,
        width=320,
        height=256,
    )


def test_nulls_count_as_left_out():
    fields = dict.fromkeys(("prompt", "seed", "steps", "sampler_name", "override_settings", "styles"))
    assert txt2img(**fields).request == txt2img().request


def test_numbers_as_text_are_understood():
    assert txt2img(steps="9", cfg_scale="5").request.steps == 9


@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [
        ("DPM++ 2M Karras", Sampler.DPMPP_2M, Schedule.KARRAS),
        ("k_dpmpp_2m_ka", Sampler.DPMPP_2M, Schedule.KARRAS),
        ("DPM++ 2M SDE Exponential", Sampler.DPMPP_2M_SDE, Schedule.EXPONENTIAL),
        ("dpm++ sde", Sampler.DPMPP_SDE, None),
        ("DPM2 a Karras", Sampler.DPM2_A, Schedule.KARRAS),
        ("k_dpm_2_a_ka", Sampler.DPM2_A, Schedule.KARRAS),
        ("dpmpp_2m_sde_gpu", Sampler.DPMPP_2M_SDE, None),
        ("euler_ancestral", Sampler.EULER_A, None),
        ("Euler A", Sampler.EULER_A, None),
        ("k_euler_a", Sampler.EULER_A, None),
        (" ddim ", Sampler.DDIM, None),
    ],
)
def test_old_names_and_aliases_of_samplers(name, sampler, schedule):
    assert find_sampler(name) == (sampler, schedule)


@pytest.mark.parametrize("sampler", Sampler)
def test_every_sampler_goes_by_its_name_and_all_its_aliases(sampler):
    for spelling in (sampler.value, *SAMPLER_ALIASES[sampler]):
        assert find_sampler(spelling) == (sampler, None)


@pytest.mark.parametrize("schedule", Schedule)
def test_every_schedule_goes_by_name_and_label(schedule):
    assert find_schedule(schedule.value) is find_schedule(SCHEDULE_NAMES[schedule]) is schedule


@pytest.mark.parametrize("name", ["normal", "uniform", "Uniform", "automatic", ""])
def test_a_schedule_that_a1111_calls_otherwise_is_the_samplers_own(name):
    assert txt2img(sampler_name="Euler", scheduler=name).request.schedule is Schedule.AUTOMATIC


@pytest.mark.parametrize(
    ("name", "upscaler"),
    [
        ("Latent (antialiased)", Upscaler.LATENT),
        ("Latent (bicubic)", Upscaler.LATENT),
        ("R-ESRGAN 4x+", Upscaler.LANCZOS),
        ("4x-UltraSharp", Upscaler.LANCZOS),
        ("SwinIR_4x", Upscaler.LANCZOS),
        ("None", Upscaler.LANCZOS),
    ],
)
def test_an_upscaler_that_is_not_there_is_the_nearest_one_with_a_warning(name, upscaler):
    made = txt2img(enable_hr=True, hr_upscaler=name)
    assert made.request.hires.upscaler is upscaler
    assert made.warnings == (f"Easel has no upscaler {name!r}; {upscaler} is used instead.",)
    assert txt2img(hr_upscaler=name).warnings == ()


def test_a_sampler_that_is_not_there_is_its_relative_with_a_warning():
    made = txt2img(sampler_name="DPM++ 3M SDE Karras")
    assert (made.request.sampler, made.request.schedule) == (Sampler.DPMPP_2M_SDE, Schedule.KARRAS)
    assert made.warnings == ("Easel has no sampler 'DPM++ 3M SDE Karras'; DPM++ 2M SDE is used instead.",)


def test_sampler_index_counts_where_sampler_name_is_missing():
    assert txt2img(sampler_index="DDIM").request.sampler is Sampler.DDIM
    assert txt2img(sampler_index="DDIM", sampler_name="LMS").request.sampler is Sampler.LMS


def test_the_schedule_in_a_samplers_name_wins():
    assert txt2img(sampler_name="DPM++ 2M Karras", scheduler="automatic").request.schedule is Schedule.KARRAS


def test_hires_fields_make_the_second_pass():
    request = txt2img(
        enable_hr=True, hr_scale=1.5, hr_second_pass_steps=8, hr_upscaler="Lanczos", denoising_strength=0.4
    ).request
    assert request.hires == HiresPass(scale=1.5, steps=8, upscaler=Upscaler.LANCZOS, strength=0.4)


def test_a_target_size_makes_the_scale():
    assert txt2img(enable_hr=True, hr_resize_x=1024, hr_resize_y=1024).request.hires.scale == 2
    assert txt2img(enable_hr=True, hr_resize_x=768).request.hires.scale == 1.5


def test_hires_fields_mean_nothing_while_it_is_off():
    assert txt2img(hr_scale=99, hr_prompt="other", denoising_strength=0.1).request.hires is None


@pytest.mark.parametrize(("number", "mode"), [*enumerate(ResizeMode)])
def test_image_to_image_has_strength_and_resize_mode(number, mode):
    request = img2img(denoising_strength=0.3, resize_mode=number).request
    assert request.source == SourceImage(image=BLOB, strength=0.3, resize_mode=mode)


def test_the_picture_comes_with_or_without_a_data_url():
    for text in (png_base64(), "data:image/png;base64," + png_base64()):
        assert source_picture(Img2ImgPayload(init_images=[text])) == png()


def test_settings_are_overridden_for_one_call():
    translation = txt2img(
        override_settings={
            "sd_model_checkpoint": "plain",
            "sd_vae": "soft.pt",
            "CLIP_stop_at_last_layers": 2,
            "samples_format": "JPG",
            "jpeg_quality": 70,
        }
    )
    assert translation.request.model == "m2"
    assert translation.request.vae == "v1"
    assert translation.request.clip_skip == 2
    assert translation.request.output == OutputOptions(format="jpeg", quality=70)


def test_options_hold_where_nothing_overrides_them():
    request = txt2img(Options(CLIP_stop_at_last_layers=3, sd_vae="soft")).request
    assert (request.clip_skip, request.vae) == (3, "v1")


@pytest.mark.parametrize(
    "name",
    ["dream_v2", "DREAM_V2", "dream_v2 [ababababab]", "dream_v2.safetensors", "ababababab", HASH, "m1"],
)
def test_a_model_goes_by_all_that_clients_call_it(name):
    assert find_model(name, INSTALLED.checkpoints, "field") is DREAM


def test_of_models_with_one_name_a_title_means_the_one_with_its_hash():
    twins = [DREAM, DREAM.model_copy(update={"id": "m9", "sha256": "cd" * 32})]
    assert [find_model(model_title(each), twins, "field").id for each in twins] == ["m1", "m9"]
    assert find_model("dream_v2 [0123456789]", twins, "field") is DREAM


@pytest.mark.parametrize(
    "name", ["dream", "", "/models/SD/dream_v2.safetensors", "../SD/dream_v2.safetensors"]
)
def test_a_model_never_goes_by_a_path_or_a_part_of_its_name(name):
    with pytest.raises(NotFound):
        find_model(name, INSTALLED.checkpoints, "field")


def test_a_model_without_a_hash_is_not_found_by_an_empty_one():
    with pytest.raises(NotFound):
        find_model("[]", INSTALLED.checkpoints, "field")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sampler_name": "DPM fast"}, "sampler_name"),
        ({"scheduler": "Align Your Steps"}, "scheduler"),
        ({"cfg_scale": 99}, "cfg_scale"),
        ({"n_iter": 0}, "n_iter"),
        ({"seed": -2}, "seed"),
        ({"width": 500}, "width"),
        ({"subseed_strength": 2}, "subseed_strength"),
        ({"script_name": "x/y/z plot"}, "script_name"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True, {"ad_model": "face"}]}}}, "alwayson_scripts"),
        ({"refiner_checkpoint": "refiner"}, "refiner_checkpoint"),
        ({"enable_hr": True, "hr_scale": 9}, "hr_scale"),
        ({"enable_hr": True, "hr_prompt": "another"}, "hr_prompt"),
        ({"enable_hr": True, "hr_sampler_name": "LMS"}, "hr_sampler_name"),
        ({"enable_hr": True, "hr_resize_x": 1024, "hr_resize_y": 768}, "hr_resize_x"),
        ({"override_settings": {"CLIP_stop_at_last_layers": 40}}, "CLIP_stop_at_last_layers"),
        ({"override_settings": {"samples_format": "bmp"}}, "samples_format"),
    ],
)
def test_what_cannot_be_done_is_refused_at_its_field(fields, field):
    with pytest.raises(InvalidRequest) as refused:
        txt2img(**fields)
    assert refused.value.field == field
    assert refused.value.problem.endswith(".")


def test_a_model_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(NotFound) as refused:
        txt2img(override_settings={"sd_model_checkpoint": "gone"})
    assert str(refused.value) == "There is no model called 'gone'. There are dream_v2, plain."
    assert refused.value.field == "override_settings.sd_model_checkpoint"


def test_a_vae_that_is_not_there_where_there_is_none_is_answered_so():
    with pytest.raises(NotFound, match="None is installed") as refused:
        find_model("gone", (), "override_settings.sd_vae")
    assert refused.value.field == "override_settings.sd_vae"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "init_images"),
        ({"init_images": [png_base64()] * 2}, "init_images"),
        ({"init_images": ["no base64!"]}, "init_images"),
        ({"init_images": [""]}, "init_images"),
        ({"init_images": ["data:image/png;base64,"]}, "init_images"),
        ({"init_images": ["http://127.0.0.1/secret.png"]}, "init_images"),
        ({"init_images": ["/etc/passwd"]}, "init_images"),
    ],
)
def test_a_source_that_is_no_single_picture_is_refused(fields, field):
    with pytest.raises(InvalidRequest) as refused:
        source_picture(Img2ImgPayload(**fields))
    assert refused.value.field == field


def test_a_resize_mode_that_is_not_there_is_refused():
    with pytest.raises(InvalidRequest) as refused:
        img2img(resize_mode=4)
    assert refused.value.field == "resize_mode"


def test_a_stretch_of_latents_is_one_of_the_picture_and_says_so():
    translation = img2img(resize_mode=3)
    assert translation.request.source.resize_mode is ResizeMode.STRETCH
    assert translation.warnings == ("resize_mode was 3: the picture is stretched, not its latents.",)


def test_fields_without_a_counterpart_are_ignored_and_named():
    translation = txt2img(
        restore_faces=True,
        tiling=False,
        eta=1.0,
        s_noise=1,
        styles=["cinematic"],
        made_up=1,
        override_settings={"eta_noise_seed_delta": 31337},
    )
    ignored = [warning.split(" ")[0] for warning in translation.warnings]
    assert ignored == ["restore_faces", "made_up", "override_settings.eta_noise_seed_delta", "styles"]


@pytest.mark.parametrize(
    "script", [{}, {"args": []}, {"args": [False]}, {"args": [{"enabled": False}]}, {"args": {}}]
)
def test_scripts_that_are_switched_off_do_not_matter(script):
    assert txt2img(alwayson_scripts={"ControlNet": script}).warnings == ()


@pytest.mark.parametrize("args", [[False, False, {"ad_model": "None"}], [False, "", 0.8]])
def test_the_settings_of_a_script_that_is_switched_off_do_not_matter(args):
    assert txt2img(alwayson_scripts={"ADetailer": {"args": args}}).warnings == ()


def test_changed_options_tell_what_became_of_each():
    changes = changed(
        Options(), {"jpeg_quality": 50, "sd_model_checkpoint": "plain", "show_grid": 1, "sd_vae": None}
    )
    assert changes.options.jpeg_quality == 50
    assert changes.checkpoint == "plain"
    assert changes.updated == ("jpeg_quality", "sd_model_checkpoint")
    assert changes.ignored == ("show_grid",)


def test_a_name_of_spaces_is_looked_up_in_moments():
    begun = time.process_time()
    with pytest.raises(NotFound):
        find_model(f"a{' ' * 200_000}b", INSTALLED.checkpoints, "field")
    assert time.process_time() - begun < 5
