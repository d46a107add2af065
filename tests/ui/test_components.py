"""Own components are plain functions to HTML, and nothing a person wrote gets through them alive."""

from datetime import datetime, timezone
from html.parser import HTMLParser

import pytest

from studio.core.library import ImageQuery
from studio.core.models import CatalogueRow, Family, ModelInfo, ModelKind, StudioStatus
from studio.core.requests import GenerateRequest, InstallRequest
from ui.components.cards import catalogue_html, models_html
from ui.components.machine import machine_html
from ui.components.notice import notice_html
from ui.components.tiles import details_html, wall_change, wall_removal, wall_tiles
from ui.sizes import SHAPES, extent_for, nearest_extent
from ui.words import size_words, time_words

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>"


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, html):
        super().__init__()
        self.scripts = 0
        self.handlers = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def evil_image(studio):
    request = GenerateRequest(prompt=EVIL, negative_prompt=EVIL, width=64, height=64, seed=1)
    return studio.add_image(request).model_copy(update={"model": EVIL, "infotext": EVIL})


def evil_model(**values):
    return ModelInfo(id=EVIL, name=EVIL, kind=ModelKind.CHECKPOINT, licence=EVIL, description=EVIL, **values)


def pages(studio):
    image = evil_image(studio)
    row = CatalogueRow(
        id=EVIL,
        name=EVIL,
        kind=ModelKind.VAE,
        family=Family.SD1,
        install=InstallRequest(repo="a/b", file=EVIL),
        licence=EVIL,
        description=EVIL,
    )
    yield wall_tiles([image], 1, 0, ImageQuery())["tiles"][0][1]
    yield wall_change(image)["changed"][1]
    yield details_html(image)
    yield models_html([evil_model(), evil_model(problem=EVIL)], active=EVIL)
    yield catalogue_html([row], {})
    yield machine_html(StudioStatus(ready=True, message=EVIL, device_name=EVIL, notes=(EVIL,)))
    yield notice_html(EVIL, [EVIL])


def test_payloads_stay_text_in_every_component(studio):
    rendered = list(pages(studio))
    assert len(rendered) == 7
    for html in rendered:
        tags = Tags(html)
        assert tags.scripts == 0
        assert tags.handlers == []
        assert "&lt;img" in html


def test_empty_states_explain_what_to_do():
    assert "Every picture you make" in wall_tiles([], 0, 0, ImageQuery())["empty"]
    assert "No picture matches" in wall_tiles([], 0, 0, ImageQuery(text="cat"))["empty"]
    assert "Every picture you make" in wall_removal(["last"], 0, ImageQuery())["empty"]
    assert wall_removal(["one"], 1, ImageQuery())["empty"] == ""
    assert "Add a folder" in models_html([], "")


def test_details_name_every_setting(studio):
    image = studio.add_image(GenerateRequest(prompt="a", width=64, height=64, seed=3, clip_skip=2))
    html = details_html(image)
    for words in (
        "Sampler",
        "Schedule",
        "Guidance scale",
        "Clip skip",
        "Seed",
        "Batch size",
        "Output format",
    ):
        assert f"<dt>{words}</dt>" in html


def test_only_usable_checkpoints_offer_to_be_used():
    html = models_html([evil_model(), ModelInfo(id="v", name="v", kind=ModelKind.VAE)], active="")
    assert html.count('data-action="activate"') == 1
    assert "activate" not in models_html([evil_model(problem="broken")], active="")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (4320, "1 h 12 min"), (-3, "0 s")],
)
def test_durations_read_naturally(seconds, words):
    assert time_words(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"), [(512, "512 bytes"), (10_000_000, "10.0 MB"), (4_300_000_000, "4.3 GB")]
)
def test_sizes_read_naturally(size, words):
    assert size_words(size) == words


@pytest.mark.parametrize("native", [64, 128, 512, 768, 1024])
def test_shapes_keep_the_number_of_pixels_and_fit_the_model(native):
    for ratio in SHAPES.values():
        extent = extent_for(native, ratio)
        GenerateRequest(width=extent.width, height=extent.height)
        assert 0.7 < extent.pixels / native**2 < 1.5


def test_another_model_keeps_the_shape():
    assert str(nearest_extent(1024, 168, 96)) == str(extent_for(1024, 16 / 9))


def test_moments_are_told_in_local_time(studio):
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)
    image = studio.add_image(GenerateRequest(width=64, height=64, seed=1), created=moment)
    assert f"{moment.astimezone():%d %b %Y, %H:%M}" in details_html(image)
