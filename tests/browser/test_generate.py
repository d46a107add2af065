"""The Generate tab, as a person uses it."""

import io
import time

import pytest
from PIL import Image
from playwright.sync_api import expect

from studio.core.errors import OutOfMemory
from studio.core.jobs import JobState
from tests.browser.conftest import ready
from tests.browser.waiting import answered, asked_by, brought

pytestmark = pytest.mark.browser

PROMPT = "#field-prompt textarea"


def number(page, field):
    return page.locator(f"#field-{field} input[type=number]").first


def say(page, prompt, **numbers):
    page.fill(PROMPT, prompt)
    for field, value in numbers.items():
        number(page, field).fill(str(value))


def picture(page):
    return page.locator("#stage .picture:not(.live)")


def test_an_empty_canvas_offers_an_example(shared_page):
    example = shared_page.locator("#stage").get_by_text("Try the example")
    example.click()
    expect(shared_page.locator(PROMPT)).to_have_value("a red ball and a blue house on grass")
    expect(example).to_be_hidden()  # it would replace what was said


def test_a_prompt_becomes_a_picture_with_its_actions(page, studio):
    say(page, "a red ball and a blue house on grass", seed=77)
    page.click("#generate")
    expect(picture(page)).to_be_visible()
    expect(page.locator("#stage [data-action=reuse]")).to_be_visible()
    image = studio.images().images[0]
    assert (image.prompt, image.seed) == ("a red ball and a blue house on grass", 77)
    expect(picture(page)).to_have_attribute("src", f"studio/v1/images/{image.id}/file")


def test_the_preview_sharpens_with_step_and_time_left(shared_page, slow):
    say(shared_page, "a star", steps=150)
    shared_page.click("#generate")
    expect(shared_page.locator("#stage .live")).to_be_visible()
    expect(shared_page.locator("#stage .doing")).to_contain_text("of 150")
    expect(shared_page.locator("#stage .doing")).to_contain_text("s left")
    first = shared_page.locator("#stage .live").get_attribute("src")
    shared_page.wait_for_function("(old) => document.querySelector('#stage .picture').src !== old", arg=first)


def test_ctrl_enter_starts_and_escape_cancels(shared_page, slow):
    say(shared_page, "a cat", steps=150)
    shared_page.locator(PROMPT).press("Control+Enter")
    expect(shared_page.locator("#stage .live")).to_be_visible()
    shared_page.locator(PROMPT).press("Escape")
    expect(shared_page.locator("#stage .doing")).to_contain_text("Cancelled")
    assert slow.jobs()[0].state is JobState.CANCELLED


def test_a_cancelled_batch_shows_what_it_had_finished(page, slow):
    slow.step_seconds = 0.4  # so that a slow page sees the first picture before the second is there
    say(page, "a boat on a lake", steps=12, batches=4, seed=21)
    page.click("#generate")
    expect(page.locator("#stage .tile")).to_have_count(1, timeout=30_000)
    expect(page.locator("#stage .live")).to_be_visible()
    page.locator(PROMPT).press("Escape")
    expect(page.locator("#stage .doing")).to_contain_text("Cancelled. Finished: 1 of 4 pictures.")
    image = slow.images().images[0]
    assert (image.prompt, image.seed) == ("a boat on a lake", 21)
    expect(picture(page)).to_have_attribute("src", f"studio/v1/images/{image.id}/file")
    page.locator("#stage [data-action=dismiss]").click()
    expect(page.locator("#stage .doing")).to_have_text("")
    page.reload()
    ready(page)
    expect(picture(page)).to_have_attribute("src", f"studio/v1/images/{image.id}/file")


def test_generating_while_a_job_runs_queues_the_next(shared_page, slow):
    say(shared_page, "first", steps=150)
    shared_page.click("#generate")
    expect(shared_page.locator("#stage .live")).to_be_visible()
    say(shared_page, "second")
    shared_page.click("#generate")
    expect(shared_page.locator("#queue li")).to_have_count(2)
    expect(shared_page.locator("#queue li.queued")).to_contain_text("1 job ahead")
    shared_page.locator("#queue li.queued [data-action=cancel]").click()
    expect(shared_page.locator("#queue li")).to_have_count(1)


