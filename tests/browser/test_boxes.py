"""The Boxes tab, with real pointers: draw, move, stretch, name, snap, keep, load, generate, come back."""

import io
import json
import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from studio.core.boxes import Boxes
from tests.browser.conftest import ready
from tests.browser.fingers import pinch, touch
from tests.browser.waiting import answered, asked_by, brought, kept, left_alone, next_frame, over

pytestmark = pytest.mark.browser

COCO = {
    "images": [{"id": 7, "width": 200, "height": 100}, {"id": 8, "width": 10, "height": 10}],
    "annotations": [
        {"image_id": 7, "bbox": [20, 10, 60, 40], "category_id": 1},
        {"image_id": 8, "bbox": [0, 0, 5, 5], "category_id": 1},
        {"image_id": 7, "bbox": [100, 50, 200, 50], "category_id": 2},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


@pytest.fixture
def boxes(shared_page, studio):
    """The tab with the example in it, whatever another test left."""
    page = shared_page
    left_alone(studio)
    opened(page)
    page.evaluate("window.easelBoxes.write('prompt', '')")
    page.locator("#boxes-editor [name=on]").check()
    page.locator("#boxes-editor [name=share]").fill("0.3")
    for name in ("snap", "show"):
        if page.locator(f"[data-do={name}]").get_attribute("aria-pressed") == "false":
            do(page, name)
    load(page, layout(("a red ball", [0.06, 0.3, 0.46, 0.8]), ("a blue house", [0.54, 0.2, 0.96, 0.8])))
    page.locator("[data-under=blank]").click()
    return page


def opened(page):
    page.get_by_role("tab", name="Boxes", exact=True).click()
    expect(page.locator("#boxes-editor .box-well svg")).to_be_visible()


def do(page, name):
    page.locator(f"#boxes-editor [data-do={name}]:visible").first.click()


def layout(*boxes):
    return json.dumps({"boxes": [{"phrase": phrase, "box": box} for phrase, box in boxes]})


READ = """(before) => document.querySelector('#boxes-editor .box-well svg').dataset.keys !== before
  || document.querySelector('#boxes-editor .editor-line').textContent"""
"""A file was read: every layout brings boxes of its own, and a bad one a sentence."""


def load(page, text, name="layout.json"):
    file = {"name": name, "mimeType": "application/json", "buffer": text.encode()}
    before = page.locator("#boxes-editor .box-well svg").get_attribute("data-keys")
    page.locator("#boxes-editor [name=layout]").set_input_files(file)
    page.wait_for_function(READ, arg=before)


def at(page, x, y):
    next_frame(page)
    canvas = page.locator("#boxes-editor .box-well svg").bounding_box()
    return canvas["x"] + x * canvas["width"], canvas["y"] + y * canvas["height"]


def drag(page, start, end, key=""):
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    if key:
        page.keyboard.down(key)
    page.mouse.move(*at(page, *end), steps=5)
    page.mouse.up()
    if key:
        page.keyboard.up(key)


def draw(page, start, end, phrase="", key=""):
    drag(page, start, end, key)
    if phrase:
        page.keyboard.type(phrase)
    page.keyboard.press("Enter")


def held(page):
    """What the request has of the boxes."""
    text = page.locator("#field-boxes textarea, #field-boxes input").input_value()
    return json.loads(text) if text else None


def found(page):
    """Corners by phrase."""
    part = held(page)
    return {one.get("phrase", ""): list(one["box"].values()) for one in part["boxes"]} if part else {}


def near(found_box, wanted, tolerance=0.006):
    return all(abs(a - b) <= tolerance for a, b in zip(found_box, wanted, strict=True))


def job_of(page, studio):
    return asked_by(page, studio, lambda: page.click("#boxes-generate"))


def generated(page, studio):
    """The request that the button sends."""
    return job_of(page, studio).request


def said(page):
    return page.locator("#boxes-editor .editor-line")


# ---------------------------------------------------------------------- drawing


def test_it_opens_with_an_example_that_counts_only_when_it_is_used(page, studio):
    opened(page)
    expect(page.locator("#boxes-editor .box")).to_have_count(2)
    assert held(page) is None
    request = generated(page, studio)
    assert [one.phrase for one in request.boxes.boxes] == ["a red ball", "a blue house"]
    assert request.boxes.boxes[0].box.x1 <= request.boxes.boxes[1].box.x0
    assert request.prompt == "a red ball and a blue house"
    assert request.boxes.share == 0.3
    expect(page.locator("#boxes-prompt textarea")).to_have_value(request.prompt)
    expect(page.locator("[data-under=result]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#boxes-editor image.under")).to_have_attribute(
        "href", re.compile("^studio/v1/images/")
    )


def test_two_boxes_are_drawn_named_and_sent(boxes, studio):
    do(boxes, "clear")
    assert held(boxes) is None
    draw(boxes, (0.1, 0.12), (0.41, 0.6), "a green tree")
    draw(boxes, (0.62, 0.3), (0.9, 0.82), "a lamp")
    assert near(found(boxes)["a green tree"], [0.1, 0.12, 0.41, 0.6])
    boxes.fill("#boxes-prompt textarea", "a street at night")
    request = generated(boxes, studio)
    assert request.prompt == "a street at night"
    assert [one.phrase for one in request.boxes.boxes] == ["a green tree", "a lamp"]
    assert near(list(request.boxes.boxes[1].box.model_dump().values()), [0.62, 0.3, 0.9, 0.82])


def test_a_box_is_moved_stretched_and_never_leaves_the_canvas(boxes):
    drag(boxes, (0.26, 0.6), (0.31, 0.73), key="Alt")
    assert near(found(boxes)["a red ball"], [0.11, 0.43, 0.51, 0.93])
    drag(boxes, (0.51, 0.93), (0.42, 0.78), key="Alt")
    assert near(found(boxes)["a red ball"], [0.11, 0.43, 0.42, 0.78])
    drag(boxes, (0.3, 0.6), (0.3, 3.0), key="Alt")
    assert near(found(boxes)["a red ball"], [0.11, 0.65, 0.42, 1])


def test_edges_snap_to_thirds_and_to_other_boxes_unless_alt_is_held(boxes):
    do(boxes, "clear")
    draw(boxes, (0.05, 0.05), (0.338, 0.22), "snapped")
    assert found(boxes)["snapped"] == [0.05, 0.05, 0.3333, 0.22]
    draw(boxes, (0.4, 0.226), (0.8, 0.45), "beside")
    assert found(boxes)["beside"][1] == 0.22
    draw(boxes, (0.05, 0.7), (0.338, 0.9), "free", key="Alt")
    assert near(found(boxes)["free"], [0.05, 0.7, 0.338, 0.9], 0.003)
    assert found(boxes)["free"][2] != 0.3333
    do(boxes, "snap")
    draw(boxes, (0.4, 0.7), (0.672, 0.9), "switched off")
    assert found(boxes)["switched off"][2] != 0.6667


def test_undo_and_redo_bring_back_whole_gestures(boxes):
    before = found(boxes)
    drag(boxes, (0.26, 0.6), (0.36, 0.7), key="Alt")
    moved = found(boxes)
    assert moved != before
    boxes.keyboard.press("Control+z")
    assert found(boxes) == before
    boxes.keyboard.press("Control+Shift+z")
    assert found(boxes) == moved


def test_a_keyboard_is_enough(boxes):
    boxes.locator("#boxes-editor .box").first.focus()
    boxes.keyboard.press("ArrowRight")
    boxes.keyboard.press("ArrowDown")
    assert near(found(boxes)["a red ball"], [0.07, 0.31, 0.47, 0.81], 1e-6)
    boxes.keyboard.press("Shift+ArrowRight")
    boxes.keyboard.press("Shift+ArrowUp")
    assert near(found(boxes)["a red ball"], [0.07, 0.31, 0.48, 0.8], 1e-6)
    boxes.keyboard.press("Tab")
    boxes.keyboard.press("Enter")
    boxes.keyboard.press("Control+a")
    boxes.keyboard.type("a barn")
    boxes.keyboard.press("Enter")
    assert "a barn" in found(boxes)
    boxes.keyboard.press("Control+d")
    assert len(held(boxes)["boxes"]) == 3
    boxes.keyboard.press("Delete")
    boxes.keyboard.press("Delete")
    assert list(found(boxes)) == ["a red ball"]


def test_the_list_names_colours_copies_and_orders(boxes):
    rows = boxes.locator("#boxes-editor .box-row")
    rows.nth(1).locator("[name=phrase]").fill("a grey house")
    assert list(found(boxes)) == ["a red ball", "a grey house"]
    do(boxes, "earlier")
    assert list(found(boxes)) == ["a grey house", "a red ball"]
    rows.first.locator("[name=colour]").fill("#123456")
    expect(boxes.locator("#boxes-editor .box .area").first).to_have_attribute("fill", "#123456")
    do(boxes, "duplicate")
    assert [one["phrase"] for one in held(boxes)["boxes"]] == ["a grey house", "a red ball", "a grey house"]
    rows.nth(1).locator("[data-do=remove]").click()
    assert [one["phrase"] for one in held(boxes)["boxes"]] == ["a grey house", "a grey house"]


def test_phrases_of_the_prompt_and_of_before_are_suggested(boxes, studio):
    boxes.fill("#boxes-prompt textarea", "a fox, a yellow lamp and snow")
    generated(boxes, studio)
    do(boxes, "clear")
    draw(boxes, (0.1, 0.1), (0.5, 0.5))
    boxes.locator("#boxes-editor .box-row [name=phrase]").focus()
    offered = boxes.locator("#box-phrases option").evaluate_all("all => all.map(one => one.value)")
    assert offered[:3] == ["a fox", "a yellow lamp", "snow"]
    assert {"a red ball", "a blue house"} <= set(offered)


def test_a_box_may_have_a_picture(boxes, studio):
    boxes.locator("#boxes-editor .box-row [name=phrase]").first.focus()
    boxes.locator("#boxes-editor .box-row [name=look]").first.set_input_files(photo_file())
    expect(boxes.locator("#boxes-editor .box-row .look").first).to_be_visible()
    blob = generated(boxes, studio).boxes.boxes[0].image
    assert Image.open(io.BytesIO(studio.blob(blob))).size == (320, 160)
    do(boxes, "unlook")
    assert "image" not in held(boxes)["boxes"][0]


def photo_file(size=(320, 160)):
    buffer = io.BytesIO()
    Image.new("RGB", size, "#6688aa").save(buffer, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


# ---------------------------------------------------------------------- what is checked


def test_small_overlapping_and_nameless_boxes_are_told(boxes):
    load(boxes, layout(("", [0, 0, 0.5, 0.5]), ("b", [0.01, 0, 0.5, 0.5]), ("c", [0.8, 0.8, 0.84, 0.99])))
    checks = boxes.locator("#boxes-editor .checks li")
    expect(checks).to_have_count(3)
    expect(checks.nth(0)).to_contain_text("Box 1 has no phrase")
    expect(checks.nth(1)).to_contain_text("Boxes 1 and 2 overlap heavily")
    expect(checks.nth(2)).to_contain_text("Box 3 is very small")


def test_a_box_without_a_phrase_is_told_at_its_row_and_the_prompt_stays(boxes, studio):
    load(boxes, layout(("a red ball", [0.1, 0.1, 0.4, 0.4]), ("", [0.5, 0.5, 0.9, 0.9])))
    boxes.fill("#boxes-prompt textarea", "a red ball")
    boxes.click("#boxes-generate")
    note = boxes.locator("#boxes-editor .box-row").nth(1).locator(".problem-note")
    expect(note).to_contain_text("Box 2 does not say what is to be seen in it")
    boxes.locator("#boxes-editor .box-row [name=phrase]").nth(1).fill("a blue house")
    expect(note).to_be_hidden()
    assert len(generated(boxes, studio).boxes.boxes) == 2


def test_the_31st_box_is_refused_with_a_sentence(boxes):
    places = [[0.03 * i, 0.1, 0.03 * i + 0.08, 0.9] for i in range(30)]
    load(boxes, layout(*((f"thing {i}", place) for i, place in enumerate(places))))
    assert len(held(boxes)["boxes"]) == 30
    do(boxes, "add")
    expect(said(boxes)).to_contain_text("There are 30 boxes already")
    drag(boxes, (0.3, 0.02), (0.6, 0.08))
    assert len(held(boxes)["boxes"]) == 30


# ---------------------------------------------------------------------- files


def test_a_layout_is_downloaded_and_opened_again(boxes):
    before = held(boxes)
    with boxes.expect_download() as download:
        do(boxes, "export")
    text = download.value.path().read_text()
    do(boxes, "clear")
    load(boxes, text)
    assert held(boxes) == before


def test_coco_brings_the_boxes_of_its_first_picture(boxes):
    load(boxes, json.dumps(COCO))
    assert found(boxes) == {"cat": [0.1, 0.1, 0.4, 0.5], "dog": [0.5, 0.5, 1, 1]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no json", "This file is no JSON"),
        ('{"cats": 2}', "This file holds no boxes"),
        ('{"boxes": [{"phrase": "a", "box": [0, 0, 2, 1]}]}', "not four numbers from 0 to 1"),
        ('{"boxes": [{"phrase": "a", "box": [0.5, 0, 0.5, 1]}]}', "no area"),
        ('{"images": [{"id": 1}], "annotations": []}', "does not say its width"),
    ],
)
def test_a_bad_file_is_told_in_a_sentence_and_changes_nothing(boxes, text, sentence):
    before = held(boxes)
    load(boxes, text)
    expect(said(boxes)).to_contain_text(sentence)
    assert held(boxes) == before


def test_a_layout_is_kept_and_a_preset_takes_the_phrases_along(boxes):
    boxes.locator("#boxes-editor .layouts summary").click()
    do(boxes, "keep")
    boxes.locator("#boxes-editor .presets [title='Three in a row']").click()
    phrases = [one.get("phrase", "") for one in held(boxes)["boxes"]]
    assert phrases == ["a red ball", "a blue house", ""]
    boxes.locator("#boxes-editor .layouts summary").click()
    boxes.locator("#boxes-editor .kept [title='a red ball, a blue house']").click()
    assert list(found(boxes)) == ["a red ball", "a blue house"]


# ---------------------------------------------------------------------- options


def test_options_are_part_of_the_request(boxes, studio):
    boxes.locator("#boxes-editor [name=share]").fill("0.6")
    boxes.locator("#boxes-editor [name=strength]").fill("1.5")
    boxes.locator("#boxes-editor [name=model]").select_option("fake/town-boxes")
    request = generated(boxes, studio)
    assert (request.boxes.share, request.boxes.strength) == (0.6, 1.5)
    assert request.boxes.model == "fake/town-boxes"
    other = boxes.locator("#boxes-editor [name=model] option[value='fake/boxes-2']")
    expect(other).to_be_disabled()
    expect(other).to_contain_text("SD 2.x")
    boxes.locator("#boxes-editor [name=model]").select_option("")
    boxes.locator("#boxes-editor [name=on]").uncheck()
    assert generated(boxes, studio).boxes is None


def test_without_a_gligen_model_it_leads_to_the_models(boxes, studio, monkeypatch):
    line = boxes.locator("#boxes-editor .no-model")
    with monkeypatch.context() as patch:
        left = [model for model in studio.model_list if model.kind.value != "gligen"]
        patch.setattr(studio, "model_list", left)
        expect(line).to_contain_text("No GLIGEN model is installed")
        do(boxes, "models")
        expect(boxes.get_by_role("tab", name="Models", exact=True)).to_have_attribute("aria-selected", "true")
    opened(boxes)
    expect(line).to_be_hidden()


def test_only_the_boxes_of_a_photo_are_painted(boxes, studio):
    boxes.locator("#boxes-editor [name=photo]").first.set_input_files(photo_file())
    expect(boxes.locator("#boxes-editor image.under")).to_be_visible()
    expect(boxes.locator("#field-width input")).not_to_have_value("128")
    boxes.locator("#boxes-editor [name=inside]").check()
    answered(boxes)
    load(boxes, layout(("a red ball", [0.25, 0.5, 0.5, 1])))
    request = generated(boxes, studio)
    assert (request.width, request.height) == (184, 88)
    assert Image.open(io.BytesIO(studio.blob(request.source.image))).size == (320, 160)
    assert request.source.strength == 1
    mask = Image.open(io.BytesIO(studio.blob(request.inpaint.mask))).convert("L")
    assert mask.getbbox() == (80, 80, 160, 160)
    boxes.locator("#boxes-editor [name=inside]").uncheck()
    request = generated(boxes, studio)
    assert request.inpaint is None
    assert request.source is None
    boxes.locator("[data-under=photo]").click()
    do(boxes, "unphoto")


def test_a_photo_that_is_the_start_elsewhere_is_told_and_taken_away(boxes, studio):
    photo = studio.put_blob(photo_file()["buffer"])
    boxes.evaluate("(photo) => window.easelBoxes.write('source-image', photo)", photo)
    line = boxes.locator("#boxes-editor .starts")
    expect(line).to_contain_text("The picture starts from the one in the form.")
    boxes.evaluate("(mask) => window.easelBoxes.write('inpaint', JSON.stringify({mask}))", photo)
    expect(line).to_contain_text("Only the masked part of the photo")
    do(boxes, "unstart")
    expect(line).to_be_hidden()
    request = generated(boxes, studio)
    assert (request.source, request.inpaint) == (None, None)


# ---------------------------------------------------------------------- coming back


def test_boxes_are_told_in_the_generate_tab_and_taken_away_there(boxes):
    boxes.get_by_role("tab", name="Generate", exact=True).click()
    line = boxes.locator("#boxed")
    expect(line).to_contain_text("2 boxes a red ball, a blue house")
    line.get_by_role("button", name="Take the boxes away").click()
    expect(line).to_be_hidden()
    assert held(boxes) is None
    opened(boxes)
    expect(boxes.locator("#boxes-editor [name=on]")).not_to_be_checked()
    boxes.locator("#boxes-editor [name=on]").check()
    assert list(found(boxes)) == ["a red ball", "a blue house"]


def test_a_pasted_picture_lies_beneath_the_boxes(boxes):
    brought(boxes, "paste", "#boxes-editor", photo_file()["buffer"])
    expect(boxes.locator("#boxes-editor [data-under=photo]")).to_have_attribute("aria-pressed", "true")
    expect(boxes.locator("#boxes-editor [data-do=unphoto]")).to_be_visible()


def test_a_reload_keeps_everything(page):
    opened(page)
    draw(page, (0.1, 0.05), (0.5, 0.2), "a cloud")
    page.locator("#boxes-editor [name=colour]").nth(2).fill("#224466")
    page.locator("#boxes-editor [name=share]").fill("0.45")
    before = held(page)
    answered(page)
    kept(page, "easel-boxes", '"share":0.45', "a cloud", "#224466")
    page.reload()
    ready(page)
    opened(page)
    expect(page.locator("#boxes-editor .box")).to_have_count(3)
    answered(page)
    assert Boxes.model_validate(held(page)) == Boxes.model_validate(before)
    assert before["share"] == 0.45
    expect(page.locator("#boxes-editor .box .area").nth(2)).to_have_attribute("fill", "#224466")


def test_an_image_of_the_library_brings_its_boxes_back(boxes, studio):
    job = over(studio, job_of(boxes, studio))
    do(boxes, "clear")
    boxes.get_by_role("tab", name="Library", exact=True).click()
    boxes.locator(f"[data-image='{job.images[0]}'] .open").click()
    expect(boxes.locator("#details dl")).to_contain_text(
        "a red ball, a blue house; 30% of the steps, strength 1"
    )
    boxes.locator("#details [data-action=restore]").click()
    expect(boxes.locator("#boxed")).to_contain_text("2 boxes")
    opened(boxes)
    expect(boxes.locator("#boxes-editor .box")).to_have_count(2)
    assert generated(boxes, studio).boxes == job.request.boxes


def test_boxes_can_be_hidden_to_see_the_result(boxes, studio):
    generated(boxes, studio)
    do(boxes, "show")
    expect(boxes.locator("#boxes-editor .box").first).to_be_hidden()
    expect(boxes.locator("#boxes-editor image.under")).to_be_visible()


def test_a_job_is_cancelled_from_here(boxes, slow):
    generated(boxes, slow)
    boxes.locator("#boxes-doing [data-action=cancel]").click()
    expect(boxes.locator("#boxes-doing")).to_contain_text("Cancelled")


# ---------------------------------------------------------------------- a phone


@pytest.fixture
def phone(browser):
    opened = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    yield opened
    opened.close()


@pytest.fixture
def in_hand(phone, address):
    page = phone.new_page()
    page.goto(address)
    ready(page)
    opened(page)
    page.locator("#boxes-editor .box-well").scroll_into_view_if_needed()
    return page


def line(page, start, end):
    return at(page, *start), at(page, *end)


def test_fingers_draw_move_and_stretch_on_a_phone(in_hand, phone):
    do(in_hand, "snap")
    touch(in_hand, phone, line(in_hand, (0.1, 0.04), (0.5, 0.2)))
    expect(in_hand.locator("#boxes-editor .box")).to_have_count(3)
    assert near(list(held(in_hand)["boxes"][2]["box"].values()), [0.1, 0.04, 0.5, 0.2], 0.02)
    reach = in_hand.locator("#boxes-editor .grip:visible .reach").last.bounding_box()
    assert min(reach["width"], reach["height"]) >= 30
    touch(in_hand, phone, line(in_hand, (0.48, 0.21), (0.78, 0.41)))
    assert near(list(held(in_hand)["boxes"][2]["box"].values()), [0.1, 0.04, 0.8, 0.4], 0.03)
    touch(in_hand, phone, line(in_hand, (0.4, 0.2), (0.5, 0.4)))
    assert near(list(held(in_hand)["boxes"][2]["box"].values()), [0.2, 0.24, 0.9, 0.6], 0.03)
    assert in_hand.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_fingers_zoom_and_draw_nothing(in_hand, phone):
    canvas = in_hand.locator("#boxes-editor .box-well svg")
    width = canvas.bounding_box()["width"]
    before = in_hand.locator("#boxes-editor .box-well").bounding_box()
    pinch(in_hand, phone, canvas)
    assert canvas.bounding_box()["width"] == pytest.approx(2 * width, rel=0.1)
    assert in_hand.locator("#boxes-editor .box-well").bounding_box() == before
    expect(in_hand.locator("#boxes-editor .box")).to_have_count(2)
    assert held(in_hand) is None
    pinch(in_hand, phone, in_hand.locator("#boxes-editor .box-well"), apart=0.4, to=0.1)
    assert canvas.bounding_box()["width"] == pytest.approx(width, rel=0.01)
