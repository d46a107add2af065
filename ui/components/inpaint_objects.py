"""Objects painted into a scene one after another, each with a mask and a phrase of its own.

The behaviour is in `assets/js/inpaint_objects.js`.
"""

from __future__ import annotations

from ui.components.editors import LINE, tool, tools

BEHAVIOUR = ("history.js", "inpaint_objects.js")


def inpaint_objects_html() -> str:
    return (
        '<details class="editor objects"><summary>Several objects, one after another</summary>'
        "<p>Mask a place, say what should be there, add it; then the next. Each object is painted into the "
        'result of the one before.</p><ol class="object-list"></ol>'
        + tools(
            "Objects",
            tool("add", "Add object", "This mask, and what the prompt says"),
            tool("all", "Paint all", "One after another, from the photo on", css="strong"),
            tool("stop", "Stop", "Cancel this object and those that wait"),
        )
        + f"{LINE}</details>"
    )
