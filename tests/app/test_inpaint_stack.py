"""What stacks on an inpainted photo keeps its place on it: maps, masks and boxes, outpainted or cut out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.app.studio import LocalStudio
from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ControlInput, ImagePrompt
from studio.core.geometry import Box, ResizeMode
from studio.core.inpaint import Inpaint, InpaintArea, Outpaint
from studio.core.requests import GenerateRequest, SourceImage
from studio.core.samplers import Sampler
from tests.app.stack_studio import png, stack_studio
from tests.app.test_studio import pictures

LEFT, TOP, SIDE = 32, 24, 64
"""What is outpainted beside a photo of SIDE x SIDE px, px."""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStudio]:
    with stack_studio(tmp_path_factory.mktemp("inpaint-stack")) as studio:
        yield studio


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Noise with a black rim, as of a control map that is a drawing."""
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    return Image.fromarray(pixels)


def square(*box: int) -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, box)
    return mask


def on_canvas(picture: Image.Image) -> Image.Image:
    canvas = Image.new(picture.mode, (LEFT + SIDE, TOP + SIDE), 0)
    canvas.paste(picture, (LEFT, TOP))
    return canvas


def boxes(x0: float, y0: float, x1: float, y1: float) -> Boxes:
    box = Box(x0=x0, y0=y0, x1=x1, y1=y1)
    return Boxes(boxes=(BoxInput(box=box, phrase="a red ball"),), share=1.0)


def on_photo(x: float, y: float) -> tuple[float, float]:
    """A point of the photo, 0-1, as one of the canvas."""
    return (LEFT + x * SIDE) / (LEFT + SIDE), (TOP + y * SIDE) / (TOP + SIDE)


class Stacked:
    """Requests over the same photo, given as it is or put on its canvas beforehand."""

    def __init__(self, studio: LocalStudio, photo: Image.Image) -> None:
        self.studio = studio
        self.photo = photo

    def put(self, picture: Image.Image) -> str:
        return self.studio.put_blob(png(picture))

    def outpainted(self, **fields: Any) -> np.ndarray:
        sides = Outpaint(left=LEFT, top=TOP)
        return self.made(
            self.photo, Inpaint(mask=self.put(square(40, 40, 56, 56)), outpaint=sides, blur=0), fields
        )

    def by_hand(self, **fields: Any) -> np.ndarray:
        anew = Image.new("L", (LEFT + SIDE, TOP + SIDE), 255)
        anew.paste(0, (LEFT + 8, TOP + 8, LEFT + SIDE, TOP + SIDE))
        anew.paste(255, (LEFT + 40, TOP + 40, LEFT + 56, TOP + 56))
        return self.made(on_canvas(self.photo), Inpaint(mask=self.put(anew), blur=0), fields)

    def made(self, photo: Image.Image, inpaint: Inpaint, fields: dict[str, Any]) -> np.ndarray:
        usual: dict[str, Any] = {
            "model": "tiny",
            "prompt": "a house",
            "width": 96,
            "height": 88,
            "steps": 3,
            "seed": 5,
            "sampler": Sampler.EULER,
            "source": SourceImage(image=self.put(photo), strength=0.8),
            "inpaint": inpaint,
        }
        (picture,) = pictures(self.studio, GenerateRequest(**(usual | fields)))
        return np.asarray(picture)


@pytest.fixture
def stacked(studio: LocalStudio, photo: Image.Image) -> Stacked:
    return Stacked(studio, photo)


AREAS = [{}, {"area": InpaintArea.MASKED, "padding": 0}]


@pytest.mark.parametrize("mode", ResizeMode)
def test_a_map_of_the_photo_is_put_on_its_canvas(
    stacked: Stacked, photo: Image.Image, mode: ResizeMode
) -> None:
    def control(picture: Image.Image, mask: str | None = None) -> dict[str, Any]:
        image = stacked.put(picture)
        return {"controls": (ControlInput(model="net", image=image, resize_mode=mode, mask=mask),)}

    on_photo_alone = stacked.put(on_canvas(square(0, 0, SIDE, SIDE)))
    expected = stacked.by_hand(**control(on_canvas(photo), on_photo_alone))
    assert (stacked.outpainted(**control(photo)) == expected).all()
    assert (stacked.by_hand() != expected).any()


