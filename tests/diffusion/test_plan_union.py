"""What a union ControlNet is told of its maps, before any file is opened."""

from __future__ import annotations

from typing import Any

import pytest

from studio.core.conditions import ControlInput
from studio.core.control_types import ControlType, union_controls, union_layout
from studio.core.errors import InvalidRequest
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.preprocess import (
    Canny,
    DepthAnything,
    Inpaint,
    LineArtAnime,
    Map,
    NormalBae,
    PoseVit,
    ScribbleHed,
    Segmentation,
    Shuffle,
    SoftEdgeTeed,
    Tile,
)
from studio.core.requests import GenerateRequest
from studio.diffusion.plan_control import plan_controls

CHECKPOINT = ModelInfo(id="xl", name="XL", kind=ModelKind.CHECKPOINT, family=Family.SDXL)
NETS = {
    name: ModelInfo(id=name, name=name, kind=ModelKind.CONTROLNET, family=Family.SDXL, layout=layout)
    for name, layout in (("union", "union-6"), ("promax", "union-8"), ("plain", "diffusers"))
}


def task(model: str, preprocessor: Any = None, **fields: Any) -> int | None:
    entry = ControlInput(model=model, image="0" * 64, preprocessor=preprocessor, **fields)
    request = GenerateRequest(model="xl", controls=(entry,))
    (planned,) = plan_controls(request, CHECKPOINT, NETS.__getitem__)
    return planned.task


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (PoseVit(), 0),
        (DepthAnything(), 1),
        (ScribbleHed(), 2),
        (SoftEdgeTeed(), 2),
        (Canny(), 3),
        (LineArtAnime(), 3),
        (NormalBae(), 4),
        (Segmentation(), 5),
        (Tile(), 6),
        (Inpaint(), 7),
    ],
)
def test_the_preprocessor_tells_what_its_map_shows(options: Any, number: int):
    assert task("promax", options) == number
    if number < 6:
        assert task("union", options) == number
    else:
        with pytest.raises(InvalidRequest, match="none that show"):
            task("union", options)


@pytest.mark.parametrize("options", [None, Map()])
def test_of_a_finished_map_the_person_tells(options: Any):
    assert task("union", options, control_type=ControlType.DEPTH) == 1
    with pytest.raises(InvalidRequest, match="must be told what this one shows") as refused:
        task("union", options)
    assert refused.value.field == "controls.0.control_type"


def test_what_a_person_tells_goes_before_the_preprocessor():
    assert task("union", Canny(), control_type=ControlType.SCRIBBLE) == 2


def test_maps_that_no_union_net_knows_are_refused():
    with pytest.raises(InvalidRequest, match="none that show Shuffle"):
        task("promax", Shuffle())


def test_other_nets_are_told_nothing():
    assert task("plain", Canny()) is None
    assert task("plain", control_type=ControlType.DEPTH) is None


def test_a_layout_tells_how_much_a_net_knows():
    assert set(union_controls(union_layout(8))) - set(union_controls(union_layout(6))) == {
        ControlType.TILE,
        ControlType.INPAINT,
    }
    assert union_controls("diffusers") == union_controls("union-x") == union_controls("") == ()
