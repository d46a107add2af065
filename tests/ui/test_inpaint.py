"""The Inpaint tab without a browser: sizes, words, and what its components are given."""

import pytest

from studio.core.geometry import Extent
from studio.core.inpaint import Inpaint, InpaintArea, Outpaint
from studio.core.jobs import JobState
from studio.core.models import Variant
from studio.core.requests import GenerateRequest, SourceImage
from tests.fakes import MODELS
from ui.components.before_after import before_after_html
from ui.components.inpaint_options import inpaint_options_html, usual_options
from ui.components.masked import channels_html, inpaint_words, masked_html, size_html
from ui.components.tiles import details_html
from ui.form import held_part
from ui.sizes import photo_extent
from ui.stream import Session, look

BLOB = "a" * 64


@pytest.mark.parametrize(
    ("native", "photo", "size"),
    [
        (512, (512, 512), (512, 512)),
        (512, (640, 480), (640, 480)),
        (512, (4000, 3000), (592, 440)),
        (512, (333, 500), (416, 624)),
        (128, (512, 512), (128, 128)),
        (512, (4000, 10), (4096, 64)),
    ],
)
def test_a_photo_is_painted_in_its_own_shape_near_the_models_size(native, photo, size):
    extent = photo_extent(native, *photo)
    assert (extent.width, extent.height) == size


def test_it_is_said_which_models_are_made_for_inpainting():
    base = MODELS[0]
    assert "inpaints by blending" in channels_html(base)
    assert "nine channels" in channels_html(base.model_copy(update={"variant": Variant.INPAINT}))
    assert channels_html(None) == ""


def test_a_model_made_for_it_is_offered():
    base = MODELS[0]
    better = base.model_copy(update={"id": "fills", "name": "Fills"})
    assert 'data-id="fills"' in channels_html(base, better)
    assert "data-id" not in channels_html(base)


def test_names_of_models_are_escaped():
    assert "<img" not in channels_html(MODELS[0].model_copy(update={"name": "<img src=x>"}))


def test_words_name_what_is_not_usual():
    inpaint = Inpaint(mask=BLOB, area=InpaintArea.MASKED, grow=-3, outpaint=Outpaint(left=64), soft=True)
    words = inpaint_words(inpaint)
    for each in ("only masked", "32 px around", "shrunk by 3 px", "grey changes less", "64 px added left"):
        assert each in words
    assert "shrunk" not in inpaint_words(Inpaint(mask=BLOB))


def test_the_line_says_that_a_mask_is_active_and_is_empty_without():
    assert "Take the mask away" in masked_html(Inpaint(mask=BLOB))
    assert "<img" not in masked_html(Inpaint(outpaint=Outpaint(top=8)))
    assert masked_html(None) == ""


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"mask": "short"}', "[1]"])
def test_a_text_that_holds_no_inpainting_is_none(text):
    assert held_part(Inpaint, text) is None


def test_another_shape_offers_the_photos_own():
    photo, wanted = Extent(width=400, height=300), Extent(width=592, height=440)
    assert "Fit to the photo" in size_html(photo, Extent(width=512, height=512), wanted)
    assert "Fit to the photo" not in size_html(photo, wanted, wanted)


def test_it_is_told_what_becomes_of_a_photo_that_is_painted_at_another_size():
    photo, other = Extent(width=400, height=304), Extent(width=592, height=440)
    assert "Keep the photo's size" in size_html(photo, other, other)
    assert "Keep the photo's size" not in size_html(photo, photo, photo)


def test_every_option_of_the_request_has_a_control():
    html = inpaint_options_html()
    for name in usual_options():
        assert f'data-option="{name}"' in html or name == "outpaint"
    for side in Outpaint.model_fields:
        assert f'data-side="{side}"' in html


def test_photo_and_result_stand_under_the_slider(studio):
    request = GenerateRequest(
        prompt="<b>",
        seed=1,
        width=64,
        height=64,
        steps=1,
        source=SourceImage(
            image=studio.put_blob(studio.image_path(studio.add_image(_plain()).id).read_bytes())
        ),
        inpaint=Inpaint(outpaint=Outpaint(left=8)),
    )
    studio.start()
    job = studio.submit(request)
    list(studio.events(job.id, timeout=10))
    assert studio.job(job.id).state is JobState.FINISHED
    html = before_after_html(look(studio, Session(jobs=(job.id,))))
    assert 'class="before"' in html
    assert 'data-sides="8 0 0 0"' in html
    assert "<b>" not in html
    image = studio.image(studio.job(job.id).images[0])
    assert "8 px added left" in details_html(image)


def test_without_a_result_it_says_what_to_do(studio):
    assert "No result yet" in before_after_html(look(studio, Session()))


def _plain():
    return GenerateRequest(prompt="p", seed=1, width=64, height=64, steps=1)
