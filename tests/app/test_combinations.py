"""Every combination of what stacks: each is a picture, each condition counts, and none does at weight 0.

After each, everything that was borrowed has been given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.app.studio import LocalStudio
from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ControlInput, ImagePrompt, LoraInput
from studio.core.geometry import Box
from studio.core.inpaint import Inpaint
from studio.core.requests import GenerateRequest, SourceImage
from studio.core.samplers import Sampler
from tests.app.stack_studio import png, stack_studio
from tests.app.test_studio import pictures

Fields = dict[str, Any]
Cell = Callable[..., bytes]

STARTS = ("txt2img", "img2img", "inpaint 4", "inpaint 9")
CONDITIONS = ("loras", "controlnets", "t2i", "ip", "boxes")
SUBSETS = [subset for count in range(len(CONDITIONS) + 1) for subset in combinations(CONDITIONS, count)]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStudio]:
    with stack_studio(tmp_path_factory.mktemp("combinations")) as studio:
        yield studio


@pytest.fixture(scope="module")
def cell(studio: LocalStudio) -> Cell:
    """The bytes of the picture of one cell, run once."""
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    photo = studio.put_blob(png(Image.fromarray(noise)))
    painted = Image.new("L", (64, 64), 0)
    painted.paste(255, (8, 8, 56, 56))
    mask = studio.put_blob(png(painted))
    made: dict[Any, bytes] = {}

    def run(start: str, subset: tuple[str, ...], off: str = "") -> bytes:
        key = (start, subset, off)
        if key not in made:
            fields = _start(start, photo, mask) | _stack(subset, photo, off)
            request = GenerateRequest(
                **{"model": "tiny", "prompt": "a house", "width": 64, "height": 64, "steps": 2, "seed": 5}
                | {"sampler": Sampler.EULER}
                | fields
            )
            (picture,) = pictures(studio, request)
            assert not [part.role for part in studio.status().components if part.in_use]
            made[key] = picture.tobytes()
        return made[key]

    return run


def _start(start: str, photo: str, mask: str) -> Fields:
    if start == "txt2img":
        return {}
    source: Fields = {"source": SourceImage(image=photo, strength=1.0)}
    if start == "img2img":
        return source
    painted = source | {"inpaint": Inpaint(mask=mask, blur=0)}
    return painted | ({"model": "nine"} if start == "inpaint 9" else {})


def _stack(subset: tuple[str, ...], photo: str, off: str) -> Fields:
    """The conditions of `subset`, and with them the one that is `off`: there, but at weight 0."""
    on = {name: float(name != off) for name in (*subset, off) if name}
    controls = []
    if "controlnets" in on:
        controls += [
            ControlInput(model=net, image=photo, weight=on["controlnets"]) for net in ("net", "other-net")
        ]
    if "t2i" in on:
        controls.append(ControlInput(model="features", image=photo, weight=on["t2i"]))
    fields: Fields = {"controls": tuple(controls)}
    if "loras" in on:
        fields["loras"] = tuple(LoraInput(model=one, weight=on["loras"]) for one in ("lora", "other-lora"))
    if "ip" in on:
        fields["image_prompts"] = (ImagePrompt(model="look", images=(photo,), weight=on["ip"]),)
    if "boxes" in on:
        box = BoxInput(box=Box(x0=0.1, y0=0.2, x1=0.6, y1=0.9), phrase="a red ball")
        fields["boxes"] = Boxes(boxes=(box,), model="text", share=1.0, strength=on["boxes"])
    return fields


@pytest.mark.parametrize("subset", SUBSETS, ids=" + ".join)
@pytest.mark.parametrize("start", STARTS)
def test_each_condition_of_a_cell_counts(cell: Cell, start: str, subset: tuple[str, ...]) -> None:
    whole = cell(start, subset)
    assert len(set(whole)) > 1, "a picture of one colour"
    for left_out in subset:
        rest = tuple(name for name in subset if name != left_out)
        assert cell(start, rest) != whole, f"{left_out} changes nothing"


@pytest.mark.parametrize("off", CONDITIONS)
@pytest.mark.parametrize("start", STARTS)
def test_none_counts_at_weight_nothing(cell: Cell, start: str, off: str) -> None:
    others = tuple(name for name in CONDITIONS if name != off)
    for subset in ((), others):
        assert cell(start, subset, off) == cell(start, subset)