def test_a_map_of_the_canvas_holds_on_all_of_it(stacked: Stacked, photo: Image.Image) -> None:
    image = stacked.put(on_canvas(photo))
    controls = {"controls": (ControlInput(model="net", image=image),)}
    expected = stacked.by_hand(**controls)
    assert (stacked.outpainted(**controls) == expected).all()
    on_photo_alone = stacked.put(on_canvas(square(0, 0, SIDE, SIDE)))
    masked = {"controls": (ControlInput(model="net", image=image, mask=on_photo_alone),)}
    assert (stacked.by_hand(**masked) != expected).any()


def test_masks_of_controls_and_image_prompts_are_put_on_its_canvas(
    stacked: Stacked, photo: Image.Image
) -> None:
    def masked(picture: Image.Image, mask: Image.Image) -> dict[str, Any]:
        image, where = stacked.put(picture), stacked.put(mask)
        return {
            "controls": (ControlInput(model="net", image=image, mask=where),),
            "image_prompts": (ImagePrompt(model="look", images=(stacked.put(photo),), mask=where),),
        }

    mask = square(0, 0, 30, 60)
    expected = stacked.by_hand(**masked(on_canvas(photo), on_canvas(mask)))
    assert (stacked.outpainted(**masked(photo, mask)) == expected).all()
    everywhere = Image.new("L", (LEFT + SIDE, TOP + SIDE), 255)
    assert (stacked.by_hand(**masked(on_canvas(photo), everywhere)) != expected).any()


def test_a_mask_of_a_control_may_be_a_stroke_on_a_layer(stacked: Stacked, photo: Image.Image) -> None:
    layer = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    layer.paste((0, 0, 0, 255), (0, 0, 30, 60))

    def masked(mask: Image.Image) -> dict[str, Any]:
        return {"controls": (ControlInput(model="net", image=stacked.put(photo), mask=stacked.put(mask)),)}

    assert (stacked.outpainted(**masked(layer)) == stacked.outpainted(**masked(square(0, 0, 30, 60)))).all()


def test_boxes_drawn_over_a_masked_photo_stay_on_it(stacked: Stacked) -> None:
    drawn = boxes(0.1, 0.2, 0.7, 0.9)
    expected = stacked.by_hand(boxes=boxes(*on_photo(0.1, 0.2), *on_photo(0.7, 0.9)))
    assert (stacked.outpainted(boxes=drawn) == expected).all()
    assert (stacked.by_hand(boxes=drawn) != expected).any()


def test_boxes_lie_on_photo_and_canvas_where_only_that_is_painted(stacked: Stacked) -> None:
    only = Inpaint(outpaint=Outpaint(left=LEFT, top=TOP), blur=0)
    anew = Image.new("L", (LEFT + SIDE, TOP + SIDE), 255)
    anew.paste(0, (LEFT + 8, TOP + 8, LEFT + SIDE, TOP + SIDE))
    fields = {"boxes": boxes(0.0, 0.1, 0.3, 0.9)}
    by_hand = stacked.made(on_canvas(stacked.photo), Inpaint(mask=stacked.put(anew), blur=0), fields)
    assert (stacked.made(stacked.photo, only, fields) == by_hand).all()


def test_a_map_follows_its_photo_where_a_part_has_not_the_shape_of_the_frame(stacked: Stacked) -> None:
    """All of a wide photo in a frame that is less wide: the photo is distorted, and so must be the map."""
    wide = Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 160, 3), dtype=np.uint8))
    mask = Image.new("L", wide.size, 0)
    mask.paste(255, (0, 8, 160, 32))
    inpaint = Inpaint(mask=stacked.put(mask), area=InpaintArea.MASKED, blur=0)
    made = [
        stacked.made(
            wide,
            inpaint,
            {"controls": (ControlInput(model="net", image=stacked.put(image), resize_mode=mode),)},
        )
        for image, mode in (
            *((wide, mode) for mode in ResizeMode),
            (wide.resize((96, 88)), ResizeMode.STRETCH),
        )
    ]
    assert (made[0] == made[1]).all()
    assert (made[0] == made[2]).all()
    assert (made[0] != made[3]).any()
