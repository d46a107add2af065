"""The mask editor: a photo, and over it what is to be painted anew; see `assets/js/mask_editor.js`."""

from __future__ import annotations

from ui.components.editors import LINE, file_button, slider, tool, tools, undo_tools
from ui.components.mask_example import example_html

BEHAVIOUR = ("history.js", "zoom.js", "make_map.js", "mask_paint.js", "mask_effect.js", "mask_editor.js")


def mask_editor_html() -> str:
    return (
        '<section class="editor mask-editor" aria-label="Mask">'
        f'<div class="editor-bar">{_pens()}{undo_tools()}{_whole()}</div>'
        f'<div class="mask-well">{_stack()}<div class="brush"></div>{_hint()}</div>'
        f'{LINE}<div class="editor-bar">{_files()}{_view()}</div></section>'
    )


def _stack() -> str:
    return (
        '<div class="mask-frame" hidden><div class="mask-stack">'
        '<img class="photo" alt="Photo" draggable="false">'
        '<canvas class="mask-effect" width="1" height="1"></canvas>'
        '<canvas class="mask-paint" width="1" height="1" tabindex="0" role="img" '
        'aria-label="Mask. B brush, E eraser, R box, L lasso, brackets change the size."></canvas>'
        '<svg aria-hidden="true" preserveAspectRatio="none"><path d=""/></svg></div></div>'
    )


def _hint() -> str:
    return (
        '<div class="hint"><div><p>Drop a photo here, or paste one.</p><div class="tools">'
        + file_button("Choose a photo", "photo", "image/*")
        + tool("last", "Last result", "The newest picture made here")
        + f"</div>{example_html()}</div></div>"
    )


def _pens() -> str:
    pens = tools(
        "Tool",
        tool("brush", "Brush", "Brush (B)"),
        tool("eraser", "Eraser", "Eraser (E)"),
        tool("box", "Box", "Box (R); with Alt it erases"),
        tool("lasso", "Lasso", "Lasso (L); with Alt it erases"),
        tool("object", "Object", "Click an object: all of it is masked"),
    )
    return pens.replace('class="tools"', 'class="tools pens"', 1) + slider("size", "Size", 0.5, 30, 6, 0.1)


def _whole() -> str:
    return tools(
        "Mask",
        tool("invert", "Invert", "What is masked is kept, and the rest painted anew"),
        tool("clear", "Clear", "Nothing is masked"),
    )


def _files() -> str:
    photo = tools(
        "Photo",
        file_button("Choose a photo", "photo", "image/*"),
        tool("last", "Last result", "The newest picture made here becomes the photo"),
    )
    mask = tools(
        "Mask as a file",
        file_button("Upload a mask", "mask", "image/*"),
        tool("save", "Download mask", "White where the photo is painted anew"),
    )
    return photo + mask


def _view() -> str:
    return tools(
        "View",
        tool("farther", "−", "Zoom out", css="icon"),
        tool("nearer", "+", "Zoom in (Ctrl and wheel); the middle button moves the view", css="icon"),
    )
