"""The Inpaint tab, with real pointers: paint a mask, undo, invert, submit, compare, go on, restore."""

import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent, Outpaint
from studio.core.models import ModelInfo, ModelKind
from studio.core.requests import GenerateRequest, SourceImage
from tests.browser.conftest import ready
from tests.browser.fingers import pinch
from tests.browser.test_control import picture, stroke, swipe
from tests.browser.waiting import answered, asked_by, generations, left_alone, next_frame

pytestmark = pytest.mark.browser

SIZE = (160, 120)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


SHADES = itertools.count(1)


def photo(size=SIZE):
    """A grey slope; each time another shade in a corner, which makes it another picture."""
    across = np.linspace(0, 255, size[0], dtype=np.uint8)
    pixels = np.stack([np.tile(across, (size[1], 1))] * 3, axis=2)
    pixels[0, 0] = next(SHADES)
    return Image.fromarray(pixels)


FORGET = """() => {
  for (const kept of ['easel-inpaint', 'easel-inpaint-area']) localStorage.removeItem(kept);
  easelInpaint.state.options = {};
  easelInpaint.masked(null);
  easelInpaint.show('mask');
  document.querySelector('#field-inpaint-mask [data-do=brush]').click();
  const size = document.querySelector('#field-inpaint-mask [name=size]');
  size.value = size.defaultValue;
}"""
"""Takes away the mask, and brings back the usual options and tools."""


@pytest.fixture
def inpaint(shared_page, studio):
    """The tab with a new photo in it and nothing that another test left."""
    left_alone(studio)
    entered(shared_page)
    shared_page.evaluate(FORGET)
    return opened(shared_page)


@pytest.fixture
def alone(page):
    """The tab with a photo in it, on a page that no other test sees."""
    return opened(page)


def entered(page):
    page.get_by_role("tab", name="Inpaint", exact=True).click()
    expect(page.locator("#inpaint-paint")).to_be_visible()


def opened(page):
    """The tab with a photo in it."""
    entered(page)
    bring(page, photo())
    expect(page.locator(".mask-frame")).to_be_visible()
    return page


def bring(page, image):
    """Wait until the photo is in the editor and in the form."""
    before = page.locator(".mask-stack .photo").get_attribute("src")
    page.locator("#field-inpaint-mask .hint input[name=photo]").set_input_files(png(image))
    shows_other(page, before)


def shows_other(page, before=None):
    page.wait_for_function(
        "(before) => document.querySelector('.mask-stack .photo').getAttribute('src') !== before", arg=before
    )
    answered(page)


def tool(page, name):
    page.locator(f"#field-inpaint-mask .editor-bar [data-do={name}]").first.click()


def paint(page, *points):
    stroke(page, page.locator(".mask-stack"), *points)


def held(page):
    """What the form holds, once the newest mask is stored."""
    text = page.evaluate("window.easelInpaint.submitted([''], 0).then((values) => values[0])")
    return json.loads(text) if text else None


def mask(page, studio):
    """The stored mask as booleans, height x width."""
    return np.asarray(picture(studio, held(page)["mask"]).convert("L")) >= 128


def submitted(page, studio):
    return asked_by(page, studio, lambda: page.click("#inpaint-paint")).request


def option(page, name):
    return page.locator(f"#inpaint-options [data-option={name}]").first


# ---------------------------------------------------------------------- painting


def test_a_stroke_is_the_mask_that_the_studio_gets(inpaint, studio):
    inpaint.fill("#inpaint-prompt textarea", "a red ball")
    paint(inpaint, (0.2, 0.5), (0.8, 0.5))
    request = submitted(inpaint, studio)
    assert request.prompt == "a red ball"
    assert picture(studio, request.source.image).size == SIZE
    got = picture(studio, request.inpaint.mask)
    assert got.size == SIZE
    painted = np.asarray(got.convert("L")) >= 128
    assert painted[60, 34:126].all()
    assert not painted[60, :20].any()
    assert not painted[60, 140:].any()
    assert painted[:, 80].sum() == pytest.approx(0.06 * 160, abs=2)


