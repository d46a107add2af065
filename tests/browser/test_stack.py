"""LoRAs, hypernetworks and embeddings in the stack, as a person uses them."""

import json

import pytest
from playwright.sync_api import expect

from studio.core.conditions import BlockWeights, HypernetworkInput, LoraInput
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from tests.browser.conftest import browsing, ready, serving
from tests.browser.test_generate import PROMPT, number
from tests.browser.test_page import CONTRAST, PAYLOADS, UNNAMED
from tests.browser.waiting import answered, asked_by, left_alone, still
from tests.fakes import ACTIVE, FakeStudio

pytestmark = pytest.mark.browser

NEGATIVE = "#field-negative_prompt textarea"

FORGET = """() => {
  document.querySelector('dialog[open]')?.close();
  for (const path of ['loras', 'hypernetworks']) easelStack.rearrange(path, (all) => all.splice(0));
  document.body.classList.remove('dark');
}"""


@pytest.fixture
def page(shared_page, studio):
    """The page with an empty stack and no prompts, whatever another test left."""
    left_alone(studio)
    shared_page.evaluate(FORGET)
    shared_page.get_by_role("tab", name="Generate", exact=True).click()
    shared_page.fill(PROMPT, "")
    shared_page.fill(NEGATIVE, "")
    answered(shared_page)
    return shared_page


def held(page, path="loras"):
    return json.loads(page.locator(f"#field-{path} textarea").input_value())


def models(page, path="loras"):
    return [entry["model"].removeprefix("fake/") for entry in held(page, path)]


def entry(page, index=0, path="loras"):
    return page.locator(f"#field-{path}-{index}")


def browse(page):
    page.get_by_role("button", name="+ Add").click()
    dialog = page.get_by_role("dialog", name="Add to the stack")
    expect(dialog.locator(".network").first).to_be_visible()
    return dialog


def network(page, name):
    return page.locator(f'.network[data-name="{name}"]')


def add(page, *names):
    dialog = browse(page)
    for name in names:
        network(page, name).locator(".add").click()
        expect(dialog.get_by_role("status")).to_contain_text(f"{name} was added")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def weight(page, index=0):
    return entry(page, index).get_by_label("Weight", exact=True)


def submitted(page, studio):
    """The request that the button sends."""
    return asked_by(page, studio, lambda: page.click("#generate")).request


def test_a_word_that_a_stacked_lora_defines_is_counted_with_its_vectors(page):
    page.fill(PROMPT, "a neon night")
    expect(page.locator("#tokens .tokens")).to_have_text("3 / 75")
    add(page, "Night city")
    expect(page.locator("#tokens .tokens")).to_have_text("13 / 75")
    page.fill(PROMPT, "neon night")
    expect(page.locator("#tokens .tokens")).to_have_text("12 / 75")


def test_a_card_adds_its_lora_with_the_weight_that_it_prefers(page, studio):
    add(page, "Watercolour", "Night city", "woodcut")
    expect(page.locator("#entries-loras .entry")).to_have_count(2)
    expect(weight(page)).to_have_value("0.8")
    expect(entry(page, 0, "hypernetworks")).to_contain_text("woodcut")
    request = submitted(page, studio)
    assert request.loras == (
        LoraInput(model="fake/watercolour", weight=0.8),
        LoraInput(model="fake/night-city"),
    )
    assert request.hypernetworks == (HypernetworkInput(model="fake/woodcut", weight=0.6),)


def test_a_click_anywhere_on_a_card_adds_it(page):
    browse(page)
    network(page, "Plain").locator("h4").click(force=True)  # the button lies over the whole card
    expect(page.locator("#entries-loras .entry")).to_have_count(1)
    expect(network(page, "Plain").locator(".in-stack")).to_be_visible()


def test_cards_are_searched_by_name_word_and_note_and_filtered_by_kind(page):
    dialog = browse(page)
    shown = dialog.locator(".network:visible")
    total = shown.count()
    search = dialog.get_by_label("Search networks")
    expect(search).to_be_focused()
    for words, name in (("night", "Night city"), ("wet pap", "Watercolour"), ("below 0.7", "Night city")):
        search.fill(words)
        expect(shown).to_have_count(1)
        expect(shown).to_contain_text(name)
    search.fill("no such thing")
    expect(dialog.locator(".none")).to_be_visible()
    search.fill("")
    dialog.get_by_role("button", name="Hypernetworks").click()
    expect(shown).to_have_count(2)
    dialog.get_by_role("button", name="All").click()
    expect(shown).to_have_count(total)


