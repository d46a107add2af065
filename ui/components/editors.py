"""What the editors of the Control tab share: their buttons, and the line that says what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ui.words import esc

LINE = '<p class="editor-line" role="status" aria-live="polite"></p>'


def tool(name: str, label: str, title: str = "", *, css: str = "", **data: str) -> str:
    """A button that the editor's own script knows by `name`. Args: css: further classes."""
    attributes = "".join(f' data-{key}="{esc(value)}"' for key, value in data.items())
    return (
        f'<button type="button" class="act {css}" data-do="{esc(name)}"{attributes} '
        f'title="{esc(title or label)}" aria-label="{esc(title or label)}">{label}</button>'
    )


def tools(label: str, *parts: str) -> str:
    """A group of buttons that belong together."""
    return f'<div class="tools" role="group" aria-label="{esc(label)}">{"".join(parts)}</div>'


def undo_tools() -> str:
    return tools(
        "History",
        tool("undo", "↶", "Undo (Ctrl+Z)", css="icon"),
        tool("redo", "↷", "Redo (Ctrl+Y)", css="icon"),
    )


def file_button(label: str, name: str, accept: str, *, many: bool = False) -> str:
    """A button that opens the choice of a file; the input lies in it, unseen but there for the keyboard."""
    several = " multiple" if many else ""
    return (
        f'<label class="act file">{esc(label)}<input type="file" name="{esc(name)}" '
        f'accept="{esc(accept)}"{several} aria-label="{esc(label)}"></label>'
    )


def slider(name: str, label: str, low: float, high: float, value: float, step: float) -> str:
    return (
        f'<label class="slide">{esc(label)}<input type="range" name="{esc(name)}" min="{low:g}" '
        f'max="{high:g}" step="{step:g}" value="{value:g}"></label>'
    )


def select(name: str, label: str, choices: dict[str, str], *, shown: bool = True) -> str:
    """A list of choices, words by value. Args: shown: whether the label is seen, not only heard."""
    words = f"<span>{esc(label)}</span>" if shown else ""
    return (
        f'<label class="pick">{words}<select name="{esc(name)}" aria-label="{esc(label)}">'
        f"{option_tags(choices)}</select></label>"
    )


def option_tags(choices: Mapping[Any, str], chosen: Any = None) -> str:
    """What a `<select>` holds, words by value. Args: chosen: the value to begin with, else the first."""
    return "".join(
        f'<option value="{esc(value)}"{" selected" if value == chosen else ""}>{esc(words)}</option>'
        for value, words in choices.items()
    )


def photo_tools(opacity: float, *more: str) -> str:
    """A photo beneath the drawing: chosen, faded, taken away. Args: more: buttons for what else to do."""
    return (
        tools("Photo beneath", file_button("Photo beneath", "photo", "image/*"))
        + '<div class="tools when-photo" hidden>'
        + slider("opacity", "Photo", 0.05, 1, opacity, 0.05)
        + "".join(more)
        + tool("unphoto", "×", "Take the photo away", css="icon")
        + "</div>"
    )
