"""The Library tab, as a person uses it."""

import io
import time
import zipfile

import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import expect

from studio.core.library import ImageQuery
from studio.core.requests import GenerateRequest
from tests.browser.test_generate import PROMPT, number
from tests.browser.waiting import answered

pytestmark = pytest.mark.browser

FOREIGN = """a castle
Negative prompt: fog
Steps: 12, Sampler: Euler, CFG scale: 5, Seed: 99, Size: 256x192, Hair: long"""


@pytest.fixture
def library(shared_page):
    shared_page.get_by_role("tab", name="Library").click()
    shared_page.get_by_label("Search prompts").fill("")
    shared_page.locator("#field-favourites input").uncheck()
    answered(shared_page)  # a wall that is drawn anew has nothing selected
    expect(shared_page.locator(".card")).to_have_count(8)
    shared_page.evaluate("window.easelUnmark()")
    expect(shared_page.locator("#bulk")).to_be_hidden()
    return shared_page


def open_import(page):
    if not page.locator("#read-text").is_visible():
        page.locator("#import .label-wrap").click()
        answered(page)  # what is filled in while it opens would be overwritten


def test_search_finds_pictures_by_words_of_their_prompt(library):
    library.get_by_label("Search prompts").fill("blue house")
    expect(library.locator(".card")).to_have_count(2)
    library.get_by_label("Search prompts").fill("no such thing")
    expect(library.locator("#wall")).to_contain_text("No picture matches")


def test_favourites_can_be_marked_and_shown_alone(library, studio):
    card = library.locator(".card").nth(2)
    chosen = card.get_attribute("data-image")
    card.hover()
    card.locator(".star").click()
    expect(library.locator(f"[data-image='{chosen}'].card .star")).to_have_attribute("aria-pressed", "true")
    library.locator("#field-favourites input").check()
    expect(library.locator(".card")).to_have_count(1)
    studio.set_favourite(chosen, False)


def test_days_limit_the_search(library):
    library.locator("#field-until input").fill("2001-01-01")
    expect(library.locator("#wall")).to_contain_text("No picture matches")
    library.locator("#field-until input").fill("")
    expect(library.locator(".card").first).to_be_visible()


def test_details_show_every_setting_and_restore_it(library, studio):
    image = studio.images().images[-1]
    library.locator(f"[data-image='{image.id}'] .open").click()
    details = library.locator("#details")
    expect(details).to_contain_text(image.prompt)
    for word in ("Sampler", "DPM++ 2M", "Guidance scale", "Toytown", "128 × 128"):
        expect(details).to_contain_text(word)
    details.locator("[data-action=restore]").click()
    expect(library.locator(PROMPT)).to_have_value(image.prompt)
    expect(number(library, "seed")).to_have_value(str(image.seed))
    expect(number(library, "steps")).to_have_value("4")


def test_pasted_parameters_are_restored_with_what_was_left_out(library):
    open_import(library)
    library.get_by_label("Or paste generation parameters").fill(FOREIGN)
    library.click("#read-text")
    expect(library.locator(PROMPT)).to_have_value("a castle")
    expect(number(library, "height")).to_have_value("192")
    expect(library.locator("#notice")).to_contain_text("AUTOMATIC1111")
    expect(library.locator("#notice")).to_contain_text("Hair was left out")


def test_a_dropped_picture_is_restored(library):
    open_import(library)
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", FOREIGN)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG", pnginfo=info)
    files = {"name": "castle.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    library.locator("#import input[type=file]").set_input_files(files)
    expect(library.locator(PROMPT)).to_have_value("a castle")
    expect(number(library, "steps")).to_have_value("12")


def test_pictures_ticked_in_quick_succession_are_all_selected(library):
    library.evaluate(
        "[...document.querySelectorAll('.mark input')].slice(0, 5).forEach((box) => box.click())"
    )
    expect(library.locator("#bulk")).to_contain_text("5 pictures selected")


@pytest.fixture
def slowly(library):
    """The wall at the end of a slow line."""
    library.route("**/gradio_api/run/**", lambda route: (time.sleep(0.1), route.continue_()))
    yield library
    library.unroute("**/gradio_api/run/**")


def test_the_last_of_several_quick_ticks_and_openings_counts(slowly):
    for index in range(4):
        slowly.locator(".mark input").nth(index).evaluate("(box) => box.click()")
    expect(slowly.locator("#bulk")).to_contain_text("4 pictures selected")
    for index in range(3):
        slowly.locator(".card .open").nth(index).evaluate("(button) => button.click()")
    third = slowly.locator(".card").nth(2).get_attribute("data-image")
    expect(slowly.locator("#details .details")).to_have_attribute("data-image", third)


def test_who_deletes_at_once_deletes_all_that_are_ticked(slowly, studio):
    before = studio.images().total
    boxes = slowly.locator(".mark input")
    boxes.first.evaluate("(box) => box.click()")
    expect(slowly.locator("#bulk")).to_be_visible()
    boxes.nth(1).evaluate("(box) => box.click()")
    slowly.locator("#delete-marked").evaluate("(button) => button.click()")
    expect(slowly.locator(".card")).to_have_count(before - 2)
    slowly.locator("#notice [data-action=undo]").click()
    expect(slowly.locator(".card")).to_have_count(before)


def test_a_file_that_is_no_picture_is_refused_where_it_was_dropped(library):
    open_import(library)
    files = {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}
    library.locator("#import input[type=file]").set_input_files(files)
    expect(library.locator("#field-image-file .problem-note")).to_contain_text("picture")
    expect(library.locator("#import input[type=file]")).to_have_count(1)


def test_a_text_without_settings_is_explained(library):
    open_import(library)
    library.get_by_label("Or paste generation parameters").fill("just words")
    library.click("#read-text")
    expect(library.locator("#problems")).to_contain_text("No generation parameters were found.")


def test_a_selection_is_exported_as_a_zip(library):
    for card in library.locator(".card").all()[:2]:
        card.hover()
        card.locator(".mark input").check()
    expect(library.locator("#bulk")).to_contain_text("2 pictures selected")
    with library.expect_download() as download:
        library.click("#export")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 2
    library.get_by_role("button", name="Select none").click()
    expect(library.locator("#bulk")).to_be_hidden()


@pytest.fixture
def refusing(library):
    """The wall with two pictures ticked, on a page whose route for the export a test may change."""
    for card in library.locator(".card").all()[:2]:
        card.locator(".mark input").check(force=True)
    expect(library.locator("#bulk")).to_contain_text("2 pictures selected")
    yield library
    library.unroute("**/export")
    library.get_by_role("button", name="Select none").click()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"status": 507, "json": {"message": "The disk is full. Free some space."}}, "The disk is full."),
        ({"status": 502, "body": "<h1>no gateway</h1>"}, "The export failed (502)."),
        (None, "The export got no answer."),
    ],
)
def test_an_export_that_fails_says_why(refusing, shared_visit, answer, sentence):
    refusing.route("**/export", lambda route: route.fulfill(**answer) if answer else route.abort())
    refusing.click("#export")
    expect(refusing.locator("#problems")).to_contain_text(sentence)
    shared_visit.complaints.clear()  # the browser's own line about the answer


