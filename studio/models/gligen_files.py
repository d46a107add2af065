"""GLIGEN (Li et al. 2023) on disk: which tensors of a file are the graft, and what they say of it.

Files hold the graft alone, or a whole UNet with it, in diffusers' names or in those of the original
repository (`input_blocks.1.1.transformer_blocks.0.fuser.*`). Only the graft is ever read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from studio.models.configs import Config, Shapes
from studio.models.convert import Source

GLIGEN = "gligen"
PIPELINE_IMAGE_PROJECTION = "image_project"
"""Folder of a GLIGEN pipeline that makes phrases' features of pictures' features."""

_GRAFT = re.compile(r"(^|\.)(position_net|fuser)\.")
_IMAGE_FEATURE = "position_net.null_image_feature"
_FUSER_WIDTH = ".fuser.linear.weight"
_FUSERS = "fusers."
_SIDES = (("input", "down"), ("middle", "mid"), ("output", "up"))
_TEXT_IMAGE = "-text-image"
_NO_PROJECTION = "-without-projection"


def is_graft(name: str) -> bool:
    """True for tensors that GLIGEN adds to a UNet."""
    return _GRAFT.search(name) is not None


def knows_pictures(names: Iterable[str]) -> bool:
    """True for grafts that were trained on boxes with pictures, told by their tensors."""
    return any("position_net.linears_image." in name or name.endswith(_IMAGE_FEATURE) for name in names)


def graft_layout(names: Iterable[str], *, has_projection: bool) -> str:
    """How a file's graft is named, and whether it reads pictures: `ldm`, `diffusers-text-image`, ...

    Args:
        has_projection: what makes features of phrases of those of pictures lies beside it.
    """
    names = list(names)
    naming = "diffusers" if any(re.search(r"(^|\.)down_blocks\.", name) for name in names) else "ldm"
    if not knows_pictures(names):
        return naming
    return f"{naming}{_TEXT_IMAGE}{'' if has_projection else _NO_PROJECTION}"


def reads_pictures(layout: str) -> bool:
    """True for models that know boxes by pictures as well as by phrases, told by `ModelInfo.layout`."""
    return layout.endswith(_TEXT_IMAGE)


def lacks_projection(layout: str) -> bool:
    """True for models that were trained on pictures, but cannot read any: they are not whole."""
    return layout.endswith(_NO_PROJECTION)


def graft_prefix(names: Iterable[str]) -> str:
    """What a file puts before the names of its UNet. Raises: StopIteration: there is no position net."""
    return next(name for name in names if "position_net." in name).partition("position_net.")[0]


def fit_gligen(shapes: Shapes) -> Config:
    """The configuration of a `GligenGraft`, from the tensors of its file without their prefix."""
    widths = {
        name.removesuffix(_FUSER_WIDTH): shape
        for name, shape in shapes.items()
        if name.endswith(_FUSER_WIDTH)
    }
    pictures = _IMAGE_FEATURE in shapes
    feature = shapes[f"position_net.null_{'text' if pictures else 'positive'}_feature"]
    return {
        "feature_width": feature[0],
        "context_width": next(iter(widths.values()))[1],
        "reads_pictures": pictures,
        "fusers": {place: shape[0] for place, shape in widths.items()},
    }


def module_key(place: str) -> str:
    """A transformer block's place as a name inside of a `ModuleDict`, which cannot hold dots."""
    return place.replace(".", "/")


def numbered_blocks(names: Iterable[str]) -> dict[str, str]:
    """For each tensor of a `GligenGraft`, its name with the number of its block instead of the block's name.

    Both namings count the blocks of a UNet in the same order, so that these are the same for equal grafts.
    """
    names = list(names)
    places = sorted({name.split(".")[1] for name in names if name.startswith(_FUSERS)}, key=_position)
    return {name: _numbered(name, places) if name.startswith(_FUSERS) else name for name in names}


def _numbered(name: str, places: Sequence[str]) -> str:
    _, place, rest = name.split(".", 2)
    return f"{_FUSERS}{places.index(place)}.{rest}"


def _position(place: str) -> tuple[int, list[tuple[int, str]]]:
    """Of a block on its way through the UNet: down (the input blocks), middle, up; then by its numbers."""
    side = next((i for i, sides in enumerate(_SIDES) if place.startswith(sides)), len(_SIDES))
    return side, [(len(number), number) for number in re.findall(r"\d+", place)]


def gligen_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of a `GligenGraft`, its place in a file of either naming."""
    return {name: Source(_file_name(name)) for name in names}


def _file_name(name: str) -> str:
    if not name.startswith(_FUSERS):
        return name
    _, key, rest = name.split(".", 2)
    return f"{key.replace('/', '.')}.fuser.{rest}"