def test_undo_and_redo(inpaint, studio):
    paint(inpaint, (0.2, 0.3), (0.8, 0.3))
    first = mask(inpaint, studio)
    paint(inpaint, (0.2, 0.7), (0.8, 0.7))
    both = mask(inpaint, studio)
    assert both.sum() > 1.8 * first.sum()
    tool(inpaint, "undo")
    assert (mask(inpaint, studio) == first).mean() > 0.999
    inpaint.keyboard.press("Control+y")
    assert (mask(inpaint, studio) == both).mean() > 0.999
    tool(inpaint, "undo")
    tool(inpaint, "undo")
    assert held(inpaint) is None


def test_box_eraser_invert_and_clear(inpaint, studio):
    tool(inpaint, "box")
    paint(inpaint, (0.25, 0.25), (0.75, 0.75))
    wanted = np.zeros((120, 160), bool)
    wanted[30:90, 40:120] = True
    assert (mask(inpaint, studio) != wanted).mean() < 0.02
    tool(inpaint, "eraser")
    paint(inpaint, (0.5, 0.1), (0.5, 0.9))
    erased = mask(inpaint, studio)
    assert not erased[:, 80].any()
    assert erased[60, 50]
    tool(inpaint, "invert")
    assert (mask(inpaint, studio) == ~erased).mean() > 0.99
    tool(inpaint, "clear")
    assert held(inpaint) is None


def test_lasso_fills_what_it_surrounds(inpaint, studio):
    tool(inpaint, "lasso")
    paint(inpaint, (0.5, 0.1), (0.9, 0.9), (0.1, 0.9))
    painted = mask(inpaint, studio)
    assert painted[80, 80]
    assert not painted[20, 20]
    assert painted.mean() == pytest.approx(0.32, abs=0.03)


def test_keys_choose_tools_and_the_size(inpaint, studio):
    inpaint.locator(".mask-paint").focus()
    inpaint.keyboard.press("e")
    expect(inpaint.locator(".pens [data-do=eraser]")).to_have_attribute("aria-pressed", "true")
    inpaint.keyboard.press("b")
    size = inpaint.locator("#field-inpaint-mask [name=size]")
    before = float(size.input_value())
    for _ in range(4):
        inpaint.keyboard.press("]")
    after = float(size.input_value())
    assert after > 2 * before
    paint(inpaint, (0.2, 0.5), (0.8, 0.5))
    assert mask(inpaint, studio)[:, 80].sum() == pytest.approx(after / 100 * 160, abs=2)


def test_zoomed_in_a_stroke_lands_under_the_pointer(inpaint, studio):
    well = inpaint.locator(".mask-well").bounding_box()
    box = inpaint.locator(".mask-stack").bounding_box()
    spot = (box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    inpaint.mouse.move(*spot)
    inpaint.keyboard.down("Control")
    for _ in range(6):
        inpaint.mouse.wheel(0, -100)
    inpaint.keyboard.up("Control")
    inpaint.wait_for_function(
        "width => document.querySelector('.mask-stack').offsetWidth > 2 * width", arg=well["width"]
    )
    inpaint.mouse.move(*spot)
    inpaint.mouse.down()
    inpaint.mouse.up()
    rows, columns = np.nonzero(mask(inpaint, studio))
    assert (columns.mean(), rows.mean()) == pytest.approx((40, 30), abs=2)


def test_painting_on_a_large_photo_does_not_lag(page, studio):
    """Measured in processor time: what else the machine does says nothing of the page."""
    entered(page)
    bring(page, photo((3000, 2000)))
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent():
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    box = page.locator(".mask-stack").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    next_frame(page)
    before = spent()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] - 20, steps=60)
    seconds = spent() - before
    page.mouse.up()
    assert seconds / 60 < 0.025
    assert mask(page, studio).shape == (2000, 3000)


# ---------------------------------------------------------------------- files, objects


