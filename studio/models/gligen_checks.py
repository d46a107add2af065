"""Whether a file holds a whole GLIGEN model for boxes, told by the names of its tensors. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from studio.models.gligen_files import knows_pictures

_OTHER_KINDS = {
    "position_net.null_person_feature": "the joints of persons",
    "position_net.convnext_tiny_backbone.": "maps of edges, depth, normals or segmentation",
}
"""What the other position nets of the original repository are told by, and what they go by."""

_LINEARS = [f"{number}.{part}" for number in (0, 2, 4) for part in ("weight", "bias")]
_TEXT_NET = ("null_positive_feature", "null_position_feature", *(f"linears.{name}" for name in _LINEARS))
_TEXT_IMAGE_NET = (
    "null_text_feature",
    "null_image_feature",
    "null_position_feature",
    *(f"linears_{side}.{name}" for side in ("text", "image") for name in _LINEARS),
)
_FUSER = (
    *("alpha_attn", "alpha_dense", "linear.weight", "linear.bias"),
    *(f"attn.to_{name}" for name in ("q.weight", "k.weight", "v.weight", "out.0.weight", "out.0.bias")),
    *(f"ff.net.{name}" for name in ("0.proj.weight", "0.proj.bias", "2.weight", "2.bias")),
    *(f"norm{number}.{part}" for number in (1, 2) for part in ("weight", "bias")),
)

_NO_PART = "It lacks a part of what GLIGEN adds to a UNet; choose another copy."

_OWN_BLOCK = ".attn1.to_q.weight"
"""Of each transformer block, where the file holds the UNet as well."""

_LAYERS = range(1, 5)
"""Transformer blocks of a UNet on each level of its way down that are thought of; real ones have 2."""

_DIFFUSERS = re.compile(
    r"(down|mid|up)_blocks?\.(?:(\d{1,3})\.)?attentions\.(\d{1,3})\.transformer_blocks\.\d{1,3}"
)
_ORIGINAL = re.compile(
    r"(input_blocks|middle_block|output_blocks)\.(\d{1,3})(?:\.1)?\.transformer_blocks\.\d{1,3}"
)
_SIDES = {"input_blocks": "down", "middle_block": "mid", "output_blocks": "up"}


def graft_problem(names: Iterable[str]) -> str:
    """Why what GLIGEN added to a UNet cannot be used, as a sentence; empty where it is whole.

    Args:
        names: of all tensors of the file.
    """
    names = set(names)
    for part, told_by in _OTHER_KINDS.items():
        if any(part in name for name in names):
            return f"It is a GLIGEN model that goes by {told_by}; Easel runs those that go by boxes."
    prefixes = {name.partition("position_net.")[0] for name in names if "position_net." in name}
    places = {name.partition(".fuser.")[0] for name in names if ".fuser." in name}
    if not prefixes or not places:
        return _NO_PART
    prefix = min(prefixes)
    missing = _needed(prefix, places, names) - names
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"It lacks tensors that GLIGEN adds to a UNet, {min(missing)}{more}; choose another copy."
    if not _has_all(prefix, places, names):
        return (
            f"It has GLIGEN's layers for {len(places)} transformer blocks of a UNet, but lacks those for "
            "the others; choose another copy."
        )
    return ""


def _needed(prefix: str, places: Iterable[str], names: Iterable[str]) -> set[str]:
    """The tensors of a position net, and of a gated layer at each place."""
    net = _TEXT_IMAGE_NET if knows_pictures(names) else _TEXT_NET
    fusers = {f"{place}.fuser.{name}" for place in places for name in _FUSER}
    return {f"{prefix}position_net.{name}" for name in net} | fusers


def _has_all(prefix: str, places: Iterable[str], names: Iterable[str]) -> bool:
    """Whether every transformer block has its layer, of the UNet beside it or of the one it was made for."""
    own = {n.removesuffix(_OWN_BLOCK) for n in names if n.startswith(prefix) and n.endswith(_OWN_BLOCK)}
    if own:
        return own == set(places)
    places = [place.removeprefix(prefix) for place in places]
    return any(_is_regular({_located(place, layers) for place in places}, layers) for layers in _LAYERS)


def _is_regular(found: set[tuple[str, int, int] | None], layers: int) -> bool:
    """Whether a UNet has just these blocks: `layers` a level on the way down, one more on that up."""
    down, up = ({one[1] for one in found if one and one[0] == side} for side in ("down", "up"))
    whole = {("down", level, i) for level in down for i in range(layers)}
    whole |= {("up", level, i) for level in up for i in range(layers + 1)}
    return found == whole | {("mid", 0, 0)} and len(down) == len(up) > 0


def _located(place: str, layers: int) -> tuple[str, int, int] | None:
    """Side, level and number of a transformer block; the original names count through all levels."""
    if match := _DIFFUSERS.fullmatch(place):
        return match[1], int(match[2] or 0), int(match[3])
    if match := _ORIGINAL.fullmatch(place):
        side = _SIDES[match[1]]
        return (side, *divmod(int(match[2]) - (side != "up"), layers + 1))
    return None
