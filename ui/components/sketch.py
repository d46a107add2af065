"""The sketch editor: pen and eraser, layers, a photo to trace. Its behaviour is in `assets/js/sketch.js`."""

from __future__ import annotations

from ui.components.editors import LINE, photo_tools, select, slider, tool, tools, undo_tools
from ui.words import esc

BEHAVIOUR = ("history.js", "zoom.js", "sketch_paint.js", "sketch.js")

COLOURS = {
    "Black": "#000000",
    "White": "#ffffff",
    "Red": "#d32f2f",
    "Yellow": "#f2c230",
    "Green": "#2f8f4e",
    "Blue": "#2b62c4",
}

PAPERS = {"white": "White paper", "black": "Black paper"}
MAPS = {"lines": "Map: light lines on black", "colours": "Map: as it is drawn"}


def sketch_html() -> str:
    return (
        '<section class="editor sketch" aria-label="Sketch">'
        f'<div class="editor-bar">{_pens()}{_colours()}{undo_tools()}{_whole()}</div>'
        '<div class="sketch-well"><canvas width="768" height="768" tabindex="0" role="img" '
        'aria-label="Canvas. B pen, E eraser, brackets change the size."></canvas><div class="brush"></div>'
        '<p class="hint">Draw here.</p></div>'
        f'{LINE}<div class="editor-bar">{_layers()}{photo_tools(0.5)}{_paper()}{_view()}</div></section>'
    )


def _pens() -> str:
    return tools("Tool", tool("pen", "Pen", "Pen (B)"), tool("eraser", "Eraser", "Eraser (E)")) + slider(
        "size", "Size", 1, 96, 6, 1
    )


def _colours() -> str:
    swatches = "".join(
        f'<button type="button" class="swatch" data-do="ink" data-colour="{colour}" title="{esc(name)}" '
        f'aria-label="{esc(name)}" style="background:{colour}"></button>'
        for name, colour in COLOURS.items()
    )
    own = '<input type="color" class="swatch" name="colour" value="#000000" aria-label="Any colour">'
    return tools("Colour", swatches, own)


def _whole() -> str:
    return tools("Drawing", tool("mirror", "Mirror"), tool("clear", "Clear", "Empty all layers"))


def _layers() -> str:
    return (
        '<details class="layer-list"><summary class="act">Layers</summary><div><ol class="layers"></ol>'
        + tool("layer-add", "Add layer")
        + tool("layer-remove", "Remove layer", "Remove the chosen layer")
        + "</div></details>"
    )


def _paper() -> str:
    return select("paper", "Paper", PAPERS, shown=False) + select("map", "Map", MAPS, shown=False)


def _view() -> str:
    return tools(
        "View",
        tool("farther", "−", "Zoom out", css="icon"),
        tool("nearer", "+", "Zoom in (Ctrl and wheel)", css="icon"),
        tool("save", "Download"),
    )