def test_trigger_words_and_embeddings_go_into_the_prompts_once(page):
    page.fill(PROMPT, "a cat,")
    dialog = browse(page)
    word = network(page, "Watercolour").get_by_role("button", name="watercolour style")
    word.click()
    word.click()
    expect(dialog.get_by_role("status")).to_contain_text("already")
    network(page, "old-photo").get_by_role("button", name="Into the prompt").click()
    network(page, "bad-hands").get_by_role("button", name="Into the negative").click()
    expect(page.locator(PROMPT)).to_have_value("a cat, watercolour style, old-photo")
    expect(page.locator(NEGATIVE)).to_have_value("bad-hands")
    assert held(page) == []


def test_a_network_of_another_family_is_greyed_with_the_reason(page):
    browse(page)
    card = network(page, "Cut paper XL")
    expect(card).to_contain_text("For SDXL, but Toytown is SD 1.x.")
    expect(card.locator(".add")).to_have_count(0)


def test_another_checkpoint_greys_what_is_in_the_stack_and_the_error_stands_at_it(visit, studio, monkeypatch):
    page = visit.page
    monkeypatch.setattr(studio, "active_model", ACTIVE)  # and so again at the end
    add(page, "Plain", "Watercolour")
    page.locator("#field-model input").click()
    page.get_by_role("option", name="Large XL").click()
    expect(entry(page, 1).locator(".reason")).to_have_text("For SD 1.x, but Large XL is SDXL.")
    entry(page).get_by_role("switch").click()
    page.click("#generate")
    note = entry(page, 1).locator(".problem-note")
    expect(note).to_contain_text("Watercolour is for SD 1.x")
    expect(page.locator("#problems .problem:not(.placed)")).to_have_count(0)


def test_values_are_changed_by_pointer_and_keys_without_asking_the_server(visit, studio):
    page = visit.page  # the shared one may still ask for what another test left
    add(page, "Plain")
    answered(page)
    timers = page.evaluate("gradio_config.components.filter(({type}) => type === 'timer').map(({id}) => id)")
    asked = []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
    slider = entry(page).get_by_label("Weight, slider")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 2 / 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in range(20):
        page.mouse.move(box["x"] + box["width"] * (2 / 3 - share / 60), box["y"] + box["height"] / 2)
    page.mouse.up()
    dragged = held(page)[0]["weight"]
    assert 0 <= dragged <= 0.1
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    assert held(page)[0]["weight"] == pytest.approx(dragged + 0.1)
    expect(weight(page)).to_have_value(f"{dragged + 0.1:g}")
    answered(page)
    assert [request.url for request in asked if request.post_data_json["trigger_id"] not in timers] == []
    weight(page).fill("-0.4")
    assert submitted(page, studio).loras[0].weight == -0.4


def test_details_reach_the_request(page, studio):
    add(page, "Plain")
    toggle = entry(page).get_by_role("button", name="Details of Plain")
    toggle.focus()
    page.keyboard.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    details = {"Text encoder weight": "0.3", "Down": "0.5", "Middle": "0", "Up": "1.5"}
    for label, value in details.items():
        entry(page).get_by_label(label, exact=True).fill(value)
    entry(page).get_by_label("From, % of steps").fill("20")
    entry(page).get_by_label("To, % of steps").fill("75")
    assert submitted(page, studio).loras == (
        LoraInput(
            model="fake/plain",
            text_encoder_weight=0.3,
            blocks=BlockWeights(down=0.5, mid=0, up=1.5),
            start=0.2,
            end=0.75,
        ),
    )
    entry(page).get_by_label("Text encoder weight").fill("")
    assert submitted(page, studio).loras[0].text_encoder_weight is None


def test_a_value_out_of_bounds_is_brought_back_and_a_range_that_ends_before_it_begins_is_told(page):
    add(page, "Plain")
    weight(page).fill("50")
    weight(page).press("Tab")
    expect(weight(page)).to_have_value("10")
    weight(page).fill("")
    weight(page).press("Tab")
    expect(weight(page)).to_have_value("10")
    entry(page).get_by_role("button", name="Details of Plain").click()
    entry(page).get_by_label("To, % of steps").fill("40")
    entry(page).get_by_label("From, % of steps").fill("60")
    page.click("#generate")
    expect(entry(page).locator(".problem-note")).to_contain_text(
        "LoRA 1: the start (0.6) must lie before the end (0.4)."
    )


