"""What the Inpaint tab offers where there is no photo yet: one with a mask, and words for what is to come."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from io import BytesIO

from PIL import Image, ImageDraw

from ui.wiring import ASSETS

PHOTO = ASSETS / "examples" / "scene.png"
PROMPT = "a red person and a green tree on grass"
_MASK = (244, 190, 512, 476)
"""Around the house, px."""

_TINT = (194, 69, 45)
_SHOWN_SIDE = 256


def example_mask() -> bytes:
    """A PNG of the photo's size, white where it is painted anew."""
    return _encoded(_mask(), "PNG")


@cache
def example_html() -> str:
    """The photo with its mask, small, as the editor would show it: a button that brings both."""
    photo = Image.open(PHOTO).convert("RGB")
    tinted = Image.blend(photo, Image.new("RGB", photo.size, _TINT), 0.5)
    photo.paste(tinted, mask=_mask())
    photo.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    picture = b64encode(_encoded(photo, "WEBP")).decode("ascii")
    return (
        '<button type="button" class="example" data-do="example">'
        f'<img src="data:image/webp;base64,{picture}" alt="" width="{photo.width}" height="{photo.height}">'
        "<b>Try the example</b><span>A green tree where the house is</span></button>"
    )


def _mask() -> Image.Image:
    mask = Image.new("L", Image.open(PHOTO).size, 0)
    ImageDraw.Draw(mask).rounded_rectangle(_MASK, 60, fill=255)
    return mask


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()
