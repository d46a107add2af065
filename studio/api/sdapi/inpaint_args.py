"""Image-to-image with a mask: A1111's fields -> how a request inpaints."""

from __future__ import annotations

from typing import Any

from studio.api.sdapi.payloads import Img2ImgPayload
from studio.core.base import BlobId
from studio.core.errors import InvalidRequest
from studio.core.inpaint import BLUR_A_SIGMA, Inpaint, InpaintArea, MaskedContent

_CONTENTS = (
    MaskedContent.FILL,
    MaskedContent.ORIGINAL,
    MaskedContent.LATENT_NOISE,
    MaskedContent.LATENT_NOTHING,
)
"""By the numbers of `inpainting_fill`."""

_MOST_BLUR = next(rule.le for rule in Inpaint.model_fields["blur"].metadata if hasattr(rule, "le"))


def inpaint_fields(payload: Img2ImgPayload, mask: BlobId | None) -> dict[str, Any]:
    """The field `inpaint` of a `GenerateRequest`; nothing without a mask.

    Raises: InvalidRequest.
    """
    if mask is None:
        return {}
    if not 0 <= payload.inpainting_fill < len(_CONTENTS):
        raise InvalidRequest(
            "The field inpainting_fill must be 0 (fill), 1 (original), 2 (latent noise) or "
            f"3 (latent nothing), and is {payload.inpainting_fill}.",
            field="inpainting_fill",
        )
    inpaint = {
        "mask": mask,
        "content": _CONTENTS[payload.inpainting_fill],
        "area": InpaintArea.MASKED if payload.inpaint_full_res else InpaintArea.WHOLE,
        "padding": payload.inpaint_full_res_padding,
        "blur": _blur(payload),
        "invert": bool(payload.inpainting_mask_invert),
        "soft": not payload.mask_round,
    }
    return {"inpaint": inpaint}


def inpaint_warnings(payload: Img2ImgPayload) -> tuple[str, ...]:
    """What is done otherwise than the payload asks."""
    most, asked = _MOST_BLUR / BLUR_A_SIGMA, _sigma(payload)
    if not payload.mask or _blur(payload) == round(asked * BLUR_A_SIGMA):
        return ()
    return (f"mask_blur was {asked}, and {most:.3g} was taken: the widest blur that Easel has.",)


def _blur(payload: Img2ImgPayload) -> int:
    """The width of the seam. A1111's number is the deviation of a Gaussian."""
    return min(round(_sigma(payload) * BLUR_A_SIGMA), int(_MOST_BLUR))


def _sigma(payload: Img2ImgPayload) -> int:
    """It may differ by direction; the larger one counts."""
    across, down = payload.mask_blur_x, payload.mask_blur_y
    return max(across, down) if payload.mask_blur is None else payload.mask_blur
