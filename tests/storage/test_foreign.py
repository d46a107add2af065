"""Files of other studios, with their settings written where and how those studios write them."""

import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.core.conditions import LoraInput
from studio.core.errors import InvalidRequest
from studio.core.models import ModelKind
from studio.core.samplers import Sampler, Schedule
from studio.storage.importing import import_settings
from studio.storage.pictures import read_embedded

COMFYUI_GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 42, "steps": 25, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras",
            "denoise": 1.0, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15/dream.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red ball", "clip": ["11", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["11", 0]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["12", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "ComfyUI"}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "style.safetensors", "strength_model": 0.8, "strength_clip": 1.0,
            "model": ["4", 0], "clip": ["4", 1],
        },
    },
    "11": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["10", 1]}},
    "12": {"class_type": "VAELoader", "inputs": {"vae_name": "soft.safetensors"}},
}  # fmt: skip

COMFYUI_WORKFLOW = {
    "links": [
        [1, 4, 0, 10, 0, "MODEL"], [2, 10, 0, 3, 0, "MODEL"], [3, 6, 0, 3, 1, "CONDITIONING"],
        [4, 7, 0, 3, 2, "CONDITIONING"], [5, 5, 0, 3, 3, "LATENT"], [6, 4, 1, 10, 1, "CLIP"],
        [7, 10, 1, 11, 0, "CLIP"], [8, 11, 0, 6, 0, "CLIP"], [9, 11, 0, 7, 0, "CLIP"],
        [10, 3, 0, 8, 0, "LATENT"], [11, 12, 0, 8, 1, "VAE"], [12, 8, 0, 9, 0, "IMAGE"],
    ],
    "version": 0.4,
}  # fmt: skip

INVOKEAI = {
    "app_version": "4.2.7", "generation_mode": "txt2img", "positive_prompt": "a red ball",
    "negative_prompt": "blurry", "width": 768, "height": 512, "seed": 42, "rand_device": "cpu",
    "cfg_scale": 6.5, "cfg_rescale_multiplier": 0, "steps": 25, "scheduler": "dpmpp_2m_k", "clip_skip": 1,
    "model": {"key": "0a1b", "hash": "blake3:00", "name": "dream", "base": "sd-1", "type": "main"},
    "vae": {"key": "1b2c", "hash": "blake3:01", "name": "soft", "base": "sd-1", "type": "vae"},
    "loras": [], "controlnets": [],
}  # fmt: skip

FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "dream", "base_model_hash": "0123456789",
    "clip_skip": 2, "full_negative_prompt": ["blurry", "ugly"], "full_prompt": ["cinematic a red ball"],
    "guidance_scale": 6.5, "loras": [["style.safetensors", 0.1, "abc"]], "metadata_scheme": "fooocus",
    "negative_prompt": "blurry", "performance": "Speed", "prompt": "a red ball", "refiner_model": "None",
    "refiner_switch": 0.5, "resolution": "(768, 512)", "sampler": "dpmpp_2m", "scheduler": "karras",
    "seed": "42", "sharpness": 2, "steps": 25, "styles": "['Fooocus V2']", "vae": "soft",
    "version": "Fooocus v2.5.5",
}  # fmt: skip

NOVELAI = {
    "Title": "AI generated image", "Software": "NovelAI", "Source": "Stable Diffusion 81274D13",
    "Description": "a red ball",
    "Comment": json.dumps({
        "steps": 25, "sampler": "k_dpmpp_2m", "seed": 42, "strength": 0.7, "noise": 0.2, "scale": 6.5,
        "uc": "blurry", "width": 768, "height": 512, "noise_schedule": "karras", "sm": False,
    }),
}  # fmt: skip

A1111 = (
    "a red ball\nNegative prompt: blurry\nSteps: 25, Sampler: DPM++ 2M, Schedule type: Karras,"
    " CFG scale: 6.5, Seed: 42, Size: 768x512, Model hash: 0123456789, Model: dream,"
    " VAE: soft.safetensors, Clip skip: 2,"
)

CATALOGUE = {("dream", ModelKind.CHECKPOINT): "dream-id", ("soft", ModelKind.VAE): "soft-id"}


def resolve(name, digits, kind):
    return CATALOGUE.get((name.removesuffix(".safetensors"), kind))


def png(texts):
    chunks = PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def with_exif(format, tags=(), comment=""):
    exif = Image.Exif()
    for tag, text in tags:
        exif[tag] = text
    if comment:
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + comment.encode("utf-16-be")
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format, exif=exif)
    return file.getvalue()


def settings_of(data):
    return import_settings(read_embedded(data, max_pixels=1000), resolve)


COMFYUI_PNG = {"prompt": json.dumps(COMFYUI_GRAPH), "workflow": json.dumps(COMFYUI_WORKFLOW)}

