"""Preprocessors of A1111's ControlNet extension that are not run here, and what to use instead."""

from __future__ import annotations

from collections.abc import Mapping

IMAGE_PROMPT_MODULE = "ip-adapter-auto"
"""What units of an IP-Adapter name: the picture goes through the adapter's own image encoder."""

_NO_MODEL_NEEDED = (
    "works inside of the UNet and with no model, and is not run here.",
    f"An IP-Adapter follows a picture's look: name it as the model, and {IMAGE_PROMPT_MODULE} as the module.",
)

_REFUSED: Mapping[str, tuple[str, str]] = {
    IMAGE_PROMPT_MODULE: (
        "makes no map: it hands a picture to an IP-Adapter.",
        "Name an IP-Adapter as the model.",
    ),
    "reference_only": _NO_MODEL_NEEDED,
    "reference_adain": _NO_MODEL_NEEDED,
    "reference_adain+attn": _NO_MODEL_NEEDED,
    "depth_leres++": (
        "sharpens LeReS with a second net, which is not run here.",
        "depth_leres is the same without it; depth_anything_v2 shows finer detail.",
    ),
    "tile_colorfix": (
        "mends the colours of the finished picture, which is not done here.",
        "tile_resample makes the map without that.",
    ),
    "tile_colorfix+sharp": (
        "mends the colours of the finished picture and sharpens it, which is not done here.",
        "tile_resample makes the map without that.",
    ),
    "seg_ofcoco": (
        "paints the classes of COCO, which are not known here.",
        "seg_ufade20k paints those of ADE20K, in whose colours most segmentation nets were trained.",
    ),
    "lineart_anime_denoise": (
        "runs a net for manga that is not run here.",
        "lineart_anime draws lines of the same kind.",
    ),
    "blur_gaussian": (
        "is not run here.",
        "tile_resample takes fine detail away as well; or send the blurred picture with the module none.",
    ),
    "inpaint_only+lama": (
        "fills the hole with LaMa first, which is not run here.",
        "inpaint_only leaves it to the ControlNet.",
    ),
}
_OTHER_NAMES = {"oneformer_coco": "seg_ofcoco"}


def refusal_of(module: str) -> tuple[str, str] | None:
    """Why a preprocessor is not run, and what to do instead; None for all other names, in lower case."""
    reason = _REFUSED.get(_OTHER_NAMES.get(module, module))
    return (f"{module} {reason[0]}", reason[1]) if reason else None
