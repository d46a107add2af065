"""One protocol for all preprocessors: a picture and options in, the map out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from studio.control import colours, depth, drawn, lines, pose, segmentation, wholebody
from studio.control.annotators import Annotators, Told
from studio.control.nets import Nets
from studio.control.picture import Rgb, is_empty, read_rgb, scaled, to_map
from studio.control.skeleton import draw_pose
from studio.core.annotators import kind_of
from studio.core.errors import InvalidRequest
from studio.core.geometry import Extent
from studio.core.openpose import Pose, write_openpose
from studio.core.preprocess import Inpaint, Options, Preprocessor

Preprocess = Callable[[Rgb, Any, Nets], "NDArray[np.uint8] | Pose"]
"""(H, W, 3) picture, its options, its nets -> (h, w) or (h, w, 3) in 0-255, or the pose to draw."""

PREPROCESS: Mapping[str, Preprocess] = {
    "canny": lines.canny,
    "scribble_drawing": lines.scribble_drawing,
    "scribble_xdog": lines.scribble_xdog,
    "scribble_hed": drawn.scribble_hed,
    "scribble_pidinet": drawn.scribble_pidinet,
    "softedge_hed": drawn.softedge_hed,
    "softedge_pidinet": drawn.softedge_pidinet,
    "softedge_teed": drawn.softedge_teed,
    "lineart_realistic": drawn.lineart_realistic,
    "lineart_anime": drawn.lineart_anime,
    "lineart_standard": lines.lineart_standard,
    "depth_anything": depth.depth,
    "depth_dpt": depth.depth,
    "depth_midas": depth.depth,
    "depth_zoe": depth.depth,
    "depth_leres": depth.leres,
    "pose_openpose": pose.openpose,
    "pose_dw": wholebody.dwpose,
    "pose_vit": pose.vitpose,
    "normal_bae": depth.normal_bae,
    "normal_depth": depth.normal_depth,
    "segmentation": segmentation.segmentation,
    "mlsd": drawn.straight_lines,
    "shuffle": colours.shuffle,
    "tile": colours.tile,
    "colour": colours.colour,
    "threshold": lines.threshold,
    "map": colours.as_it_is,
}
"""What runs each kind; `inpaint` needs the picture's transparency and is apart."""

ANY_PICTURE = frozenset({"inpaint", "shuffle", "tile", "colour", "threshold"})
"""Kinds that make something of a picture of one colour."""

EMPTY_CANVAS = (
    "The picture is empty: all of it has one colour.",
    "Draw something on the canvas, or choose a photo.",
)
"""Problem and remedy."""

_EXACT = frozenset({"segmentation", "pose_openpose", "pose_dw", "pose_vit", "threshold", "scribble_drawing"})
"""Kinds whose maps have no colours between their colours."""

_SKELETON_SIDE = 512
"""Shorter side up to which sticks keep their width of a few px; beyond it they grow with the picture."""


@dataclass(frozen=True)
class ControlMap:
    image: Image.Image
    """RGB, as large as the upright picture; of `Inpaint` RGBA, transparent where to paint anew."""
    openpose: str = ""
    """The pose that it shows, as OpenPose's JSON in px of the map; empty where it shows none."""


def make_map(
    image: Image.Image,
    preprocessor: Preprocessor,
    annotators: Annotators,
    *,
    mask: Image.Image | None = None,
    told: Told | None = None,
) -> ControlMap:
    """The map that `preprocessor` makes of a picture of any mode, size and orientation.

    Args:
        mask: of `Inpaint`: white where to paint anew.
        told: what is being loaded, as a sentence.

    Raises:
        InvalidRequest: an empty canvas, nobody to be seen, a net that is missing or does not fit.
        Offline: a net would have to be fetched, and the Hub does not answer.
    """
    if isinstance(preprocessor, Inpaint):
        return ControlMap(_marked(image, mask, preprocessor))
    image = ImageOps.exif_transpose(image)
    picture = read_rgb(ImageOps.mirror(image) if preprocessor.mirror else image)
    kind = kind_of(preprocessor)
    if kind not in ANY_PICTURE and is_empty(picture):
        raise InvalidRequest(*EMPTY_CANVAS, field="image")
    with annotators.borrow(annotators.choose(preprocessor), told) as nets:
        made = PREPROCESS[kind](picture, preprocessor, nets)
    drawn_map = _drawn(made) if isinstance(made, Pose) else made
    pixels = to_map(drawn_map, *picture.shape[:2], exact=kind in _EXACT)
    shown = Image.fromarray(255 - pixels if preprocessor.invert else pixels)
    return ControlMap(shown, write_openpose(made) if isinstance(made, Pose) else "")


def _drawn(found: Pose) -> Rgb:
    shorter = min(found.canvas.width, found.canvas.height)
    scale = min(1.0, _SKELETON_SIDE / shorter)
    small = Extent(
        width=max(1, round(found.canvas.width * scale)), height=max(1, round(found.canvas.height * scale))
    )
    return draw_pose(found.model_copy(update={"canvas": small}))


def _marked(image: Image.Image, mask: Image.Image | None, options: Options) -> Image.Image:
    """The picture, transparent black where it is to be painted anew."""
    image = ImageOps.exif_transpose(image)
    picture = read_rgb(image)
    height, width = picture.shape[:2]
    if mask is not None:
        anew = scaled(read_rgb(mask, "black"), height, width).max(axis=2) > 127
    elif image.has_transparency_data:
        anew = np.asarray(image.convert("RGBA"))[:, :, 3] < 128
    else:
        anew = np.zeros((height, width), bool)
    if not anew.any():
        raise InvalidRequest(
            "Nothing is marked to be painted anew.",
            "Paint a mask, or choose a picture with transparent parts.",
            field="image",
        )
    if options.invert:
        anew = ~anew
    marked = np.dstack([np.where(anew[:, :, None], 0, picture), np.where(anew, 0, 255)]).astype(np.uint8)
    shown = Image.fromarray(marked)
    return ImageOps.mirror(shown) if options.mirror else shown
