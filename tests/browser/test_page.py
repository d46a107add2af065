"""What holds on every tab: escaping, small screens, keyboards, the wait for torch."""

import pytest
from playwright.sync_api import expect

from studio.core.models import ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from tests.browser.conftest import browsing, ready, serving
from tests.browser.waiting import still
from tests.fakes import MODELS, FakeStudio

pytestmark = pytest.mark.browser

PAYLOADS = (
    '<img src=x onerror="window.pwned=1">',
    "<script>window.pwned=1</script>",
    "${window.pwned=1}",
    "`${window.pwned=1}`",
    "{{#with this}}{{constructor.constructor('window.pwned=1')()}}{{/with}}",
    "\"' onmouseover='window.pwned=1' autofocus onfocus='window.pwned=1'",
    "</textarea><svg onload=window.pwned=1>",
    "[x](javascript:window.pwned=1)",
)

TABS = ("Generate", "Library", "Models")
ALL_TABS = ("Generate", "Inpaint", "Boxes", "Control", "Library", "Models")


def go(page, tab):
    page.get_by_role("tab", name=tab).click()
    still(page)


def hostile(folder):
    """A studio in which everything that has a name bears a payload."""
    studio = FakeStudio(folder, step_seconds=0.01)
    for number, payload in enumerate(PAYLOADS):
        info = {"name": payload, "description": payload, "licence": payload, "location": payload}
        usable = ModelInfo(id=f"p{number}", kind=ModelKind.CHECKPOINT, native_size=64, **info)
        studio.model_list += [usable, usable.model_copy(update={"id": f"b{number}", "problem": payload})]
        request = GenerateRequest(
            prompt=payload, negative_prompt=payload, width=64, height=64, seed=number, steps=2
        )
        studio.add_image(request.model_copy(update={"model": usable.id}))
    studio.start()
    return studio


def test_no_name_prompt_or_caption_runs_as_code(browser, tmp_path):
    studio = hostile(tmp_path)
    with serving(studio, tmp_path) as address, browsing(browser) as context:
        page = context.new_page()
        page.goto(address)
        ready(page)
        page.fill("#field-prompt textarea", " ".join(PAYLOADS))
        page.click("#generate")
        expect(page.locator("#stage .tile")).to_have_count(1)
        go(page, "Library")
        for card in page.locator(".card .open").all():
            card.click()
        expect(page.locator("#details .prompt")).to_have_text(PAYLOADS[0])
        page.locator("#details [data-action=restore]").click()
        expect(page.locator("#field-prompt textarea")).to_have_value(PAYLOADS[0])
        go(page, "Models")
        expect(page.locator(".model")).to_have_count(len(MODELS) + 2 * len(PAYLOADS))
        page.locator("#field-model input").click()
        expect(page.get_by_role("option").first).to_be_visible()
        still(page)
        assert page.evaluate("window.pwned") is None
    studio.close()


def test_the_page_is_up_while_torch_loads_and_takes_jobs(browser, tmp_path):
    studio = FakeStudio(tmp_path, ready=False, step_seconds=0.01)
    studio.start()
    with serving(studio, tmp_path) as address, browsing(browser) as context:
        page = context.new_page()
        page.goto(address)
        ready(page)
        expect(page.locator("#machine")).to_contain_text("Loading torch")
        page.click("#generate")
        expect(page.locator("#stage .doing")).to_contain_text("Waiting for the engine to load")
        studio.become_ready()
        expect(page.locator("#stage .tile")).to_have_count(1)
        expect(page.locator("#machine")).to_contain_text("A fake processor")
    studio.close()


def test_the_first_screen_holds_prompt_button_settings_and_picture(page):
    for selector in (
        "#field-prompt",
        "#generate",
        "#field-steps",
        "#field-sampler",
        "#field-seed",
        "#stage .canvas",
    ):
        box = page.locator(selector).bounding_box()
        assert box["y"] >= 0, selector
        assert box["y"] + box["height"] <= 900, selector


OUTSIDE = """() => [...document.querySelectorAll('main *')]
  .filter((e) => e.offsetParent && !e.closest('.strip, .sidebar, .tab-wrapper'))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.outerHTML.slice(0, 120))
  .concat(document.documentElement.scrollWidth > innerWidth ? ['the page itself'] : [])"""


def test_no_tab_scrolls_sideways(shared_page):
    for width in (1440, 1024, 768, 390):
        shared_page.set_viewport_size({"width": width, "height": 844})
        for tab in TABS:
            shared_page.get_by_role("tab", name=tab, exact=True).evaluate("(tab) => tab.click()")
            still(shared_page)
            assert shared_page.evaluate(OUTSIDE) == [], (tab, width)


