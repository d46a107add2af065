"""That boxes are active, wherever that is not seen otherwise, and what a picture was asked for with them."""

from __future__ import annotations

from studio.core.boxes import Boxes
from studio.core.jobs import JobState
from ui.components.buttons import action_button
from ui.components.stage import doing_html, job_notes_html
from ui.links import image_url
from ui.stream import JobSight
from ui.words import counted, esc

ACTIONS = ("unbox", "edit")
RESULT_ACTIONS = ("cancel",)

_SHOWN_PHRASES = 4

_HELP = (
    '<p class="help">Drag to draw a box. <span class="for-fingers">Tap a chosen one to name it.</span>'
    '<span class="for-keys">Double-click to name one. <kbd>Tab</kbd> and the arrows work too; '
    "<kbd>Ctrl</kbd> <kbd>Enter</kbd> generates.</span></p>"
)


def boxes_line_html(boxes: Boxes | None) -> str:
    """The line of the Generate tab; empty where no boxes act."""
    if boxes is None or not boxes.enabled:
        return ""
    return (
        f'<div class="boxed"><p><b>{counted(len(boxes.boxes), "box", "boxes")}</b> '
        f"{esc(phrases_words(boxes))}</p>"
        f'<div class="tools">{action_button("edit", "Edit the boxes")}'
        f"{action_button('unbox', 'Take the boxes away')}</div></div>"
    )


def boxes_detail(boxes: Boxes) -> str:
    """A row of an image's details."""
    state = "" if boxes.enabled else " (off)"
    words = f"{phrases_words(boxes)}; {boxes.share:.0%} of the steps, strength {boxes.strength:g}{state}"
    return f"<dt>Boxes</dt><dd>{esc(words)}</dd>"


def phrases_words(boxes: Boxes) -> str:
    """`a red ball, a blue house and 3 more`."""
    phrases = [one.phrase or "a picture" for one in boxes.boxes]
    more = len(phrases) - _SHOWN_PHRASES
    shown = ", ".join(phrases[:_SHOWN_PHRASES])
    return f"{shown} and {more} more" if more > 0 else shown


def box_result_html(sight: JobSight, ready: bool = True) -> str:
    """What the job is doing, and for `box_result.js` the picture to show beneath the boxes."""
    quiet = sight.job is None or sight.job.state is JobState.FINISHED
    doing = _HELP if quiet else doing_html(sight, ready)
    return f'<div class="doing">{doing}</div>{job_notes_html(sight.job)}{_seen(sight)}'


def _seen(sight: JobSight) -> str:
    if sight.preview:
        source = f"data:image/jpeg;base64,{esc(sight.preview)}"
        return f'<i class="seen" hidden data-live="true" data-src="{source}"></i>'
    if sight.images:
        image = sight.images[0].id
        return f'<i class="seen" hidden data-image="{esc(image)}" data-src="{image_url(image)}"></i>'
    return ""