FILES = {
    "AUTOMATIC1111": png({"parameters": f"{A1111} Version: v1.10.1"}),
    "AUTOMATIC1111 JPEG": with_exif("JPEG", comment=f"{A1111} Version: v1.10.1"),
    "AUTOMATIC1111 WebP": with_exif("WEBP", comment=f"{A1111} Version: v1.10.1"),
    "SD.Next": png({"parameters": f"{A1111} App: SD.Next, Version: 894e15d, Operations: txt2img"}),
    "ComfyUI": png(COMFYUI_PNG),
    "ComfyUI API": png({"prompt": json.dumps(COMFYUI_GRAPH)}),
    "ComfyUI WebP": with_exif(
        "WEBP", [(0x0110, f"prompt:{COMFYUI_PNG['prompt']}"), (0x010F, f"workflow:{COMFYUI_PNG['workflow']}")]
    ),
    "InvokeAI": png({"invokeai_metadata": json.dumps(INVOKEAI), "invokeai_graph": "{}"}),
    "Fooocus": png({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}),
    "Fooocus JPEG": with_exif("JPEG", comment=json.dumps(FOOOCUS)),
    "NovelAI": png(NOVELAI),
}


@pytest.mark.parametrize("studio", FILES)
def test_every_setting_that_a_studio_writes_is_taken_over(studio):
    settings = settings_of(FILES[studio])
    request = settings.request
    assert settings.source == studio.split()[0]
    assert (request.prompt, request.negative_prompt) == ("a red ball", "blurry")
    assert (request.width, request.height, request.seed) == (768, 512, 42)
    assert (request.steps, request.guidance_scale) == (25, 6.5)
    assert (request.sampler, request.schedule) == (Sampler.DPMPP_2M, Schedule.KARRAS)
    if studio != "NovelAI":  # which names neither
        assert (request.model, request.vae, request.clip_skip) == ("dream-id", "soft-id", 2)


def test_older_invokeai_files_name_their_model_differently():
    old = {**INVOKEAI, "model": {"model_name": "dream", "base_model": "sd-1", "model_type": "main"}}
    assert settings_of(png({"invokeai_metadata": json.dumps(old)})).request.model == "dream-id"


def test_legacy_invokeai_files_are_read():
    dream = '"a red ball [blurry]" -s 25 -S 42 -W 768 -H 512 -C 6.5 -A k_lms'
    settings = settings_of(png({"Dream": dream}))
    assert settings.request.sampler is Sampler.LMS
    assert (settings.request.prompt, settings.request.negative_prompt) == ("a red ball", "blurry")
    assert (settings.request.width, settings.request.seed) == (768, 42)


def test_invokeai_sd_metadata_files_are_read():
    metadata = {
        "model_weights": "dream",
        "app_version": "2.3.5",
        "image": {
            "prompt": [{"prompt": "a red ball", "weight": 1.0}], "steps": 25, "cfg_scale": 6.5, "seed": 42,
            "width": 768, "height": 512, "sampler": "k_euler_a", "type": "txt2img",
        },
    }  # fmt: skip
    request = settings_of(png({"sd-metadata": json.dumps(metadata)})).request
    assert (request.prompt, request.model, request.sampler) == ("a red ball", "dream-id", Sampler.EULER_A)


@pytest.mark.parametrize(
    ("studio", "warning"),
    [
        ("ComfyUI", "The LoRA 'style' is not here; it was left out."),
        ("Fooocus", "styles (['Fooocus V2'])"),
        ("NovelAI", "The checkpoint 'Stable Diffusion' is not here"),
    ],
)
def test_what_cannot_be_taken_over_is_named(studio, warning):
    assert warning in " ".join(settings_of(FILES[studio]).warnings)


INVOKEAI_LORAS = {
    "new": [{"model": {"key": "0a", "name": "style", "base": "sd-1", "type": "lora"}, "weight": 0.75}],
    "old": [{"lora": {"model_name": "style", "base_model": "sd-1"}, "weight": 0.75}],
}
COMFYUI_STACKS = {
    "ModelOnly": (
        {"lora_name": "sd15\\style.safetensors", "strength_model": 0.75},
        {"text_encoder_weight": 0},
    ),
    "Power": (
        {
            "lora_1": {"on": True, "lora": "style.safetensors", "strength": 0.75},
            "lora_2": {"on": False, "lora": "style.safetensors", "strength": 1},
        },
        {},
    ),
}
WITH_LORAS = CATALOGUE | {("style", ModelKind.LORA): "style-id"}


def loras_of(texts):
    embedded = read_embedded(png(texts), max_pixels=1000)
    settings = import_settings(embedded, lambda name, digits, kind: WITH_LORAS.get((name, kind)))
    assert not any("style" in each for each in settings.warnings if "styles (" not in each)
    return settings.request.loras