def test_entries_are_reordered_duplicated_and_removed(page):
    add(page, "Plain", "Watercolour", "Night city")
    entry(page).get_by_role("button", name="Details of Plain").click()
    entry(page).get_by_role("button", name="Later in the stack").click()
    expect(entry(page)).to_contain_text("Watercolour")
    assert models(page) == ["watercolour", "plain", "night-city"]
    expect(entry(page, 1).get_by_role("button", name="Later in the stack")).to_be_focused()
    page.keyboard.press("Alt+ArrowDown")
    expect(entry(page, 2)).to_contain_text("Plain")
    assert models(page) == ["watercolour", "night-city", "plain"]
    expect(entry(page, 2).get_by_label("Text encoder weight")).to_be_visible()
    page.keyboard.press("Alt+ArrowUp")
    expect(entry(page, 1)).to_contain_text("Plain")
    entry(page, 1).get_by_role("button", name="Duplicate").click()
    expect(page.locator("#entries-loras .entry")).to_have_count(4)
    weight(page, 2).fill("0.2")
    assert [one.get("weight") for one in held(page)] == [0.8, None, 0.2, None]
    entry(page).get_by_role("button", name="Remove Watercolour").click()
    expect(page.locator("#entries-loras .entry")).to_have_count(3)
    expect(entry(page).get_by_role("button", name="Remove Plain")).to_be_focused()
    expect(weight(page, 1)).to_have_value("0.2")


def test_an_entry_that_is_switched_off_stays_and_is_sent_as_off(page, studio):
    add(page, "Plain")
    switch = entry(page).get_by_role("switch", name="Use Plain")
    switch.focus()
    page.keyboard.press("Space")
    expect(switch).not_to_be_checked()
    assert submitted(page, studio).loras == (LoraInput(model="fake/plain", enabled=False),)


def test_the_stack_survives_a_reload(page):
    add(page, "Watercolour", "woodcut")
    weight(page).fill("0.35")
    entry(page, 0, "hypernetworks").get_by_role("switch").click()
    answered(page)
    page.reload()
    ready(page)
    expect(weight(page)).to_have_value("0.35")
    expect(entry(page, 0, "hypernetworks").get_by_role("switch")).not_to_be_checked()


def test_an_image_of_the_library_tells_its_stack_and_brings_it_back(page, studio):
    stacked = GenerateRequest(
        model="fake/toytown",
        prompt="a stacked picture",
        width=64,
        height=64,
        seed=5,
        loras=(LoraInput(model="fake/night-city", weight=0.55, end=0.5),),
        hypernetworks=(HypernetworkInput(model="fake/woodcut", weight=0.3, enabled=False),),
    )
    image = studio.add_image(stacked)
    add(page, "Night city")
    page.get_by_role("tab", name="Library").click()
    page.locator(f"[data-image='{image.id}'] .open").click()
    details = page.locator("#details")
    expect(details).to_contain_text("Night city · 0.55 · steps 0 to 50 %")
    expect(details).to_contain_text("woodcut · 0.3 · off")
    details.locator("[data-action=restore]").click()
    expect(weight(page)).to_have_value("0.55")
    assert submitted(page, studio) == stacked
    studio.delete_images([image.id])


def test_the_settings_that_a_lora_wants_are_one_click_away(page, studio):
    add(page, "LCM-LoRA")
    entry(page).get_by_role("button", name="Use its settings").click()
    expect(number(page, "steps")).to_have_value("6")
    request = submitted(page, studio)
    assert (str(request.sampler), request.steps, request.guidance_scale) == ("LCM", 6, 1.5)


def test_a_tag_of_no_kind_that_there_is_is_told_under_the_prompt(page):
    page.fill(PROMPT, "a ball <LORA:Watercolour:1>")
    hint = page.locator("#prompt-tags")
    expect(hint).to_contain_text("The tag <LORA:Watercolour:1> calls nothing")
    page.fill(PROMPT, "a ball <lyco:Watercolour:1>")
    expect(hint).to_contain_text("In the prompt: Watercolour 1")


