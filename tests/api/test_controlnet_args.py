"""Units of the ControlNet extension -> controls and image prompts, by numbers and names, old and new."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from studio.api.sdapi.controlnet_args import Source, Units, read_units
from studio.core.conditions import ControlInput, ControlMode, ImagePrompt
from studio.core.errors import EaselError
from studio.core.geometry import ResizeMode
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import Canny, Inpaint, PoseDw
from tests.api.samples import png, png_base64

MODELS = tuple(
    ModelInfo(id=f"id-{name}", name=name, kind=kind, sha256=digit * 64)
    for name, kind, digit in (
        ("canny", ModelKind.CONTROLNET, "a"),
        ("sketch", ModelKind.T2I_ADAPTER, "b"),
        ("look", ModelKind.IP_ADAPTER, "c"),
    )
)
SOURCE = Source("9" * 64, ResizeMode.STRETCH)


def stored(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def units(*args: Any, source: Source | None = None, script: str = "ControlNet") -> Units:
    return read_units({script: {"args": list(args)}, "ADetailer": {"args": [1]}}, MODELS, stored, source)


def control(unit: dict[str, Any], **options: Any) -> ControlInput:
    (fields,) = units({"model": "canny", "image": png_base64()} | unit, **options).controls
    return ControlInput.model_validate(fields)


def test_a_unit_as_a1111_documents_it():
    unit = control(
        {
            "module": "canny",
            "model": f"canny [{'a' * 8}]",
            "weight": 0.6,
            "resize_mode": "Resize and Fill",
            "processor_res": 640,
            "threshold_a": 30,
            "threshold_b": 60,
            "guidance_start": 0.1,
            "guidance_end": 0.8,
            "pixel_perfect": False,
            "control_mode": "ControlNet is more important",
            "save_detected_map": True,
        }
    )
    assert unit.model == "id-canny"
    assert (unit.weight, unit.start, unit.end) == (0.6, 0.1, 0.8)
    assert (unit.mode, unit.resize_mode) == (ControlMode.CONTROL, ResizeMode.PAD)
    assert unit.preprocessor == Canny(low=30, high=60, resolution=640)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Unknown", None), ("OpenPose", "OpenPose"), ("Soft Edge", "SoftEdge"), ("Hard Edge", "Canny")],
)
def test_what_a_union_controlnet_is_told(name: str, expected: str | None):
    assert control({"union_control_type": name}).control_type == expected


@pytest.mark.parametrize(("number", "mode"), enumerate(ResizeMode))
def test_resize_modes_by_number(number: int, mode: ResizeMode):
    assert control({"resize_mode": number}).resize_mode is mode


@pytest.mark.parametrize(("number", "mode"), enumerate(ControlMode))
def test_control_modes_by_number_and_by_its_text(number: int, mode: ControlMode):
    assert control({"control_mode": number}).mode is mode
    assert control({"control_mode": str(number)}).mode is mode


@pytest.mark.parametrize("name", ["dw_openpose_full", "dwpose"])
def test_dwpose_reads_body_hands_and_face(name: str):
    assert control({"module": name, "processor_res": 640}).preprocessor == PoseDw(resolution=640)


def test_older_names_and_nulls():
    fields = {
        "model": "sketch",
        "input_image": png_base64(),
        "guidance": 0.5,
        "mask": None,
        "resize_mode": None,
    }
    (unit,) = units(fields).controls
    read = ControlInput.model_validate(unit)
    assert (read.model, read.end, read.resize_mode) == ("id-sketch", 0.5, ResizeMode.CROP)


def test_a_picture_may_come_with_its_mask():
    both = {"image": png_base64(), "mask": png_base64("white")}
    read = control({"image": both})
    assert read.mask is not None
    assert read.mask != read.image
    assert control({"image": [both]}) == read
    inpainting = control({"image": both, "module": "inpaint"})
    assert inpainting.mask is None
    assert inpainting.preprocessor == Inpaint(mask=read.mask)
    assert control({"effective_region_mask": png_base64("white")}).mask == read.mask


def test_an_ip_adapter_is_an_image_prompt():
    read = units({"model": "look", "module": "ip-adapter-auto", "image": png_base64(), "weight": 0.4})
    assert not read.controls
    (prompt,) = (ImagePrompt.model_validate(each) for each in read.image_prompts)
    assert (prompt.model, prompt.weight, len(prompt.images)) == ("id-look", 0.4, 1)


def test_an_ip_adapter_takes_several_pictures():
    pictures = [png_base64("red"), {"image": png_base64("blue"), "mask": png_base64("white")}]
    (fields,) = units({"model": "look", "image": pictures}).image_prompts
    prompt = ImagePrompt.model_validate(fields)
    assert prompt.images == (stored(png("red")), stored(png("blue")))
    assert prompt.mask == stored(png("white"))
    assert len(units({"model": "look", "image": [pictures[0], ""]}).image_prompts[0]["images"]) == 1


def test_units_that_are_off_and_switches_of_old_clients_are_passed_over():
    off = {"enabled": False, "model": "nowhere", "image": "?"}
    assert units(True, False, off) == Units()
    assert read_units({}, MODELS, stored) == Units()
    assert read_units({"controlnet": {"args": off}}, MODELS, stored) == Units()


def test_in_image_to_image_a_unit_without_a_picture_follows_the_source():
    followed = control({"image": ""}, source=SOURCE)
    assert followed.image == SOURCE.image
    assert followed.resize_mode is SOURCE.resize_mode, "else map and photo would not lie on each other"
    assert control({"image": "", "resize_mode": 2}, source=SOURCE).resize_mode is SOURCE.resize_mode
    assert control({"resize_mode": 2}, source=SOURCE).resize_mode is ResizeMode.PAD


@pytest.mark.parametrize(
    ("unit", "field", "message"),
    [
        ({"model": "nowhere"}, "model", "no model called 'nowhere'"),
        ({"model": "None"}, "model", "alone steers nothing"),
        ({"image": ""}, "image", "has no picture"),
        ({"image": "no base64!"}, "image", "no base64"),
        ({"module": "telepathy"}, "module", "no preprocessor called"),
        ({"module": "reference_only", "model": "None"}, "module", "reference_only .*not run here"),
        ({"module": "reference_adain+attn"}, "module", "not run here.*An IP-Adapter follows"),
        ({"module": "ip-adapter-auto"}, "module", "makes no map.*Name an IP-Adapter"),
        ({"module": "depth_leres++"}, "module", "second net.*depth_leres is"),
        ({"module": "tile_colorfix"}, "module", "mends the colours.*tile_resample"),
        ({"module": "tile_colorfix+sharp"}, "module", "sharpens.*tile_resample"),
        ({"module": "seg_ofcoco"}, "module", "COCO.*seg_ufade20k"),
        ({"module": "oneformer_coco"}, "module", "oneformer_coco .*COCO.*seg_ufade20k"),
        ({"module": "lineart_anime_denoise"}, "module", "manga.*lineart_anime"),
        ({"module": "blur_gaussian"}, "module", "not run here.*tile_resample"),
        ({"module": "inpaint_only+lama"}, "module", "LaMa.*inpaint_only"),
        ({"union_control_type": "Smell"}, "union_control_type", "There are Canny, .*Hard Edge"),
        ({"control_mode": 7}, "control_mode", "There are 0 \\(Balanced\\)"),
        ({"resize_mode": "Squeeze"}, "resize_mode", "'Squeeze' is no resize mode"),
        ({"weight": "much"}, "weight", "valid number"),
    ],
)
def test_faults_are_told_at_their_unit(unit: dict[str, Any], field: str, message: str):
    good = {"model": "canny", "image": png_base64()}
    with pytest.raises(EaselError, match=message) as fault:
        units(good, good | unit)
    assert fault.value.field == f"alwayson_scripts.controlnet.args.1.{field}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lineart_standard (from white bg & black line)", "lineart_standard"),
        ("seg_ofade20k", "segmentation"),
        ("oneformer_ade20k", "segmentation"),
        ("depth_anything", "depth_anything"),
        ("depth_anything_v2", "depth_anything"),
    ],
)
def test_other_names_of_the_same_map(name: str, kind: str):
    assert control({"module": name}).preprocessor.kind == kind


def test_what_is_no_unit_is_refused():
    with pytest.raises(EaselError) as fault:
        units("canny")
    assert fault.value.field == "alwayson_scripts.controlnet.args.0"
