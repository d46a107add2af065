"""Numbers and names as a person reads them, and the escaping that every text passes on its way out."""

from __future__ import annotations

import html
from datetime import datetime

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def esc(text: object) -> str:
    """`text` safe inside an element or a quoted attribute."""
    return html.escape(str(text), quote=True)


def size_words(size: int) -> str:
    """A number of bytes: `512 bytes`, `4.3 GB`."""
    value, unit = float(size), _UNITS[0]
    for unit in _UNITS:  # noqa: B007 (the last unit reached is the one to show)
        if value < 1000:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"


def time_words(seconds: float) -> str:
    """A duration: `4 s`, `2 min 5 s`, `1 h 12 min`."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def moment_words(moment: datetime) -> str:
    """A point in time, in the clock of this machine."""
    return f"{moment.astimezone():%d %b %Y, %H:%M}"


_STACKED = {
    "loras": "LoRA",
    "hypernetworks": "Hypernetwork",
    "controls": "Control",
    "image_prompts": "Image prompt",
    "boxes": "Box",
}


def label_words(path: str) -> str:
    """The name of a request's field: `hires.scale` is `Hires scale`, `loras.0.weight` is `LoRA 1 weight`."""
    field, _, entry = path.replace("boxes.boxes.", "boxes.").partition(".")
    index, _, name = entry.partition(".")
    if field in _STACKED and index.isdigit():
        return f"{_STACKED[field]} {int(index) + 1} {name.replace('_', ' ').replace('.', ' ')}".strip()
    return path.replace(".", " ").replace("_", " ").capitalize()


def number_words(value: object, times: float = 1.0) -> str:
    """`value` times `times` for a number input; empty where it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{round(value * times, 4):.10g}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 image`, `3 images`, `2 boxes`.

    Args:
        plural: of `noun`, where it is more than an s.
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
