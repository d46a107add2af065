"""What came of an inpainting: the photo and the result under one slider. See `assets/js/before_after.js`."""

from __future__ import annotations

from studio.core.library import ImageRecord
from ui.components.buttons import action_button, action_link
from ui.components.stage import canvas_html, doing_html, job_notes_html
from ui.links import blob_url, image_url
from ui.stream import JobSight
from ui.words import esc

ACTIONS = ("cancel", "go_on")

_NOTHING = """
<div class="empty"><h3>No result yet</h3>
<p>Mask a part of the photo, say what should be there, and press Paint.</p></div>
"""


def before_after_html(sight: JobSight, ready: bool = True) -> str:
    """Args: sight: of the inpainting jobs alone."""
    job = sight.job
    result = sight.images[0] if sight.images and not sight.active else None
    body = _compare(result) if result and result.request.source else _live(sight)
    return (
        f'<section class="stage before-after" data-job="{esc(job.id if job else "")}" '
        f'data-state="{esc(job.state if job else "")}" data-sides="{_sides(result)}" aria-label="Result">'
        f'<div class="canvas-frame">{body}<div class="doing">{doing_html(sight, ready)}</div></div>'
        f"{job_notes_html(job)}{_toolbar(result)}</section>"
    )


def _live(sight: JobSight) -> str:
    return f'<figure class="canvas">{canvas_html(sight) if sight.active else _NOTHING}</figure>'


def _compare(image: ImageRecord) -> str:
    assert image.request.source
    return (
        '<figure class="canvas"><div class="compare">'
        f'<img class="after" alt="Result: {esc(image.prompt)}" src="{image_url(image.id)}" draggable="false">'
        f'<div class="left"><img class="before" alt="Photo" src="{blob_url(image.request.source.image)}" '
        'draggable="false"></div><i class="edge"></i></div></figure>'
    )


def _sides(image: ImageRecord | None) -> str:
    """Canvas that was added around the photo: left, top, right, bottom in px of the photo."""
    if image is None or image.request.inpaint is None:
        return "0 0 0 0"
    sides = image.request.inpaint.outpaint
    return f"{sides.left} {sides.top} {sides.right} {sides.bottom}"


def _toolbar(image: ImageRecord | None) -> str:
    back = '<button type="button" class="act" data-back title="Change the mask">Back to the mask</button>'
    if image is None:
        return f'<div class="toolbar">{back}</div>'
    return (
        '<label class="fade-line"><span>Photo</span><input type="range" name="fade" '
        'min="0" max="100" step="0.5" value="8" aria-label="Photo or result"><span>Result</span></label>'
        '<div class="toolbar" role="toolbar" aria-label="This result">'
        + action_button(
            "go_on",
            "Go on with this result",
            "It becomes the photo, with nothing masked",
            css="strong",
            id=image.id,
        )
        + back
        + '<span class="gap"></span>'
        + action_link("Download", image_url(image.id), download=f"easel-{image.seed}")
        + "</div>"
    )
