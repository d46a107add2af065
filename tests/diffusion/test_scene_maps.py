"""Control maps, masks and boxes of an inpainted photo are shown to the model where the photo is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageChops

from studio.core.geometry import Box, Extent, ResizeMode
from studio.core.inpaint import Inpaint, InpaintArea, Outpaint
from studio.diffusion.boxes import framed_box
from studio.diffusion.fitting import extent_of, fit_grey, fit_picture
from studio.diffusion.inpaint_scene import InpaintScene, make_scene
from studio.diffusion.scene_maps import framed_map, framed_mask, scale_of, where_known

SIDES = {
    "no sides": {},
    "right": {"right": 64},
    "top and left": {"top": 40, "left": 24},
    "all alike": {"left": 32, "top": 32, "right": 32, "bottom": 32},
    "odd": {"left": 13, "bottom": 51},
}
SHAPES = {
    "square": ((128, 128), (64, 64)),
    "wide in square": ((400, 100), (128, 128)),
    "odd": ((301, 199), (128, 192)),
    "tall in wide": ((90, 250), (192, 64)),
}
WAYS = [
    pytest.param(area, mode, sides, shape, id=f"{area}, {mode}, {named}, {name}")
    for area, mode, (named, sides), (name, shape) in itertools.product(
        InpaintArea, ResizeMode, SIDES.items(), SHAPES.items()
    )
]


def photo_with_a_spot(size: tuple[int, int], ground: int = 0) -> Image.Image:
    """A spot of a quarter of both sides, off the middle; `ground` is the light around it."""
    photo = Image.new("RGB", size, (ground,) * 3)
    photo.paste((255,) * 3, spot_in(size))
    return photo


def spot_in(size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    return width // 3, height // 3, width // 3 + width // 4, height // 3 + height // 4


def scene_of(photo: Image.Image, frame: tuple[int, int], mode: ResizeMode, **options) -> InpaintScene:
    mask = Image.new("L", photo.size, 0)
    width, height = photo.size
    mask.paste(255, (width // 4, height // 4, width - width // 4, height - height // 4))
    asked = Inpaint(mask="a" * 64, blur=0, padding=8, **options)
    return make_scene(photo, mask, asked, Extent(width=frame[0], height=frame[1]), mode)


def middle(picture: Image.Image) -> np.ndarray | None:
    """The middle of what is light, px; None where nothing is."""
    rows, columns = np.nonzero(np.asarray(picture.convert("L")) >= 128)
    return np.array([columns.mean(), rows.mean()]) if len(rows) else None


@pytest.mark.parametrize(("area", "mode", "sides", "shape"), WAYS)
def test_a_perfect_map_is_framed_as_its_photo(area, mode, sides, shape):
    size, frame = shape
    for ground, own in itertools.product((0, 90), ResizeMode):
        photo = photo_with_a_spot(size, ground)
        scene = scene_of(photo, frame, mode, area=area, outpaint=Outpaint(**sides))
        seen = scene.framed(scene.photo)
        assert ImageChops.difference(framed_map(scene, photo, own), seen).getbbox() is None
        assert middle(seen) is not None


@pytest.mark.parametrize(("area", "mode", "sides", "shape"), WAYS)
def test_maps_of_another_scale_masks_and_boxes_are_where_the_photo_is(area, mode, sides, shape):
    size, frame = shape
    photo = photo_with_a_spot(size)
    scene = scene_of(photo, frame, mode, area=area, outpaint=Outpaint(**sides))
    seen = middle(scene.framed(scene.photo))
    double = photo.resize((2 * size[0], 2 * size[1]), Image.Resampling.NEAREST)
    for picture in (
        framed_map(scene, double, ResizeMode.CROP),
        framed_mask(scene, photo.convert("L"), ResizeMode.CROP),
        _box_seen(scene, photo),
    ):
        assert np.abs(middle(picture) - seen).max() <= 1


def _box_seen(scene: InpaintScene, photo: Image.Image) -> Image.Image:
    """The box around the spot, drawn over the photo, as a picture of the frame."""
    left, top, right, bottom = spot_in(photo.size)
    drawn = Box(
        x0=left / photo.width, y0=top / photo.height, x1=right / photo.width, y1=bottom / photo.height
    )
    box = framed_box(
        scene.on_canvas(drawn), extent_of(scene.photo), scene.extent, scene.resize_mode, scene.region
    )
    assert box is not None
    width, height = scene.extent.width, scene.extent.height
    picture = Image.new("L", (width, height), 0)
    picture.paste(255, tuple(map(round, (box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height))))
    return picture


@pytest.mark.parametrize(
    ("sides", "canvas"),
    [({"right": 128}, (256, 128)), ({"left": 64, "top": 64, "right": 64, "bottom": 64}, (256, 256))],
)
def test_a_map_that_has_the_canvas_already_gets_none(sides, canvas):
    photo, whole = photo_with_a_spot((128, 128)), photo_with_a_spot(canvas)
    scene = scene_of(photo, (64, 64), ResizeMode.CROP, outpaint=Outpaint(**sides))
    shown = framed_map(scene, whole, ResizeMode.CROP)
    assert ImageChops.difference(shown, scene.framed(whole)).getbbox() is None


@pytest.mark.parametrize("own", ResizeMode)
def test_a_map_of_another_shape_is_fitted_in_its_own_way(own):
    photo, other = photo_with_a_spot((200, 100)), photo_with_a_spot((64, 96))
    whole = scene_of(photo, (128, 128), ResizeMode.CROP)
    expected = fit_picture(other, whole.extent, own)
    assert ImageChops.difference(framed_map(whole, other, own), expected).getbbox() is None
    part = scene_of(photo, (128, 128), ResizeMode.CROP, area=InpaintArea.MASKED)
    on_photo = fit_picture(other, extent_of(photo), own)
    assert ImageChops.difference(framed_map(part, other, own), part.framed(on_photo)).getbbox() is None


@pytest.mark.parametrize(("ground", "beside"), [(0, 0), (90, 90)])
def test_drawings_end_at_the_photo_and_surfaces_go_on(ground, beside):
    photo = photo_with_a_spot((64, 64), ground)
    for at in range(0, 64, 8):
        photo.putpixel((63, at), (255, 255, 255))
    scene = scene_of(photo, (128, 64), ResizeMode.CROP, outpaint=Outpaint(right=64))
    added = np.asarray(framed_map(scene, photo, ResizeMode.CROP).convert("L"))[:, 64:]
    assert (added[4] == beside).all()
    assert (added[8] == (255 if ground else 0)).all()


def test_masks_and_what_is_transparent_end_at_the_photo():
    photo = photo_with_a_spot((64, 64), 200)
    scene = scene_of(photo, (128, 64), ResizeMode.CROP, outpaint=Outpaint(right=64))
    held = np.asarray(framed_mask(scene, Image.new("L", (64, 64), 255), ResizeMode.CROP))
    assert held[:, :64].all()
    assert not held[:, 64:].any()
    marked = photo.convert("RGBA")
    marked.paste((0, 0, 0, 0), (8, 8, 24, 24))
    alpha = np.asarray(framed_map(scene, marked, ResizeMode.CROP).getchannel("A"))
    assert not alpha[:, 64:].any()
    assert (alpha[:, :64] == np.asarray(marked.getchannel("A"))).all()


def test_a_map_holds_where_it_knows_something():
    photo = photo_with_a_spot((64, 64))
    scene = scene_of(photo, (128, 64), ResizeMode.CROP, outpaint=Outpaint(right=64))
    held = np.asarray(framed_mask(scene, where_known(scene, photo), ResizeMode.CROP))
    assert held[:, :64].all()
    assert not held[:, 64:].any()
    everywhere = [photo_with_a_spot((128, 64)), photo_with_a_spot((30, 90)), photo.convert("RGBA")]
    assert [where_known(scene, one) for one in everywhere] == [None] * 3
    assert where_known(scene_of(photo, (64, 64), ResizeMode.CROP), photo) is None


def test_a_mask_of_another_shape_is_fitted_in_its_own_way():
    scene = scene_of(photo_with_a_spot((200, 100)), (128, 128), ResizeMode.CROP)
    mask = photo_with_a_spot((64, 96)).convert("L")
    expected = fit_grey(mask, scene.extent, ResizeMode.PAD)
    assert ImageChops.difference(framed_mask(scene, mask, ResizeMode.PAD), expected).getbbox() is None


def test_a_tiny_map_of_a_small_part_is_shown_at_all():
    photo = Image.new("RGB", (2000, 2000))
    mask = Image.new("L", photo.size, 0)
    mask.paste(255, (1001, 1001, 1011, 1011))
    asked = Inpaint(mask="a" * 64, area=InpaintArea.MASKED, padding=0, blur=0)
    scene = make_scene(photo, mask, asked, Extent(width=64, height=64), ResizeMode.CROP)
    assert framed_map(scene, Image.new("RGB", (64, 64), "white"), ResizeMode.CROP).size == (64, 64)


@pytest.mark.parametrize("area", InpaintArea)
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_the_scale_of_a_map_is_that_of_the_spot_it_shows(area, sides):
    """Measured at a spot: how many px of the frame its width or height became."""
    size = (240, 160)
    photo = photo_with_a_spot(size)
    scene = scene_of(photo, (128, 96), ResizeMode.STRETCH, area=area, outpaint=Outpaint(**sides))
    for times in (1, 3):
        shown = framed_map(scene, photo.resize((240 * times, 160 * times)), ResizeMode.CROP).convert("L")
        left, top, right, bottom = shown.point(lambda value: 255 if value >= 128 else 0).getbbox()
        measured = max((right - left) / (60 * times), (bottom - top) / (40 * times))
        told = scale_of(scene, Extent(width=240 * times, height=160 * times), ResizeMode.CROP)
        assert told == pytest.approx(measured, rel=0.1)