def test_a_reload_finds_the_running_job_and_the_form_again(page, slow):
    say(page, "a house in the snow", steps=140, width=192)
    page.click("#generate")
    expect(page.locator("#stage .live")).to_be_visible()
    page.reload()
    ready(page)
    expect(page.locator("#stage .live")).to_be_visible()
    expect(page.locator(PROMPT)).to_have_value("a house in the snow")
    expect(number(page, "steps")).to_have_value("140")
    expect(number(page, "width")).to_have_value("192")
    page.locator("#stage [data-action=cancel]").click()
    expect(page.locator("#stage .doing")).to_contain_text("Cancelled")


def test_a_wrong_size_is_explained_at_its_field_until_it_is_edited(shared_page, studio):
    before = len(studio.jobs())
    number(shared_page, "width").fill("70")
    shared_page.click("#generate")
    note = shared_page.locator("#field-width .problem-note")
    expect(note).to_have_text("Width is 70, which is no multiple of 8. Try 72.")
    expect(number(shared_page, "width")).to_have_attribute("aria-invalid", "true")
    assert len(studio.jobs()) == before
    number(shared_page, "width").fill("72")
    expect(note).to_have_count(0)


def test_an_error_of_the_plan_is_shown_at_its_field(shared_page):
    shared_page.fill(PROMPT, "a (red ball")
    shared_page.click("#generate")
    expect(shared_page.locator("#field-prompt .problem-note")).to_contain_text("never closed")


def test_a_failing_job_says_why_without_a_stack_trace(shared_page, studio):
    studio.fail_next = OutOfMemory("It needs 9 GB but 2 GB are free.", "Make it smaller.", field="height")
    say(shared_page, "a tower")
    shared_page.click("#generate")
    expect(shared_page.locator("#field-height .problem-note")).to_contain_text("9 GB")
    expect(shared_page.locator("#stage .failed")).to_contain_text("Make it smaller.")
    assert "Traceback" not in shared_page.content()
    queued = shared_page.locator("#queue li.failed")
    expect(queued).to_contain_text("It needs 9 GB")
    shared_page.locator("#stage [data-action=dismiss]").click()
    expect(queued).to_have_count(0)
    expect(shared_page.locator("#stage .failed")).to_have_count(0)


def test_tokens_are_counted_while_typing(shared_page):
    shared_page.fill(PROMPT, "one two three")
    expect(shared_page.locator("#tokens .tokens")).to_have_text("3 / 75")


def test_shapes_suit_the_model_and_can_be_swapped(shared_page):
    shared_page.click("[data-shape='16:9']")
    expect(number(shared_page, "width")).to_have_value("168")
    expect(number(shared_page, "height")).to_have_value("96")
    shared_page.click("[data-action=swap]")
    expect(number(shared_page, "width")).to_have_value("96")
    expect(number(shared_page, "height")).to_have_value("168")


def test_schedules_follow_the_sampler(shared_page):
    shared_page.locator("#field-schedule input").click()
    shared_page.get_by_role("option", name="Karras").click()
    shared_page.locator("#field-sampler input").click()
    shared_page.get_by_role("option", name="LCM").click()
    expect(shared_page.locator("#field-schedule input")).to_have_value("Automatic")
    shared_page.locator("#field-schedule input").click()
    expect(shared_page.locator("#field-schedule").get_by_role("option")).to_have_count(1)


def test_a_result_gives_back_its_seed_and_its_settings(page):
    say(page, "a boat", seed=41, steps=3)
    page.click("#generate")
    expect(picture(page)).to_be_visible()
    say(page, "something else", seed=-1, steps=9)
    page.locator("#stage [data-action=seed]").click()
    expect(number(page, "seed")).to_have_value("41")
    expect(page.locator(PROMPT)).to_have_value("something else")
    page.locator("#stage [data-action=reuse]").click()
    expect(page.locator(PROMPT)).to_have_value("a boat")
    expect(number(page, "steps")).to_have_value("3")
    page.click("#random-seed")
    expect(number(page, "seed")).to_have_value("-1")


def test_an_older_result_can_be_chosen_and_is_what_the_actions_mean(page, studio):
    say(page, "a pair", batch_size=2, seed=100)
    page.click("#generate")
    tiles = page.locator("#stage .tile")
    expect(tiles).to_have_count(2)
    tiles.nth(1).click()
    second = tiles.nth(1).get_attribute("data-show")
    expect(picture(page)).to_have_attribute("src", f"studio/v1/images/{second}/file")
    page.locator("#stage [data-action=favourite]").click()
    expect(page.locator("#stage .toolbar .star")).to_have_attribute("aria-pressed", "true")
    assert studio.image(second).favourite


