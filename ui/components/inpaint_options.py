"""How a masked part is painted anew, as controls over the request's own field; see `inpaint_options.js`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent, Outpaint
from ui.components.editors import option_tags
from ui.words import esc

BEHAVIOUR = ("inpaint_options.js",)

CONTENT = {
    MaskedContent.ORIGINAL: "The photo itself",
    MaskedContent.FILL: "Its surroundings, drawn in",
    MaskedContent.LATENT_NOISE: "Noise",
    MaskedContent.LATENT_NOTHING: "Nothing",
}
AREA = {
    InpaintArea.WHOLE: "The whole picture",
    InpaintArea.MASKED: "Only the masked part, enlarged",
}
_SLIDERS = {"padding": (0, 256), "blur": (0, 64), "grow": (-64, 64)}
"""Ends of the sliders, px; the number beside one takes all that a request may hold."""


def usual_options() -> dict[str, Any]:
    """Every option but the mask, as it is where nobody changed it."""
    usual = {name: info.default for name, info in Inpaint.model_fields.items() if name != "mask"}
    return {**usual, "outpaint": Outpaint().model_dump()}


def inpaint_options_html() -> str:
    return (
        '<section class="options inpaint-options" aria-label="Inpainting">'
        + _select("content", "Painting starts from", CONTENT)
        + _select("area", "The model sees", AREA)
        + f'<div class="when-masked" hidden>{_number("padding", "Surroundings, px")}</div>'
        + _number("blur", "Soft edge, px")
        + _number("grow", "Grow or shrink, px")
        + f'<div class="ticks">{_tick("invert", "Paint what is not masked")}'
        + f"{_tick('soft', 'Soft: seam and grey parts change less')}</div>"
        + _outpaint()
        + "</section>"
    )


def _help(name: str) -> str:
    return esc(Inpaint.model_fields[name].description or "")


def _select(name: str, label: str, choices: Mapping[Any, str]) -> str:
    return (
        f'<div class="option"><label><span>{esc(label)}</span><select data-option="{name}">'
        f"{option_tags(choices)}</select></label></div>"
    )


def _number(name: str, label: str) -> str:
    limits = Inpaint.model_json_schema()["properties"][name]
    low, high = _SLIDERS[name]
    return (
        f'<div class="option" id="field-inpaint-{name}" title="{_help(name)}">'
        f"<label><span>{esc(label)}</span>"
        f'<input type="number" data-option="{name}" min="{limits["minimum"]}" max="{limits["maximum"]}">'
        f'<input type="range" data-option="{name}" min="{low}" max="{high}" step="1" '
        f'aria-label="{esc(label)}, slider"></label></div>'
    )


def _tick(name: str, label: str) -> str:
    return (
        f'<label class="tick" title="{_help(name)}"><input type="checkbox" data-option="{name}">'
        f"{esc(label)}</label>"
    )


def _outpaint() -> str:
    sides = "".join(
        f'<label><span>{side.capitalize()}</span><input type="number" data-side="{side}" min="0" max="1024" '
        'step="8" value="0"></label>'
        for side in Outpaint.model_fields
    )
    return (
        '<fieldset class="sides" id="field-inpaint-outpaint"><legend>Add canvas at a side, px</legend>'
        f"{sides}</fieldset>"
    )