@pytest.mark.parametrize("width", [360, 390])
def test_on_a_phone_every_tab_is_seen_and_large_enough_for_a_thumb(shared_page, width):
    shared_page.set_viewport_size({"width": width, "height": 844})
    still(shared_page)  # the room that the sidebar takes on a wide screen slides away
    tabs = shared_page.get_by_role("tab").all()
    assert [tab.inner_text() for tab in tabs] == list(ALL_TABS)
    for tab in tabs:
        box = tab.bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width, tab.inner_text()
        assert box["width"] >= 36, tab.inner_text()
        assert box["height"] >= 40, tab.inner_text()


@pytest.mark.parametrize("width", [390, 768])
def test_on_a_narrow_screen_the_stack_starts_closed(context, address, width):
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(address)
    ready(page)
    expect(page.locator(".sidebar.open")).to_have_count(0)
    page.click("#generate")
    expect(page.locator("#stage .tile").first).to_be_visible()
    page.close()


UNNAMED = """() => [...document.querySelectorAll('button, a[href], input, textarea, select, [role=button]')]
  .filter((e) => e.offsetParent !== null && e.tabIndex >= 0)
  .filter((e) => !(e.innerText?.trim() || e.getAttribute('aria-label') || e.title || e.labels?.length
    || document.getElementById(e.getAttribute('aria-labelledby'))))
  .map((e) => e.outerHTML.slice(0, 160))"""


def test_everything_that_takes_focus_has_a_name(shared_page):
    for tab in TABS:
        go(shared_page, tab)
        assert shared_page.evaluate(UNNAMED) == [], tab


def test_every_picture_has_a_text_or_is_marked_as_decoration(shared_page):
    go(shared_page, "Library")
    expect(shared_page.locator(".card").first).to_be_visible()
    assert shared_page.evaluate("[...document.images].filter((i) => !i.hasAttribute('alt')).length") == 0


def test_focus_can_be_seen_and_reaches_the_button_by_keyboard(shared_page):
    go(shared_page, "Generate")
    shared_page.focus("#field-prompt textarea")
    for _ in range(6):
        shared_page.keyboard.press("Tab")
        if shared_page.evaluate("document.activeElement.id") == "generate":
            break
    assert shared_page.evaluate("document.activeElement.id") == "generate"
    assert shared_page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


WORDS = "span[data-testid=block-info], .machine p, .tab-container button, .act, .shapes button, #generate"

CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (c) => c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== 'transparent') return rgb(colour);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(WORDS)]
    .filter((e) => e.offsetParent)
    .map((e) => {
      const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
      return [(a + .05) / (b + .05), e.innerText.slice(0, 30)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(shared_page, scheme):
    shared_page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", scheme == "dark")
    still(shared_page)
    assert shared_page.evaluate(CONTRAST.replace("WORDS", repr(WORDS))) == []


def test_the_choice_of_dark_survives_a_reload(page):
    was_dark = page.evaluate("document.body.classList.contains('dark')")
    page.click("[data-action=theme]")
    page.reload()
    ready(page)
    assert page.evaluate("document.body.classList.contains('dark')") is not was_dark


def test_a_reload_stays_on_its_tab_and_the_browser_leads_back_and_forth(page):
    on = page.locator("#tabs [role=tab][aria-selected=true]")
    go(page, "Boxes")
    go(page, "Library")
    page.reload()
    ready(page)
    expect(on).to_have_text("Library")
    expect(page.locator(".card").first).to_be_visible()
    page.go_back()
    expect(on).to_have_text("Boxes")
    page.go_back()
    expect(on).to_have_text("Generate")
    page.go_forward()
    expect(on).to_have_text("Boxes")


SMALL = """() => [...document.querySelectorAll('main :is(button, a.act, summary, select, textarea, input)')]
  .filter((e) => e.checkVisibility({opacityProperty: true}) && !e.disabled && !e.closest('.card'))
  .map((e) => [e, [e, e.closest('label, .wrap-inner') || e].map((one) => one.getBoundingClientRect().height)])
  .filter(([, heights]) => heights[0] && Math.max(...heights) < 39.5)
  .map(([e, heights]) => `${Math.max(...heights)} px: ${e.outerHTML.slice(0, 90)}`)"""


def test_on_a_phone_everything_is_high_enough_for_a_finger(shared_page):
    shared_page.set_viewport_size({"width": 390, "height": 844})
    for tab in ALL_TABS:
        shared_page.get_by_role("tab", name=tab, exact=True).evaluate("(tab) => tab.click()")
        still(shared_page)
        assert shared_page.evaluate(SMALL) == [], tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_of_an_empty_field_can_be_read(shared_page, scheme):
    shared_page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", scheme == "dark")
    still(shared_page)
    told = CONTRAST.replace("getComputedStyle(e).color", "getComputedStyle(e, '::placeholder').color")
    assert shared_page.evaluate(told.replace("WORDS", "'textarea[placeholder], input[placeholder]'")) == []
