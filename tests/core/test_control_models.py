"""What a model follows: told by its layout, or by its name as people write names."""

from __future__ import annotations

import pytest

from studio.core.control_models import controls_of
from studio.core.control_types import ControlType
from studio.core.models import ModelInfo, ModelKind


def net(name: str, kind: ModelKind = ModelKind.CONTROLNET, layout: str = "") -> ModelInfo:
    return ModelInfo(id=name, name=name, kind=kind, layout=layout)


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("control_v11p_sd15_canny", ControlType.CANNY),
        ("controlnet-depth-sdxl-1.0", ControlType.DEPTH),
        ("t2iadapter_zoedepth_sd15v1", ControlType.DEPTH),
        ("controlnetxlCNXL_xinsirOpenpose", ControlType.OPENPOSE),
        ("OpenPoseXL2", ControlType.OPENPOSE),
        ("Town Pose", ControlType.OPENPOSE),
        ("t2i-adapter_diffusers_xl_sketch", ControlType.SCRIBBLE),
        ("control_v11p_sd21_ade20k", ControlType.SEGMENTATION),
        ("control_seg-fp16", ControlType.SEGMENTATION),
        ("control_hed-fp16", ControlType.SOFT_EDGE),
        ("controlnet11Models_softedge", ControlType.SOFT_EDGE),
        ("Soft Edge XL", ControlType.SOFT_EDGE),
        ("control_v11p_sd15s2_lineart_anime", ControlType.LINEART),
        ("controlnet11Models_tileE", ControlType.TILE),
        ("t2iadapter_color_sd14v1", ControlType.COLOUR),
        ("control_v11p_sd15_normalbae", ControlType.NORMAL),
        ("control_v11p_sd15_mlsd", ControlType.MLSD),
        ("control_v11e_sd15_shuffle", ControlType.SHUFFLE),
        ("control_v11p_sd15_inpaint", ControlType.INPAINT),
    ],
)
def test_a_net_is_known_by_its_name(name: str, control: ControlType):
    assert controls_of(net(name)) == (control,)


@pytest.mark.parametrize(
    "name",
    ["watched", "reptiles", "general-purpose", "watercolor", "paranormal", "t2iadapter_keypose_sd14v1"],
)
def test_a_word_within_another_tells_nothing(name: str):
    assert controls_of(net(name)) == ()


def test_a_union_controlnet_follows_what_its_parts_know_whatever_it_is_called():
    six = controls_of(net("tile-of-mine", layout="union-6"))
    assert ControlType.OPENPOSE in six
    assert ControlType.TILE not in six
    assert {ControlType.TILE, ControlType.INPAINT} <= set(controls_of(net("any", layout="union-8")))


def test_an_image_prompt_follows_no_map():
    assert controls_of(net("ip-adapter-pose", ModelKind.IP_ADAPTER)) == ()
