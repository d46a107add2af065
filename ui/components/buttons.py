"""Buttons of own components: a click triggers the event that `data-action` names (see `ui.wiring`)."""

from __future__ import annotations

from ui.words import esc


def action_button(action: str, label: str, title: str = "", *, css: str = "", **data: str) -> str:
    """A button that triggers `action` with `data`. Args: title: explains it; css: further classes."""
    attributes = "".join(f' data-{name}="{esc(value)}"' for name, value in data.items())
    return (
        f'<button type="button" class="act {css}" data-action="{action}"{attributes} '
        f'title="{esc(title or label)}">{esc(label)}</button>'
    )


def action_link(label: str, url: str, *, download: str) -> str:
    return f'<a class="act" href="{esc(url)}" download="{esc(download)}">{esc(label)}</a>'
