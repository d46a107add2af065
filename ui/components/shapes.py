"""A row of buttons that show the shape of the picture they give."""

from __future__ import annotations

from ui.sizes import SHAPES
from ui.words import esc

ACTIONS = ("shape", "swap")

_SIDE = 16


def shapes_html() -> str:
    buttons = "".join(_button(name, ratio) for name, ratio in SHAPES.items())
    return (
        f'<div class="shapes" role="group" aria-label="Shape">{buttons}'
        '<button type="button" data-action="swap" title="Swap width and height" '
        'aria-label="Swap width and height">⇄</button></div>'
    )


def _button(name: str, ratio: float) -> str:
    width, height = (_SIDE, _SIDE / ratio) if ratio >= 1 else (_SIDE * ratio, _SIDE)
    return (
        f'<button type="button" data-action="shape" data-shape="{esc(name)}" '
        f'title="{esc(name)} at the model\'s own size">'
        f'<i style="width:{width:.0f}px;height:{height:.0f}px"></i>{esc(name)}</button>'
    )