def test_tags_of_the_prompt_become_entries_and_entries_tags(page, studio):
    page.fill(PROMPT, "a cat, <lora:plain:0.7>, <hypernet:woodcut:0.4> on <lora:nobody:1>")
    hint = page.locator("#prompt-tags")
    expect(hint).to_contain_text("Plain 0.7, woodcut 0.4")
    expect(hint).to_contain_text("nobody")
    hint.get_by_role("button", name="Take into the stack").click()
    expect(page.locator(PROMPT)).to_have_value("a cat, on <lora:nobody:1>")
    expect(weight(page)).to_have_value("0.7")
    page.fill(PROMPT, "a cat")
    expect(hint).not_to_contain_text("nobody")
    entry(page).get_by_role("button", name="Details of Plain").click()
    entry(page).get_by_label("Text encoder weight").fill("0.5")
    as_tag = entry(page).get_by_role("button", name="As prompt tag")
    entry(page).get_by_label("Down").fill("0.5")
    expect(as_tag).to_be_disabled()
    entry(page).get_by_label("Down").fill("1")
    as_tag.click()
    expect(page.locator(PROMPT)).to_have_value("a cat <lora:Plain:0.5:0.7>")
    assert held(page) == []
    expect(hint).to_contain_text("Plain 0.7")


def test_on_a_narrow_screen_the_view_fills_it_and_a_problem_is_not_hidden_with_the_stack(context, address):
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    page.evaluate("localStorage.clear()")
    page.reload()
    ready(page)
    page.locator(".sidebar .toggle-button").click()
    dialog = browse(page)
    assert dialog.bounding_box()["width"] == 390
    assert dialog.evaluate("(e) => e.scrollWidth <= innerWidth")
    network(page, "Plain").locator(".add").click()
    page.keyboard.press("Escape")
    expect(weight(page)).to_be_visible()
    weight(page).fill("0.5")
    right = entry(page).evaluate("(e) => e.getBoundingClientRect().right")
    assert right <= 390
    page.evaluate("window.easelStack.edit('loras', 0, 'start', 1)")
    page.locator(".sidebar .toggle-button").click()
    page.click("#generate")
    expect(page.locator("#problems .problem")).to_be_visible()
    page.evaluate("localStorage.clear()")
    page.close()


def hostile(folder):
    """A studio whose networks bear payloads wherever a file can put words."""
    studio = FakeStudio(folder, step_seconds=0.01)
    kinds = (ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.HYPERNETWORK)
    studio.model_list += [
        ModelInfo(
            id=f"{kind}-{number}-{problem[:1]}",
            name=payload,
            kind=kind,
            family=Family.SD1,
            description=payload,
            author=payload,
            trigger_words=(payload, "calm"),
            negative_text=payload,
            problem=problem,
        )
        for kind in kinds
        for number, payload in enumerate(PAYLOADS)
        for problem in ("", payload)
    ]
    studio.start()
    return studio


def test_no_name_word_or_note_of_a_network_runs_as_code(browser, tmp_path):
    studio = hostile(tmp_path)
    with serving(studio, tmp_path) as address, browsing(browser) as context:
        page = context.new_page()
        page.goto(address)
        ready(page)
        browse(page)
        for card in page.locator(".network:has(.add)").all():
            card.locator(".add").click()
            for chip in card.locator(".chip").all():
                chip.click()
        page.keyboard.press("Escape")
        expect(page.locator("#entries-hypernetworks .entry")).to_have_count(len(PAYLOADS) + 1)
        page.fill(PROMPT, "".join(f"<lora:{payload}:1>" for payload in PAYLOADS))
        expect(page.locator("#prompt-tags")).not_to_be_empty()
        page.click("#generate")
        answered(page)
        assert page.evaluate("window.pwned") is None
    studio.close()


WORDS = ".entry-name b, .entry-name small, .entry-number span, .entry legend, .chip, .network p, .network h4"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_of_the_cards_stand_out_and_all_that_takes_focus_has_a_name(page, scheme):
    add(page, "LCM-LoRA", "Watercolour")
    entry(page).get_by_role("button", name="Details of LCM-LoRA").click()
    page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", scheme == "dark")
    still(page)
    assert page.evaluate(UNNAMED) == []
    browse(page)
    still(page)
    assert page.evaluate(CONTRAST.replace("WORDS", repr(f"{WORDS}, dialog .act"))) == []
    assert page.evaluate(UNNAMED) == []
