"""The boxes editor: a canvas, a list of phrases, options. Its behaviour is in `assets/js/box_*.js`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.core.boxes import MAX_BOXES, Boxes
from studio.core.models import Family, ModelInfo
from ui.components.editors import LINE, file_button, tool, tools, undo_tools
from ui.components.networks import unfit

BEHAVIOUR = (
    "history.js",
    "zoom.js",
    "box_geometry.js",
    "box_files.js",
    "box_editor.js",
    "box_mask.js",
    "box_list.js",
    "box_pointer.js",
    "box_page.js",
)

COLOURS = ("#c0453a", "#2b62c4", "#2f8f4e", "#8a4fbf", "#b5761a", "#0f8b8d", "#c13f86", "#5b6b2f")

EXAMPLE = (("a red ball", (0.06, 0.3, 0.46, 0.8)), ("a blue house", (0.54, 0.2, 0.96, 0.8)))

PRESETS = {
    "Left and right": (("", (0.04, 0.2, 0.48, 0.85)), ("", (0.52, 0.2, 0.96, 0.85))),
    "Three in a row": (
        ("", (0.03, 0.3, 0.32, 0.8)),
        ("", (0.355, 0.3, 0.645, 0.8)),
        ("", (0.68, 0.3, 0.97, 0.8)),
    ),
    "Above and below": (("", (0.2, 0.04, 0.8, 0.48)), ("", (0.2, 0.52, 0.8, 0.96))),
    "Sky and ground": (("blue sky", (0, 0, 1, 0.5)), ("green grass", (0, 0.5, 1, 1))),
    "Four corners": tuple(("", (x, y, x + 0.42, y + 0.42)) for y in (0.05, 0.53) for x in (0.05, 0.53)),
    "One in the middle": (("", (0.25, 0.25, 0.75, 0.75)),),
}


def _usual(name: str) -> float:
    return float(Boxes.model_fields[name].default)


def box_facts() -> dict[str, Any]:
    """What the scripts know as FACTS."""
    return {
        "most": MAX_BOXES,
        "share": _usual("share"),
        "strength": _usual("strength"),
        "colours": COLOURS,
        "example": _shown(EXAMPLE),
        "presets": [{"name": name, "boxes": _shown(boxes)} for name, boxes in PRESETS.items()],
    }


def _shown(boxes: Sequence[tuple[str, tuple[float, ...]]]) -> list[dict[str, Any]]:
    return [{"phrase": phrase, "box": box} for phrase, box in boxes]


def model_message(
    models: Sequence[ModelInfo], checkpoint: ModelInfo | None, checkpoints: Sequence[ModelInfo] = ()
) -> dict[str, Any]:
    """GLIGEN models to choose from, with the reason where one cannot be used, and a sentence where none can.

    Args: checkpoints: those that can be chosen instead.
    """
    reasons = [unfit(model, checkpoint) for model in models]
    others = [one.name for one in checkpoints if one.family is Family.SD1 and one.usable]
    missing = all(reasons) and _missing(models, checkpoint, others)
    return {
        "models": [
            {"id": model.id, "name": model.name, "reason": reason}
            for model, reason in zip(models, reasons, strict=True)
        ],
        "missing": missing or "",
        "installable": checkpoint is None or _takes_boxes(checkpoint),
    }


def _missing(models: Sequence[ModelInfo], checkpoint: ModelInfo | None, others: Sequence[str]) -> str:
    if checkpoint and not _takes_boxes(checkpoint):
        remedy = f"Choose {', '.join(others[:3])}" if others else "Install a checkpoint of SD 1.x"
        return f"Boxes need a checkpoint of SD 1.x, but {checkpoint.name} is {checkpoint.family}. {remedy}."
    if models and checkpoint:
        return f"No GLIGEN model here fits {checkpoint.name}. Install one that does."
    return "No GLIGEN model is installed, and boxes need one."


def _takes_boxes(checkpoint: ModelInfo) -> bool:
    return checkpoint.family in (Family.SD1, Family.UNKNOWN)


def box_editor_html() -> str:
    return (
        f'<section class="editor boxes" aria-label="Boxes"><div class="box-stage">{_top()}{_WELL}{LINE}'
        f'{_bottom()}</div><div class="box-side">{_HEAD}{_start()}'
        '<ol class="box-list" aria-label="Boxes"></ol>'
        f'<p class="no-boxes" hidden>No box yet. Drag on the canvas, or choose a layout.</p>'
        f'{_add()}<ul class="checks" role="status" aria-label="What to look at"></ul>{_options()}</div>'
        f'{_ROW}<datalist id="box-phrases"></datalist></section>'
    )


_WELL = (
    '<div class="box-well"><svg viewBox="0 0 512 512" role="group" '
    'aria-label="Canvas. Tab to a box; arrows move it, with Shift they resize it.">'
    '<rect class="paper" width="100%" height="100%"/>'
    '<g class="thirds"><path d=""/><line x1="33.333%" x2="33.333%" y1="0" y2="100%"/>'
    '<line x1="66.667%" x2="66.667%" y1="0" y2="100%"/><line y1="33.333%" y2="33.333%" x1="0" x2="100%"/>'
    '<line y1="66.667%" y2="66.667%" x1="0" x2="100%"/></g>'
    '<image class="under" width="100%" height="100%" preserveAspectRatio="xMidYMid slice"/>'
    '<g class="all"></g><g class="grips"></g><g class="guides"></g></svg>'
    '<input class="box-name" list="box-phrases" role="combobox" aria-expanded="true" maxlength="500" '
    'placeholder="What is here?" aria-label="Phrase of this box" autocomplete="off" hidden>'
    '<p class="hint" hidden>Draw a box here.</p></div>'
)

_HEAD = (
    '<div class="side-head"><h3 id="part-boxes">Boxes</h3><label class="use">Use them'
    '<input type="checkbox" role="switch" class="switch" name="on" aria-label="Use the boxes"></label></div>'
)

_ROW = (
    '<template class="box-row"><div class="row-line">'
    '<input type="color" class="swatch" name="colour" aria-label="Colour of box">'
    '<button type="button" class="number" data-do="choose" aria-label="Choose box"></button>'
    '<input type="text" name="phrase" list="box-phrases" maxlength="500" placeholder="What is here?" '
    'autocomplete="off" aria-label="Phrase of box"><img class="look" alt="" hidden>'
    f'{tool("remove", "×", "Delete box", css="icon bare")}</div><div class="row-more" hidden>'
    f"{tool('earlier', '↑', 'Earlier: box', css='icon')}{tool('later', '↓', 'Later: box', css='icon')}"
    f"{tool('duplicate', 'Duplicate', 'Duplicate box')}{file_button('Picture', 'look', 'image/*')}"
    f"{tool('unlook', 'No picture', 'Take the picture away from box')}</div></template>"
)


def _top() -> str:
    under = "".join(
        f'<button type="button" class="act" data-do="under" data-under="{name}" aria-pressed="false" '
        f'title="{title}">{words}</button>'
        for name, words, title in (
            ("blank", "Blank", "An empty canvas beneath"),
            ("photo", "Photo", "A photo beneath; it can also be dropped here"),
            ("result", "Result", "The newest picture beneath"),
        )
    )
    return (
        '<div class="editor-bar"><div class="under-choice" role="group" aria-label="Beneath the boxes">'
        f"{under}"
        f"</div>{_photo()}<span class='gap'></span>{_view()}{undo_tools()}</div>"
    )


def _photo() -> str:
    return (
        '<div class="tools when-photo" hidden>'
        + file_button("Other photo", "photo", "image/*")
        + tool("unphoto", "×", "Take the photo away", css="icon")
        + "</div>"
        + tool("adopt", "Use as photo", "Go on from this picture: paint inside boxes on it")
    )


def _view() -> str:
    return tools(
        "View",
        tool("show", "Boxes", "Show or hide the boxes"),
        tool("snap", "Snap", "Snap (Alt switches it off)"),
        tool("farther", "−", "Zoom out", css="icon"),
        tool("nearer", "+", "Zoom in (Ctrl and wheel, or two fingers)", css="icon"),
    )


def _bottom() -> str:
    return (
        '<div class="editor-bar"><details class="layouts"><summary class="act">Layouts</summary><div>'
        '<ul class="presets" aria-label="Presets"></ul><ul class="kept" aria-label="Kept layouts"></ul>'
        f"{tool('keep', 'Keep this layout', 'Keep these boxes in this browser')}</div></details>"
        + tools(
            "Files",
            file_button("Open file", "layout", "application/json,.json"),
            tool("export", "Download", "Download these boxes as JSON"),
        )
        + tool("clear", "Clear", "Take all boxes away")
        + "</div>"
    )


def _start() -> str:
    """What else is in the form and not seen in this tab: a photo to start from, a mask on it."""
    away = tool("unstart", "Start from nothing", "Take photo and mask out of the form")
    return f'<p class="starts" role="status" hidden><span></span> {away}</p>'


def _add() -> str:
    return f'<div class="tools">{tool("add", "Add a box", "Add a box (or drag on the canvas)")}</div>'


def _options() -> str:
    return (
        '<div class="box-options">'
        + _range("share", "Share of the steps with boxes", 0, 1, 0.05)
        + _range("strength", "Strength", 0, 2, 0.05)
        + '<div id="field-boxes-model"><label class="pick"><span>Boxes by</span><select name="model" '
        'aria-label="GLIGEN model"></select></label><p class="no-model" hidden><span></span> '
        f"{tool('models', 'Open Models')}</p></div>"
        '<label class="inside"><input type="checkbox" role="switch" class="switch" name="inside">'
        "<span>Paint only inside the boxes<small>Needs a photo beneath, which stays as it is elsewhere."
        "</small></span></label></div>"
    )


def _range(name: str, label: str, low: float, high: float, step: float) -> str:
    return (
        f'<div class="box-option" id="field-boxes-{name}"><label for="boxes-{name}">{label}</label>'
        f'<output for="{name}"></output><input type="range" id="boxes-{name}" name="{name}" min="{low:g}" '
        f'max="{high:g}" step="{step:g}" value="{_usual(name):g}"></div>'
    )