def test_a_selection_is_deleted_and_brought_back(library, studio):
    before = studio.images().total
    for card in library.locator(".card").all()[:3]:
        card.hover()
        card.locator(".mark input").check()
    library.click("#delete-marked")
    expect(library.locator(".card")).to_have_count(before - 3)
    expect(library.locator("#notice")).to_contain_text("3 pictures moved to the trash.")
    library.locator("#notice [data-action=undo]").click()
    expect(library.locator(".card")).to_have_count(before)
    assert studio.images().total == before


# ---------------------------------------------------------------- by keyboard


def focused(page):
    return page.evaluate("document.activeElement.closest('.card')?.dataset.image")


def test_arrows_walk_over_the_wall_and_the_details_follow(library, studio):
    ids = [image.id for image in studio.images().images]
    library.locator(".card .open").first.focus()
    library.keyboard.press("ArrowRight")
    assert focused(library) == ids[1]
    library.keyboard.press("End")
    assert focused(library) == ids[-1]
    library.keyboard.press("Home")
    columns = library.evaluate(
        "getComputedStyle(document.querySelector('.wall')).gridTemplateColumns.split(' ').length"
    )
    library.keyboard.press("ArrowDown")
    assert focused(library) == ids[columns]
    library.keyboard.press("Enter")
    details = library.locator("#details .details")
    expect(details).to_have_attribute("data-image", ids[columns])
    library.keyboard.press("ArrowLeft")
    expect(details).to_have_attribute("data-image", ids[columns - 1])
    library.locator("#details [data-step='1']").click()
    expect(details).to_have_attribute("data-image", ids[columns])
    library.keyboard.press("Escape")
    expect(details).to_have_count(0)
    assert focused(library) == ids[columns]


def test_space_selects_and_escape_selects_none(library):
    library.locator(".card .open").first.focus()
    library.keyboard.press("Space")
    library.keyboard.press("ArrowRight")
    library.keyboard.press("Space")
    expect(library.locator("#bulk")).to_contain_text("2 pictures selected")
    library.keyboard.press("Escape")
    expect(library.locator("#bulk")).to_be_hidden()


def test_delete_takes_the_focused_picture_and_goes_on_to_the_next(library, studio):
    ids = [image.id for image in studio.images().images]
    library.locator(".card .open").nth(1).focus()
    library.keyboard.press("Delete")
    expect(library.locator(".card")).to_have_count(len(ids) - 1)
    assert focused(library) == ids[2]
    library.locator("#notice [data-action=undo]").click()
    expect(library.locator(".card")).to_have_count(len(ids))
    assert [card.get_attribute("data-image") for card in library.locator(".card").all()] == ids


# ---------------------------------------------------------------- a long one


def test_a_long_library_fills_as_one_scrolls_and_keeps_its_place(page, studio):
    before = studio.images().total
    for seed in range(140):
        studio.add_image(GenerateRequest(prompt="one of many", seed=seed, width=64, height=64))
    page.get_by_role("tab", name="Library").click()
    cards = page.locator(".card")
    expect(cards).to_have_count(60)
    expect(page.locator("#count")).to_have_text(f"{before + 140} pictures")
    for count in (120, before + 140):
        page.evaluate("scrollTo(0, document.scrollingElement.scrollHeight)")
        expect(cards).to_have_count(count)
    assert len({card.get_attribute("data-image") for card in cards.all()}) == count
    page.evaluate("scrollTo(0, 1500)")
    card = page.locator(".card").nth(70)
    card.scroll_into_view_if_needed()
    height = card.bounding_box()["y"]
    card.locator(".open").click()
    expect(page.locator("#details .details")).to_be_visible()
    page.wait_for_function(
        "(y) => Math.abs(document.querySelectorAll('.card')[70].getBoundingClientRect().y - y) < 4",
        arg=height,
    )
    place = page.evaluate("scrollY")
    page.get_by_role("tab", name="Models").evaluate("(tab) => tab.click()")
    expect(cards.first).to_be_hidden()
    answered(page)
    page.get_by_role("tab", name="Library").evaluate("(tab) => tab.click()")
    page.wait_for_function("(place) => Math.abs(scrollY - place) < 4", arg=place)
    expect(cards).to_have_count(count)
    studio.delete_images([image.id for image in studio.images(ImageQuery(text="many", limit=500)).images])