def test_a_mask_is_uploaded_and_downloaded(inpaint, studio):
    given = Image.new("L", SIZE, 0)
    given.paste(255, (10, 20, 60, 70))
    inpaint.locator("#field-inpaint-mask input[name=mask]").set_input_files(png(given))
    inpaint.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    assert (mask(inpaint, studio) == (np.asarray(given) > 0)).all()
    with inpaint.expect_download() as download:
        tool(inpaint, "save")
    saved = np.asarray(Image.open(download.value.path()).convert("L"))
    assert ((saved > 0) == (np.asarray(given) > 0)).all()


@pytest.mark.parametrize("colour", ["white", "black"])
def test_a_stroke_on_a_transparent_layer_is_taken_as_the_mask(inpaint, studio, colour):
    given = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    given.paste(colour, (10, 20, 60, 70))
    inpaint.locator("#field-inpaint-mask input[name=mask]").set_input_files(png(given))
    inpaint.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    assert (mask(inpaint, studio) == (np.asarray(given.getchannel("A")) > 0)).all()


def test_a_mask_that_is_shrunk_to_nothing_is_told_at_the_option_that_does_it(inpaint):
    paint(inpaint, (0.4, 0.4), (0.45, 0.45))
    option(inpaint, "grow").first.fill("-128")
    option(inpaint, "grow").first.press("Tab")
    inpaint.click("#inpaint-paint")
    expect(inpaint.locator("#field-inpaint-grow .problem-note")).to_contain_text("shrunk by 128 px")


def test_a_mask_of_another_shape_is_refused_with_both_sizes(inpaint):
    inpaint.locator("#field-inpaint-mask input[name=mask]").set_input_files(
        png(Image.new("L", (50, 100), 255))
    )
    expect(inpaint.locator("#field-inpaint-mask .editor-line")).to_contain_text(
        "50 × 100 px, the photo 160 × 120"
    )


def test_an_empty_mask_from_a_file_and_a_full_one_are_told(page, studio):
    inpaint = opened(page)
    line = inpaint.locator("#field-inpaint-mask .editor-line")
    choose = inpaint.locator("#field-inpaint-mask input[name=mask]")
    choose.set_input_files(png(Image.new("L", SIZE, 0)))
    expect(line).to_contain_text("Nothing is light in this mask")
    assert held(inpaint) is None
    choose.set_input_files(png(Image.new("L", SIZE, 255)))
    expect(line).to_contain_text("nothing of it will stay")
    option(inpaint, "invert").check()
    inpaint.click("#inpaint-paint")
    expect(inpaint.locator("#field-inpaint-mask .problem-note")).to_contain_text("the mask is inverted")
    tool(inpaint, "undo")
    expect(line).to_be_empty()


def test_a_photo_that_is_painted_at_another_size_keeps_its_own_unless_the_area_was_chosen(page, studio):
    page.get_by_role("tab", name="Inpaint", exact=True).click()
    page.locator("#field-inpaint-mask .hint input[name=photo]").set_input_files(png(photo((640, 480))))
    expect(option(page, "area")).to_have_value("only masked")
    option(page, "area").select_option("whole picture")
    page.locator("#inpaint-size [data-keeps-size]").click()
    expect(option(page, "area")).to_have_value("only masked")
    option(page, "area").select_option("whole picture")
    page.locator("#field-inpaint-mask .editor-bar input[name=photo]").set_input_files(png(photo((648, 480))))
    page.wait_for_function("document.querySelector('.mask-paint').width === 648")
    answered(page)
    expect(option(page, "area")).to_have_value("whole picture")


def test_a_clicked_object_is_masked_as_a_whole(page, studio, monkeypatch):
    net = ModelInfo(id="fake/seg", name="Things", kind=ModelKind.ANNOTATOR, layout="segmentation")
    monkeypatch.setattr(studio, "model_list", [*studio.model_list, net])
    scene = Image.new("RGB", SIZE, "green")
    scene.paste("blue", (40, 30, 100, 90))
    entered(page)
    bring(page, scene)
    tool(page, "object")
    paint(page, (0.4, 0.5), (0.4, 0.5))
    page.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    painted = mask(page, studio)
    wanted = np.zeros((120, 160), bool)
    wanted[30:90, 40:100] = True
    assert (painted == wanted).all()


