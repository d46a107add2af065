"""A mask for one unit of the stack: where it holds. The behaviour is in `assets/js/mask.js`."""

from __future__ import annotations

from ui.components.editors import file_button
from ui.links import blob_url

ACTIONS = ("unmask",)


def mask_html(blob_id: str) -> str:
    shown = f'<img src="{blob_url(blob_id)}" alt="Mask">' if blob_id else "<span>Everywhere</span>"
    off = '<button type="button" class="act" data-action="unmask">Everywhere</button>' if blob_id else ""
    return (
        f'<div class="mask" role="group" aria-label="Mask"><p class="label">Where it holds</p>{shown}'
        f'<div class="tools">{file_button("Upload a mask", "mask", "image/*")}'
        '<button type="button" class="act" data-sketch title="White lines of the sketch become the mask">'
        f'From the sketch</button>{off}</div><p class="editor-line"></p></div>'
    )
