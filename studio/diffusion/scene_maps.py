"""Control maps and their masks beside an inpainted photo: they are shown as the photo is. No torch."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from studio.core.base import StrEnum
from studio.core.geometry import SAME_SHAPE, Extent, ResizeMode, place
from studio.diffusion.canvas import Sides, map_on_canvas, mask_on_canvas
from studio.diffusion.fitting import extent_of, fit_grey, fit_picture
from studio.diffusion.inpaint_scene import Fit, InpaintScene

Spread = Callable[[Image.Image, Sides], Image.Image]


class _Kin(StrEnum):
    """What a map was made of, as far as its shape tells."""

    PHOTO = "photo"
    CANVAS = "canvas"
    """The photo with the canvas that outpainting adds."""
    NEITHER = "neither"


def framed_map(scene: InpaintScene, control_map: Image.Image, mode: ResizeMode) -> Image.Image:
    """What the model's frame shows of a control map: RGB, or RGBA where it tells what to paint anew.

    A map shaped like the photo goes the way of the photo: canvas is added to it, the same region cut out. One
    that has the canvas's shape already is not added to. One of another shape was not made of this photo: it
    is fitted to the frame, or to the photo that a region is cut from, in its own way.

    Args:
        mode: the map's own; maps of the photo follow the photo's.
    """
    shown = _placed(scene, control_map.convert("RGB"), mode, map_on_canvas, fit_picture)
    if control_map.mode == "RGBA":
        shown.putalpha(framed_mask(scene, control_map.getchannel("A"), mode))
    return shown


def where_known(scene: InpaintScene, control_map: Image.Image) -> Image.Image | None:
    """A mask of what a control map of this scene shows; None: all of it.

    A map of the photo knows nothing of added canvas: empty there, it would ask for emptiness. One that is
    transparent there tells what to paint anew.
    """
    is_of_photo = _kin_of(scene, extent_of(control_map)) is _Kin.PHOTO
    if control_map.mode == "RGBA" or not is_of_photo or not any(scene.sides):
        return None
    return Image.new("L", control_map.size, 255)


def framed_mask(scene: InpaintScene, mask: Image.Image, mode: ResizeMode) -> Image.Image:
    """The same of a grey mask, which is black on added canvas."""
    return _placed(scene, mask.convert("L"), mode, mask_on_canvas, fit_grey)


def scale_of(scene: InpaintScene, picture: Extent, mode: ResizeMode) -> float:
    """Pixels of the frame for a pixel of a control map of this size, in the direction that gets more."""
    kin = _kin_of(scene, picture)
    canvas = extent_of(scene.photo)
    if kin is _Kin.NEITHER and scene.region is None:
        alone = place(picture, scene.extent, mode)
        return max(alone.scale_x, alone.scale_y)
    before = {
        _Kin.PHOTO: place(picture, scene.given, ResizeMode.STRETCH),
        _Kin.CANVAS: place(picture, canvas, ResizeMode.STRETCH),
        _Kin.NEITHER: place(picture, canvas, mode),
    }[kin]
    left, top, right, bottom = scene.region or (0, 0, canvas.width, canvas.height)
    shown = Extent(width=right - left, height=bottom - top)
    then = place(shown, scene.extent, ResizeMode.STRETCH if scene.region else scene.resize_mode)
    return max(before.scale_x * then.scale_x, before.scale_y * then.scale_y)


def _placed(
    scene: InpaintScene, picture: Image.Image, mode: ResizeMode, spread: Spread, fit: Fit
) -> Image.Image:
    kin = _kin_of(scene, extent_of(picture))
    if kin is _Kin.NEITHER:
        if scene.region is None:
            return fit(picture, scene.extent, mode, extent_of(picture))
        picture = fit(picture, extent_of(scene.photo), mode, extent_of(picture))
    elif kin is _Kin.PHOTO:
        picture = spread(picture, _sides_at(scene, picture))
    return scene.framed(picture, fit)


def _kin_of(scene: InpaintScene, picture: Extent) -> _Kin:
    """By the shape, which is ambiguous where all sides grow alike: then by the size."""
    if picture == extent_of(scene.photo) != scene.given:
        return _Kin.CANVAS
    shapes = {_Kin.PHOTO: scene.given, _Kin.CANVAS: extent_of(scene.photo)}
    differences = {kin: picture.shape_difference(shape) for kin, shape in shapes.items()}
    nearest = min(differences, key=lambda kin: differences[kin])
    return nearest if differences[nearest] <= SAME_SHAPE else _Kin.NEITHER


def _sides_at(scene: InpaintScene, picture: Image.Image) -> Sides:
    """The added canvas in px of `picture`, which shows the photo at another scale."""
    across, down = picture.width / scene.given.width, picture.height / scene.given.height
    left, top, right, bottom = scene.sides
    return round(left * across), round(top * down), round(right * across), round(bottom * down)