# ---------------------------------------------------------------------- options


def test_every_option_reaches_the_request(inpaint, studio):
    paint(inpaint, (0.2, 0.5), (0.8, 0.5))
    option(inpaint, "content").select_option("fill")
    expect(option(inpaint, "padding")).to_be_hidden()
    option(inpaint, "area").select_option("only masked")
    for name, value in (("padding", 40), ("blur", 9), ("grow", -3)):
        option(inpaint, name).fill(str(value))
    option(inpaint, "invert").check()
    option(inpaint, "soft").check()
    inpaint.locator("#inpaint-options [data-side=right]").fill("40")
    inpaint.locator("#inpaint-strength input[type=number]").fill("0.6")
    expect(inpaint.locator("#inpaint-size")).to_contain_text("painted at 200 × 120 px")
    request = submitted(inpaint, studio)
    given = request.inpaint.model_dump(exclude={"mask"})
    assert given == {
        "content": MaskedContent.FILL,
        "area": InpaintArea.MASKED,
        "padding": 40,
        "blur": 9,
        "grow": -3,
        "invert": True,
        "soft": True,
        "outpaint": Outpaint(right=40).model_dump(),
    }
    assert request.source.strength == 0.6
    assert request.width / request.height == pytest.approx(200 / 120)


def covered(page):
    """How much of the photo the overlay tints, as a share."""
    next_frame(page)
    return page.evaluate("""() => {
      const shown = document.querySelector('.mask-effect');
      const {data} = shown.getContext('2d').getImageData(0, 0, shown.width, shown.height);
      let sum = 0;
      for (let at = 3; at < data.length; at += 4) sum += data[at];
      return sum / 255 / shown.width / shown.height;
    }""")


def test_grow_shrink_and_invert_show_at_once(inpaint):
    tool(inpaint, "box")
    paint(inpaint, (0.25, 0.25), (0.75, 0.75))
    option(inpaint, "blur").fill("0")
    assert covered(inpaint) == pytest.approx(80 * 60 / 19200, abs=0.02)
    option(inpaint, "grow").fill("10")
    assert covered(inpaint) == pytest.approx(100 * 80 / 19200, abs=0.02)
    option(inpaint, "grow").fill("-10")
    assert covered(inpaint) == pytest.approx(60 * 40 / 19200, abs=0.02)
    option(inpaint, "grow").fill("0")
    option(inpaint, "invert").check()
    assert covered(inpaint) == pytest.approx(1 - 80 * 60 / 19200, abs=0.02)


def test_it_says_how_the_model_inpaints_and_what_is_missing(page):
    page.get_by_role("tab", name="Inpaint", exact=True).click()
    expect(page.locator("#inpaint-channels")).to_contain_text("Toytown inpaints by blending")
    page.click("#inpaint-paint")
    note = page.locator("#field-inpaint-mask .problem-note")
    expect(note).to_contain_text("There is no photo")
    opened(page)
    page.click("#inpaint-paint")
    expect(note).to_contain_text("Nothing is masked")


# ---------------------------------------------------------------------- result


LOADED = "[...document.querySelectorAll('#inpaint-result .compare img')].every((image) => image.naturalWidth)"


def finished(page):
    expect(page.locator("#inpaint-result .compare")).to_be_visible()