def test_a_batch_is_seen_side_by_side_and_one_of_it_taken(page):
    say(page, "a four", batch_size=4, seed=50)
    page.click("#generate")
    tiles = page.locator("#stage .tile")
    expect(tiles).to_have_count(4)
    page.get_by_role("button", name="All 4 of the newest job").click()
    shown = page.locator("#stage .side-by-side img")
    expect(shown).to_have_count(4)
    expect(picture(page)).to_be_hidden()
    assert {image.get_attribute("src") for image in shown.all()} == {
        tile.get_attribute("data-src") for tile in tiles.all()
    }
    third = page.locator("#stage .side-by-side button").nth(2)
    chosen = third.get_attribute("data-show")
    third.click()
    expect(shown).to_have_count(0)
    expect(picture(page)).to_have_attribute("src", f"studio/v1/images/{chosen}/file")


def test_a_result_is_deleted_and_brought_back(page, studio):
    say(page, "soon gone")
    page.click("#generate")
    expect(picture(page)).to_be_visible()
    page.locator("#stage [data-action=delete]").click()
    expect(page.locator("#notice")).to_contain_text("1 picture moved to the trash.")
    expect(page.locator("#stage .tile")).to_have_count(0)
    page.locator("#notice [data-action=undo]").click()
    expect(page.locator("#notice")).to_contain_text("brought back")
    expect(page.locator("#stage .tile")).to_have_count(1)


def test_a_result_becomes_the_source_of_the_next(page, studio):
    page.click("#generate")
    expect(picture(page)).to_be_visible()
    page.locator("#stage [data-action=source]").click()
    expect(page.locator("#part-source img")).to_be_visible()
    page.click("#generate")
    page.wait_for_function("document.querySelectorAll('#stage .tile').length === 2")
    assert studio.jobs()[0].request.source is not None


def test_an_uploaded_source_survives_a_reload_and_can_be_cleared(page, studio):
    page.locator("#part-source .label-wrap").click()
    page.locator("#part-source [data-testid=image] input[type=file]").first.set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": png()}
    )
    expect(page.locator("#part-source img")).to_be_visible()
    answered(page)
    page.reload()
    ready(page)
    expect(page.locator("#part-source img")).to_be_visible()
    page.route("**/gradio_api/run/**", lambda route: (time.sleep(0.2), route.continue_()))
    page.get_by_label("Remove Image").click()
    expect(page.locator("#part-source img")).to_have_count(0)
    assert asked_by(page, studio, lambda: page.click("#generate")).request.source is None


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_brought_to_the_tab_is_what_the_next_starts_from(page, studio, kind):
    at = "#stage .canvas" if kind == "drop" else "#field-prompt textarea"
    brought(page, kind, at, png())
    expect(page.locator("#part-source img")).to_be_visible()
    answered(page)
    assert asked_by(page, studio, lambda: page.click("#generate")).request.source is not None


def test_a_picture_dropped_where_nobody_takes_it_does_not_take_the_page_away(shared_page):
    shared_page.get_by_role("tab", name="Models", exact=True).click()
    assert brought(shared_page, "dragover", "#cards", png())
    assert brought(shared_page, "drop", "#cards", png())
    shared_page.get_by_role("tab", name="Generate", exact=True).click()


def test_two_tabs_work_at_once(visit, slow):
    second = visit.page.context.new_page()
    second.goto(visit.address)
    ready(second)
    say(visit.page, "from the first", steps=150)
    say(second, "from the second")
    visit.page.click("#generate")
    expect(visit.page.locator("#stage .live")).to_be_visible()
    second.click("#generate")
    expect(second.locator("#stage .doing")).to_contain_text("1 job ahead")
    expect(visit.page.locator("#queue li")).to_have_count(2)
    second.close()


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (24, 24), "teal").save(buffer, "PNG")
    return buffer.getvalue()


def test_both_prompts_are_counted(shared_page):
    say(shared_page, "a red ball")
    shared_page.fill("#field-negative_prompt textarea", "grass, snow and sand")
    expect(shared_page.locator("#tokens")).to_contain_text("3 / 75")
    expect(shared_page.locator("#negative-tokens")).to_contain_text("5 / 75")
