"""Cards of the stack: drawn from whatever the hidden text holds, and a line of words for the library."""

import json

import pytest

from studio.core.conditions import BlockWeights, HypernetworkInput, LoraInput
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.protocol import PromptNetworks
from studio.core.requests import GenerateRequest
from tests.fake_networks import NETWORKS
from tests.ui.test_components import EVIL, Tags
from ui.components.entries import bounds, drafts, entries_html, entry_words, record_of
from ui.components.networks import network_card, networks_html, tags_html, unfit
from ui.components.tiles import details_html
from ui.entry_list import with_entry
from ui.form import STACKED, stacked_text

SD1 = ModelInfo(id="a", name="Toytown", kind=ModelKind.CHECKPOINT, family=Family.SD1)
BY_ID = {model.id: model for model in NETWORKS}
BY_NAME = {model.name: model for model in NETWORKS}


def cards(text, path="loras", models=BY_ID):
    return [network_card(draft, models, SD1) for draft in drafts(path, text)]


def test_a_card_shows_what_its_entry_holds_and_the_defaults_of_the_rest():
    held = LoraInput(model="fake/plain", weight=0.7, blocks=BlockWeights(down=0.25), start=0.1)
    [draft] = drafts("loras", stacked_text(GenerateRequest(loras=(held,)), "loras"))
    shown = {
        name: draft.value(name)
        for name in ("weight", "text_encoder_weight", "blocks.down", "blocks.up", "start", "end", "enabled")
    }
    assert shown == {
        "weight": 0.7,
        "text_encoder_weight": None,
        "blocks.down": 0.25,
        "blocks.up": 1.0,
        "start": 0.1,
        "end": 1.0,
        "enabled": True,
    }
    [html] = cards(json.dumps([draft.held]))
    assert 'value="0.7"' in html
    assert 'data-scale="100" min="0" max="100" step="5" value="10"' in html


@pytest.mark.parametrize("text", [None, "", "no JSON", "7", '{"a": 1}', '["a", null, 3]', "[[]]"])
def test_nonsense_has_no_cards(text):
    assert drafts("loras", text) == ()


@pytest.mark.parametrize(
    "held",
    [
        {},
        {"model": 7},
        {"model": "gone", "weight": "heavy"},
        {"model": "fake/plain", "blocks": 3, "start": 0.9, "end": 0.1, "enabled": "no"},
        {"model": EVIL, "weight": EVIL, "blocks": {"down": EVIL}},
    ],
)
def test_a_wrong_entry_is_still_drawn_so_that_it_can_be_put_right_or_removed(held):
    for path in ("loras", "hypernetworks"):
        [html] = cards(json.dumps([held]), path)
        assert 'data-do="remove"' in html
        tags = Tags(html)
        assert (tags.scripts, tags.handlers) == (0, [])


def test_every_stacked_field_knows_its_record_and_the_bounds_of_its_weight():
    for path in STACKED:
        low, high = bounds(path, "weight")
        assert record_of(path).model_validate(_least(path, high))
        with pytest.raises(ValueError, match="weight"):
            record_of(path).model_validate(_least(path, high + 0.1))
        assert low < high


def _least(path, weight):
    pictures = {"controls": {"image": "a" * 64}, "image_prompts": {"images": ["a" * 64]}}
    return {"model": "m", "weight": weight, **pictures.get(path, {})}


def test_entries_are_appended_after_those_that_are_there():
    first = with_entry("[]", "loras", LoraInput(model="a", weight=0.5))
    both = with_entry(first, "loras", LoraInput(model="b", enabled=False))
    assert json.loads(both) == [{"model": "a", "weight": 0.5}, {"model": "b", "enabled": False}]
    assert json.loads(with_entry("nonsense", "hypernetworks", HypernetworkInput(model="c"))) == [
        {"model": "c"}
    ]