@pytest.mark.parametrize("age", INVOKEAI_LORAS)
def test_loras_of_invokeai_become_entries(age):
    metadata = json.dumps({**INVOKEAI, "loras": INVOKEAI_LORAS[age]})
    assert loras_of({"invokeai_metadata": metadata}) == (LoraInput(model="style-id", weight=0.75),)


def test_loras_of_fooocus_become_entries():
    entry = (LoraInput(model="style-id", weight=0.1),)
    assert loras_of({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}) == entry
    older = {**FOOOCUS, "loras": [], "lora_combined_1": "style.safetensors : 0.1"}
    assert loras_of({"parameters": json.dumps(older), "fooocus_scheme": "fooocus"}) == entry


def test_loras_on_a_workflows_way_to_its_checkpoint_become_entries():
    unused = {"class_type": "LoraLoader", "inputs": {"lora_name": "unused.safetensors"}}
    texts = {"prompt": json.dumps({**COMFYUI_GRAPH, "40": unused})}
    assert loras_of(texts) == (LoraInput(model="style-id", weight=0.8, text_encoder_weight=1),)


@pytest.mark.parametrize("kind", COMFYUI_STACKS)
def test_other_lora_nodes_of_workflows_are_read_too(kind):
    inputs, expected = COMFYUI_STACKS[kind]
    node = {"class_type": kind, "inputs": {**inputs, "model": ["4", 0], "clip": ["4", 1]}}
    entry = LoraInput(model="style-id", weight=0.75, **expected)
    assert loras_of({"prompt": json.dumps({**COMFYUI_GRAPH, "10": node})}) == (entry,)


def test_comfyuis_way_to_call_an_embedding_becomes_ours():
    graph = json.loads(json.dumps(COMFYUI_GRAPH))
    graph["7"]["inputs"]["text"] = "blurry, (embedding:bad-hands:1.2)"
    request = settings_of(png({"prompt": json.dumps(graph)})).request
    assert request.negative_prompt == "blurry, (bad-hands:1.2)"


def test_a_workflow_with_two_samplers_gives_the_first_and_says_so():
    second = {"class_type": "KSampler", "inputs": {**COMFYUI_GRAPH["3"]["inputs"], "seed": 7, "denoise": 0.5}}
    graph = {**COMFYUI_GRAPH, "30": second}
    settings = settings_of(png({"prompt": json.dumps(graph)}))
    assert settings.request.seed == 42
    assert any("samples 2 times" in warning for warning in settings.warnings)


def test_an_image_to_image_workflow_says_that_its_picture_is_missing():
    graph = json.loads(json.dumps(COMFYUI_GRAPH))
    graph["3"]["inputs"]["denoise"] = 0.6
    assert any("strength 0.6" in each for each in settings_of(png({"prompt": json.dumps(graph)})).warnings)


def test_settings_of_one_file_never_appear_in_another():
    for seed in range(50):
        text = A1111.replace("Seed: 42", f"Seed: {seed}")
        assert settings_of(with_exif("JPEG", comment=text)).request.seed == seed


DEEP = "[" * 100_000

HOSTILE = [
    {"prompt": "{", "workflow": "{}"},
    {"prompt": "[]", "workflow": "[]"},
    {"prompt": DEEP},
    {"prompt": json.dumps({"1": {"class_type": 3, "inputs": {"sampler_name": [], "steps": 1, "cfg": []}}})},
    {"prompt": json.dumps({"1": {"inputs": {"sampler_name": "x", "steps": 1, "cfg": 1, "model": ["1", 0]}}})},
    {"prompt": json.dumps({"1": {
        "class_type": "K", "inputs": {"sampler_name": "x", "steps": "many", "cfg": [], "model": ["1", 0]}}}
    )},
    {"prompt": json.dumps({"1": None, "2": 3, "3": "x"})},
    {"invokeai_metadata": "null"},
    {"invokeai_metadata": json.dumps({"scheduler": 3, "model": "x", "steps": None, "generation_mode": 1})},
    {"parameters": "{}"},
    {"parameters": json.dumps({**FOOOCUS, "prompt": 3, "base_model": None, "base_model_hash": None})},
    {"Comment": "{}", "Description": "", "Source": ""},
    {"easel": "{}"},
    {"easel": DEEP},
    {"sd-metadata": json.dumps({"image": {"prompt": 3, "sampler": "x"}})},
    {"Dream": '"' * 1000},
]  # fmt: skip


@pytest.mark.parametrize("texts", HOSTILE)
def test_hostile_settings_are_refused_or_read_but_never_crash(texts):
    try:
        source = settings_of(png(texts)).source
    except InvalidRequest:
        source = "refused with a sentence"
    assert source in ("ComfyUI", "InvokeAI", "Fooocus", "NovelAI", "refused with a sentence")


def test_a_picture_without_settings_is_refused_with_a_sentence():
    with pytest.raises(InvalidRequest, match=r"no settings in this picture .* Use the file that the studio"):
        settings_of(png({}))
