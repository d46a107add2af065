"""Masks that would paint nothing are refused when the request comes in, at the field that is to blame."""

from __future__ import annotations

import re
from typing import Any

import pytest
from PIL import Image

from studio.app.masks import check_mask
from studio.core.base import BlobId
from studio.core.errors import ImageError, InvalidRequest
from studio.core.geometry import ResizeMode
from studio.core.inpaint import Inpaint, InpaintArea, Outpaint
from studio.core.requests import GenerateRequest, SourceImage

PHOTO, MASK = "a" * 64, "b" * 64
SIZE = (64, 64)


def square(value: int = 255, box: tuple[int, int, int, int] = (16, 16, 48, 48), size=SIZE) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(value, box)
    return mask


def _at_both_ends() -> Image.Image:
    mask = square(box=(0, 0, 20, 64), size=(256, 64))
    mask.paste(255, (240, 0, 256, 64))
    return mask


def check(
    mask: Image.Image | None, *, size=(64, 64), mode: ResizeMode = ResizeMode.CROP, **options: Any
) -> None:
    photo = Image.new("RGB", mask.size if mask else SIZE)
    check_mask(
        GenerateRequest(
            width=size[0],
            height=size[1],
            source=SourceImage(image=PHOTO, resize_mode=mode),
            inpaint=Inpaint(**{"mask": MASK if mask else None, "blur": 0, **options}),
        ),
        {PHOTO: photo}.__getitem__,
        {MASK: mask}.__getitem__,
    )


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (square(), {"grow": -12}),
        (square(), {"invert": True}),
        (square(), {"invert": True, "grow": 60}),
        (square(100), {"soft": True}),
        (square(1), {"soft": True}),
        (square(0), {"invert": True}),
        (square(box=(1, 10, 4, 60)), {}),
        (square(0), {"outpaint": Outpaint(right=16)}),
        (square(), {"grow": -40, "outpaint": Outpaint(right=16)}),
        (None, {"outpaint": Outpaint(left=64)}),
    ],
)
def test_whatever_paints_something_is_taken(mask, options):
    check(mask, **options)


@pytest.mark.parametrize(
    ("mask", "options", "field", "says"),
    [
        (square(0), {}, "inpaint.mask", "nothing is masked. Paint over"),
        (square(), {"grow": -40}, "inpaint.grow", "is left when it is shrunk by 40 px. Shrink it less"),
        (square(), {"invert": True, "grow": -60}, "inpaint.grow", "shrunk by 60 px"),
        (square(100), {"soft": True, "grow": -40}, "inpaint.grow", "shrunk by 40 px"),
        (square(100), {}, "inpaint.mask", "dark grey at most.*soft"),
        (square(255, (0, 0, 64, 64)), {"invert": True}, "inpaint.mask", "the mask is inverted"),
        (square(255, (0, 0, 64, 64)), {"invert": True, "soft": True}, "inpaint.mask", "is inverted"),
        (square(0), {"grow": 20}, "inpaint.mask", "nothing is masked"),
    ],
)
def test_what_paints_nothing_is_refused(mask, options, field, says):
    with pytest.raises(InvalidRequest, match=says) as refused:
        check(mask, **options)
    assert refused.value.field == field


def test_what_is_too_thin_at_the_size_that_is_painted_is_refused():
    thin = square(box=(500, 100, 501, 900), size=(1024, 1024))
    with pytest.raises(InvalidRequest, match=r"too thin.*Paint wider, or choose the area") as refused:
        check(thin)
    assert refused.value.field == "inpaint.mask"
    check(thin, area=InpaintArea.MASKED, padding=0, size=(64, 512))
    check(thin, size=(1024, 1024))


def test_a_thin_mask_with_wide_surroundings_is_not_sent_to_where_it_is():
    thin = square(box=(500, 500, 501, 501), size=(1024, 1024))
    with pytest.raises(InvalidRequest, match=re.escape("Paint wider.") + "$"):
        check(thin, area=InpaintArea.MASKED, padding=500)


@pytest.mark.parametrize(
    ("mask", "options", "field"),
    [
        (square(box=(0, 0, 20, 64), size=(256, 64)), {}, "inpaint.mask"),
        (_at_both_ends(), {}, "inpaint.mask"),
        (None, {"outpaint": Outpaint(top=8), "size": (256, 64)}, "inpaint.outpaint"),
    ],
)
def test_what_the_frame_cuts_off_is_refused(mask, options, field):
    with pytest.raises(InvalidRequest, match=r"cut off, .* \(crop\)") as refused:
        check(mask, **options)
    assert refused.value.field == field
    check(mask, mode=ResizeMode.PAD, **options)


def test_a_picture_that_cannot_be_read_is_told_at_its_field():
    def broken(_: BlobId) -> Image.Image:
        raise ImageError("This picture's file is damaged.", "Use another one.")

    request = GenerateRequest(source=SourceImage(image=PHOTO), inpaint=Inpaint(mask=MASK))
    for readers, field in (
        ((broken, broken), "source.image"),
        ((lambda _: Image.new("RGB", SIZE), broken), "inpaint.mask"),
    ):
        with pytest.raises(InvalidRequest, match="damaged") as refused:
            check_mask(request, *readers)
        assert refused.value.field == field