def test_the_result_is_compared_and_gone_on_with(alone, studio):
    tool(alone, "box")
    paint(alone, (0.25, 0.25), (0.75, 0.75))
    submitted(alone, studio)
    finished(alone)
    image = studio.images().images[0]
    after = alone.locator("#inpaint-result .after")
    expect(after).to_have_attribute("src", f"studio/v1/images/{image.id}/file")
    compare = alone.locator("#inpaint-result .compare")
    alone.wait_for_function(LOADED)
    next_frame(alone)
    box = compare.bounding_box()
    alone.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    alone.mouse.down()
    alone.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=4)
    alone.mouse.up()
    assert float(alone.locator("#inpaint-result [name=fade]").input_value()) == pytest.approx(25, abs=1)
    old = alone.locator(".mask-stack .photo").get_attribute("src")
    alone.click("#inpaint-result [data-action=go_on]")
    expect(alone.locator("#field-inpaint-mask")).to_be_visible()
    expect(alone.locator(".mask-stack .photo")).not_to_have_attribute("src", old)
    assert held(alone) is None
    paint(alone, (0.1, 0.1), (0.9, 0.4))
    request = submitted(alone, studio)
    assert studio.blob(request.source.image) == studio.image_path(image.id).read_bytes()


def test_progress_shows_and_cancel_stops(alone, slow):
    slow.step_seconds = 0.5
    paint(alone, (0.2, 0.5), (0.8, 0.5))
    submitted(alone, slow)
    expect(alone.locator("#inpaint-result .live")).to_be_visible()
    alone.click("#inpaint-result [data-action=cancel]")
    expect(alone.locator("#inpaint-result .doing")).to_contain_text("Cancelled")


def test_objects_are_painted_one_into_the_result_of_the_other(alone, studio):
    alone.locator("#inpaint-objects summary").click()
    tool(alone, "box")
    for phrase, left in (("a red ball", 0.1), ("a blue star", 0.6)):
        alone.fill("#inpaint-prompt textarea", phrase)
        paint(alone, (left, 0.3), (left + 0.3, 0.7))
        alone.click("#inpaint-objects [data-do=add]")
        expect(alone.locator(".object-list li").last).to_contain_text(phrase)
        alone.wait_for_function("document.querySelector('.mask-editor [data-do=clear]').disabled")
    before = len(generations(studio))
    alone.click("#inpaint-objects [data-do=all]")
    expect(alone.locator("#inpaint-objects .editor-line")).to_contain_text("All objects are painted")
    second, first = [job.request for job in generations(studio)][: len(generations(studio)) - before]
    assert (first.prompt, second.prompt) == ("a red ball", "a blue star")
    assert first.inpaint.mask != second.inpaint.mask
    assert picture(studio, first.source.image).size == SIZE
    made = next(image for image in studio.images().images if image.request == first)
    assert studio.blob(second.source.image) == studio.image_path(made.id).read_bytes()


# ---------------------------------------------------------------------- coming back


def test_a_reload_keeps_photo_mask_and_options(alone, studio):
    option(alone, "grow").fill("5")
    paint(alone, (0.1, 0.1), (0.2, 0.1))
    before = mask(alone, studio)
    answered(alone)
    tool(alone, "box")
    paint(alone, (0.25, 0.25), (0.75, 0.75))
    alone.reload()  # at once: what was painted last is not stored yet
    ready(alone)
    expect(alone.locator(".mask-frame")).to_be_visible()
    alone.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    expect(option(alone, "grow")).to_have_value("5")
    after = mask(alone, studio)
    assert after[48, 64]
    assert (before <= after).all()
    assert after.sum() > before.sum()


def test_the_library_restores_photo_mask_and_options(page, studio):
    photo_id = studio.put_blob(png(photo())["buffer"])
    painted = Image.new("L", SIZE, 0)
    painted.paste(255, (8, 8, 72, 48))
    mask_id = studio.put_blob(png(painted)["buffer"])
    inpaint = Inpaint(mask=mask_id, area=InpaintArea.MASKED, padding=24)
    request = GenerateRequest(
        prompt="zebra",
        width=128,
        height=96,
        seed=3,
        source=SourceImage(image=photo_id, strength=0.9),
        inpaint=inpaint,
    )
    image = studio.add_image(request)
    page.get_by_role("tab", name="Library").click()
    page.locator(f"[data-image='{image.id}'] .open").click()
    expect(page.locator("#details .mask-detail")).to_contain_text("only masked, 24 px around")
    page.click("#details [data-action=restore]")
    expect(page.locator("#part-inpaint")).to_contain_text("Only a part is painted anew")
    page.click("#part-inpaint [data-action=edit]")
    expect(page.locator(".mask-frame")).to_be_visible()
    page.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    assert (mask(page, studio) == (np.asarray(painted) > 0)).all()
    expect(option(page, "padding")).to_have_value("24")
    expect(page.locator("#inpaint-prompt textarea")).to_have_value("zebra")
    expect(page.locator("#inpaint-strength input[type=number]")).to_have_value("0.9")
    again = submitted(page, studio)
    assert again.inpaint == request.inpaint
    studio.delete_images([image.id])


