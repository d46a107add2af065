"""That a mask is active, wherever that is not seen otherwise, and what an inpainting was asked for."""

from __future__ import annotations

from studio.core.geometry import Extent
from studio.core.inpaint import Inpaint, InpaintArea
from studio.core.models import ModelInfo, Variant
from ui.components.buttons import action_button
from ui.links import blob_url
from ui.words import esc

ACTIONS = ("unmask", "edit", "nothing")
SIZE_ACTIONS = ("fit",)
CHANNEL_ACTIONS = ("switch",)

SIDES = ("left", "top", "right", "bottom")


def masked_html(inpaint: Inpaint | None) -> str:
    """The line of the Generate tab; empty where nothing is masked."""
    if inpaint is None:
        return ""
    return (
        f'<div class="masked">{_thumb(inpaint)}<p><b>Only a part is painted anew.</b> '
        f"{esc(inpaint_words(inpaint).capitalize())}.</p>"
        f'<div class="tools">{action_button("edit", "Edit the mask")}'
        f"{action_button('unmask', 'Take the mask away', 'The next picture starts from the whole photo')}"
        f"{action_button('nothing', 'Start from nothing', 'Take photo and mask out of the form')}</div></div>"
    )


def _thumb(inpaint: Inpaint) -> str:
    return f'<img class="thumb" alt="Mask" src="{blob_url(inpaint.mask)}">' if inpaint.mask else ""


def masked_detail(inpaint: Inpaint) -> str:
    """A row of an image's details."""
    return f'<dt>Inpaint</dt><dd class="mask-detail">{_thumb(inpaint)}{esc(inpaint_words(inpaint))}</dd>'


def inpaint_words(inpaint: Inpaint) -> str:
    """`only masked, 32 px around, from fill, grown by 4 px, 64 px added left`."""
    words = [str(inpaint.area)]
    if inpaint.area is InpaintArea.MASKED:
        words.append(f"{inpaint.padding} px around")
    words += [f"from {inpaint.content}", f"soft edge of {inpaint.blur} px"]
    if inpaint.grow:
        words.append(f"{'grown' if inpaint.grow > 0 else 'shrunk'} by {abs(inpaint.grow)} px")
    words += ["inverted"] * inpaint.invert + ["grey changes less"] * inpaint.soft
    sides = ((side, getattr(inpaint.outpaint, side)) for side in SIDES)
    words += [f"{length} px added {_WHERE[side]}" for side, length in sides if length]
    return ", ".join(words)


_WHERE = {"left": "left", "top": "on top", "right": "right", "bottom": "below"}


def channels_html(model: ModelInfo | None, better: ModelInfo | None = None) -> str:
    """How the chosen model fills a mask. Args: better: one made for it, offered instead."""
    if model is None:
        return ""
    words = (
        "is made for inpainting: it sees mask and photo (nine channels)."
        if model.variant is Variant.INPAINT
        else "inpaints by blending: the photo is put back around the mask at each step. Any model can; "
        "one made for inpainting sees the photo too and fits in better."
    )
    badge = "Made for inpainting" if model.variant is Variant.INPAINT else "Blends"
    offer = action_button("switch", f"Use {better.name}", id=better.id) if better else ""
    return f'<div class="channels"><p><b>{badge}</b> {esc(model.name)} {words}</p>{offer}</div>'


def size_html(photo: Extent | None, made: Extent, fitting: Extent | None) -> str:
    """Sizes of the photo and of what is made; the way to a shape that fits where it does not."""
    if photo is None or fitting is None:
        return ""
    words = f"Photo {photo.width} × {photo.height} px, painted at {made.width} × {made.height} px"
    what_comes = "." if photo == made else _WHAT_COMES
    shapes = (made.width / made.height, fitting.width / fitting.height)
    fit = "" if abs(shapes[0] / shapes[1] - 1) <= 0.03 else action_button("fit", "Fit to the photo")
    return f'<p class="size-line"><span>{esc(words)}{what_comes}</span> {fit}</p>'


_WHAT_COMES = (
    '<span class="for-masked"> and put back: the photo keeps its size.</span>'
    '<span class="for-whole">, the size of the result. '
    '<button type="button" class="act" data-keeps-size>Keep the photo\'s size</button></span>'
)