def test_what_does_not_fit_has_a_reason():
    assert unfit(BY_NAME["Plain"], SD1) == ""
    assert unfit(BY_NAME["Cut paper XL"], SD1) == "For SDXL, but Toytown is SD 1.x."
    assert unfit(BY_NAME["Torn"], SD1) == BY_NAME["Torn"].problem
    narrow = SD1.model_copy(update={"context_width": 128})
    assert unfit(BY_NAME["Plain"], narrow) == ""
    wide = BY_NAME["Plain"].model_copy(update={"context_width": 768})
    assert unfit(wide, narrow) == "For a model with other sizes than Toytown."
    assert "no longer here" in unfit(None, SD1)
    assert unfit(BY_NAME["Plain"], None) == ""


def test_an_entry_whose_name_would_break_a_tag_offers_none():
    for name, expected in (("fine", 1), ("a:b", 0), ("a>b", 0)):
        model = BY_NAME["Plain"].model_copy(update={"id": "x", "name": name})
        [html] = cards('[{"model": "x"}]', models={"x": model})
        assert html.count('data-do="tag"') == expected


def test_an_entry_that_shares_its_name_offers_no_tag_as_it_would_not_say_which_is_meant():
    twin = BY_NAME["Plain"].model_copy(update={"id": "twin", "name": "plain"})
    [html] = cards('[{"model": "fake/plain"}]', models={**BY_ID, "twin": twin})
    assert 'data-do="tag"' not in html


def test_the_view_escapes_everything_and_adds_only_what_fits():
    evil = [
        ModelInfo(
            id=EVIL,
            name=EVIL,
            kind=kind,
            family=Family.SD1,
            description=EVIL,
            notes=EVIL,
            author=EVIL,
            trigger_words=(EVIL, f"{EVIL}2"),
            negative_text=EVIL,
            problem=problem,
        )
        for kind in (ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.HYPERNETWORK)
        for problem in ("", EVIL)
    ]
    html = networks_html(evil, SD1)
    tags = Tags(html)
    assert (tags.scripts, tags.handlers) == (0, [])
    assert html.count('data-do="add"') == 2
    assert html.count('data-do="say" data-where="prompt"') == 1
    assert "No network here yet" in networks_html([], SD1)
    found = PromptNetworks(prompt="", loras=(LoraInput(model=EVIL),), problems=(EVIL,))
    for part in (
        tags_html(found, {}),
        entries_html("loras", cards(json.dumps([{"model": EVIL}])), label=EVIL),
    ):
        assert (Tags(part).scripts, Tags(part).handlers) == (0, [])


def test_a_prompt_without_tags_has_no_hint():
    assert tags_html(None, {}) == ""
    assert tags_html(PromptNetworks(prompt="a cat"), {}) == ""


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (LoraInput(model="m"), "Ink · 1"),
        (LoraInput(model="m", weight=-0.5, text_encoder_weight=0), "Ink · -0.5 · text encoder 0"),
        (
            LoraInput(model="m", blocks=BlockWeights(mid=0), start=0.25, enabled=False),
            "Ink · 1 · blocks 1 / 0 / 1 · steps 25 to 100 % · off",
        ),
        (HypernetworkInput(model="m", weight=0.3), "Ink · 0.3"),
    ],
)
def test_an_entry_reads_as_a_line(entry, words):
    assert entry_words(entry, "Ink") == words


def test_the_library_tells_the_stack_in_words(studio):
    request = GenerateRequest(
        width=64, height=64, seed=1, loras=(LoraInput(model="fake/plain", weight=0.5), LoraInput(model=EVIL))
    )
    html = details_html(studio.add_image(request), {"fake/plain": "Plain"})
    assert "<dt>LoRA 1</dt><dd>Plain · 0.5</dd>" in html
    assert "<dt>LoRA 2</dt>" in html
    assert "LoraInput" not in html
    assert "model=" not in html
    assert Tags(html).handlers == []