def test_the_mask_is_taken_away_in_the_generate_tab(inpaint, studio):
    paint(inpaint, (0.2, 0.5), (0.8, 0.5))
    assert held(inpaint)
    inpaint.get_by_role("tab", name="Generate", exact=True).click()
    inpaint.click("#part-inpaint [data-action=unmask]")
    expect(inpaint.locator("#part-inpaint .masked")).to_have_count(0)
    expect(inpaint.locator("#part-source img")).to_be_visible()  # it stays, where it can be taken away
    inpaint.get_by_role("tab", name="Inpaint", exact=True).click()
    inpaint.wait_for_function("document.querySelector('.mask-editor [data-do=clear]').disabled")
    tool(inpaint, "undo")
    assert mask(inpaint, studio)[60, 80]


def test_the_generate_tab_starts_from_nothing_by_one_click(inpaint):
    paint(inpaint, (0.2, 0.5), (0.8, 0.5))
    assert held(inpaint)
    inpaint.get_by_role("tab", name="Generate", exact=True).click()
    inpaint.click("#part-inpaint [data-action=nothing]")
    expect(inpaint.locator("#part-inpaint .masked")).to_have_count(0)
    expect(inpaint.locator("#field-source-image textarea")).to_have_value("")
    inpaint.get_by_role("tab", name="Inpaint", exact=True).click()
    expect(inpaint.locator(".mask-well .hint")).to_be_visible()


def test_a_picture_of_the_library_is_brought_here(inpaint):
    inpaint.get_by_role("tab", name="Library").click()
    inpaint.locator(".card .open").last.click()
    inpaint.click("#details [data-action=inpaint]")
    expect(inpaint.locator(".mask-frame")).to_be_visible()
    expect(inpaint.locator("#inpaint-size")).to_contain_text(
        re.compile(r"Photo 128 × 128 px, painted at 128 × 128")
    )


def test_the_example_works_at_once(page, studio):
    page.get_by_role("tab", name="Inpaint", exact=True).click()
    page.click("#field-inpaint-mask .hint [data-do=example]")
    expect(page.locator("#inpaint-prompt textarea")).to_have_value(re.compile("a green tree"))
    shows_other(page)
    page.wait_for_function("!document.querySelector('.mask-editor [data-do=clear]').disabled")
    request = submitted(page, studio)
    assert request.inpaint.area is InpaintArea.MASKED
    assert request.source.strength == 1


def test_fingers_paint_and_zoom_on_a_phone(browser, address, studio):
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = phone.new_page()
    page.goto(address)
    ready(page)
    opened(page)
    stack = page.locator(".mask-stack")
    stack.scroll_into_view_if_needed()
    width = stack.bounding_box()["width"]
    pinch(page, phone, stack)
    assert stack.bounding_box()["width"] == pytest.approx(2 * width, rel=0.1)
    assert held(page) is None
    pinch(page, phone, page.locator(".mask-well"), apart=0.4, to=0.1)
    assert stack.bounding_box()["width"] == pytest.approx(width, rel=0.01)
    swipe(page, phone, page.locator(".mask-stack"), (0.2, 0.5), (0.8, 0.5))
    painted = mask(page, studio)
    assert painted[60, 40:120].all()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#inpaint-paint").click()
    finished(page)
    phone.close()
