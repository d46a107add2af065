"""The machine at the foot of the stack: device, memory, what is loaded, and what was freed and why."""

from __future__ import annotations

from studio.core.models import LoadedComponent, StudioStatus
from ui.words import esc, label_words, size_words

_NOTES_SHOWN = 3


def machine_html(status: StudioStatus) -> str:
    loading = f'<p class="loading" role="status">{esc(status.message)}</p>' if status.message else ""
    return (
        f'<section class="machine" aria-label="Machine">{loading}{_device(status)}'
        f"{_loaded(status.components)}{_notes(status)}</section>"
    )


def _device(status: StudioStatus) -> str:
    if not status.ready:
        return ""
    name = status.device_name or status.device
    budget = status.memory_budget or status.memory_total
    meter = (
        f'<meter aria-label="Memory of models" max="{budget}" value="{status.memory_used}"></meter>'
        f"<p>Models take {size_words(status.memory_used)} of {size_words(budget)}</p>"
        if budget
        else ""
    )
    ram = f"<p>Main memory: {size_words(status.ram_used)} of {size_words(status.ram_total)}</p>"
    precision = f" · {esc(status.precision)}" if status.precision else ""
    return f'<p class="device">{esc(name)}{precision}</p>{meter}{ram if status.ram_total else ""}'


def _loaded(components: tuple[LoadedComponent, ...]) -> str:
    if not components:
        return ""
    rows = "".join(
        f'<li class="{"in-use" if part.in_use else ""}">'
        f"<span>{esc(label_words(part.role))} · {esc(part.model)}</span>"
        f"<span>{size_words(part.size_bytes)} on {esc(part.device)}</span></li>"
        for part in components
    )
    return f"<details><summary>{len(components)} loaded</summary><ul>{rows}</ul></details>"


def _notes(status: StudioStatus) -> str:
    return "".join(f'<p class="note">{esc(note)}</p>' for note in status.notes[-_NOTES_SHOWN:])
