"""Boxes through the whole studio: with everything that stacks, and what is refused before anything runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from studio.app.studio import LocalStudio, build_studio
from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import ControlInput, ImagePrompt, LoraInput
from studio.core.errors import InvalidRequest
from studio.core.events import Failed, Log
from studio.core.geometry import Box, Extent, ResizeMode
from studio.core.inpaint import Inpaint, InpaintArea
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest, HiresPass, SourceImage
from studio.core.samplers import Sampler
from studio.core.settings import Settings
from studio.diffusion.boxes import framed_box
from tests import tiny
from tests.adapters.networks import write_embedding
from tests.app.stack_studio import png, stack_studio
from tests.app.test_studio import pictures
from tests.tiny_gligen import gated_unet, graft_tensors

SIZE = (64, 64)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStudio]:
    with stack_studio(tmp_path_factory.mktemp("boxes")) as studio:
        yield studio


@pytest.fixture(scope="module")
def learned(studio: LocalStudio, tmp_path_factory: pytest.TempPathFactory):
    """Writes the learned word `glow`; the same `seed` gives the same vectors."""
    folder = tmp_path_factory.mktemp("words")
    studio.add_models_dir(folder)

    def write(seed: int, scale: float = 1) -> None:
        torch.manual_seed(seed)
        write_embedding(folder / "embeddings" / "glow.pt", torch.randn(2, 32) * scale)
        studio.refresh_models()

    return write


@pytest.fixture(scope="module")
def photo(studio: LocalStudio) -> str:
    noise = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    return studio.put_blob(png(Image.fromarray(noise)))


@pytest.fixture(scope="module")
def mask(studio: LocalStudio) -> str:
    mask = Image.new("L", SIZE, 0)
    mask.paste(255, (16, 16, 48, 48))
    return studio.put_blob(png(mask))


def layout(*phrases: str, **fields: Any) -> Boxes:
    told = phrases or ("a red ball", "a blue house")
    boxes = [BoxInput(box=Box(x0=0.1, y0=0.2, x1=0.5 + i / 10, y1=0.7), phrase=p) for i, p in enumerate(told)]
    return Boxes(boxes=tuple(boxes), **{"share": 0.6, **fields})


def request_of(**fields: Any) -> GenerateRequest:
    common = {"model": "tiny", "prompt": "a house", "width": 64, "height": 64, "steps": 5, "seed": 5}
    return GenerateRequest(**{**common, "sampler": Sampler.EULER, **fields})


def differs(studio: LocalStudio, a: GenerateRequest, b: GenerateRequest) -> bool:
    (one,), (other,) = pictures(studio, a), pictures(studio, b)
    return bool((np.asarray(one) != np.asarray(other)).any())


@pytest.mark.parametrize("model", ["", "text", "whole", "pictures"])
def test_every_kind_of_model_makes_boxes_matter(studio: LocalStudio, model: str) -> None:
    assert differs(studio, request_of(boxes=layout(model=model)), request_of())


def test_boxes_that_are_off_or_weigh_nothing_change_nothing(studio: LocalStudio) -> None:
    for fields in ({"enabled": False}, {"strength": 0.0}, {"share": 0.0}):
        assert not differs(studio, request_of(boxes=layout(**fields)), request_of())


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 3},
        {"steps": 3, "sampler": Sampler.LCM},
        {"steps": 3, "sampler": Sampler.HEUN},
        {"source": 0.3},
        {"steps": 3, "hires": HiresPass(scale=1.5, strength=0.4)},
    ],
    ids=str,
)
def test_at_the_usual_share_boxes_matter_however_few_the_steps(
    studio: LocalStudio, photo: str, fields: dict
) -> None:
    if strength := fields.get("source"):
        fields = {**fields, "source": SourceImage(image=photo, strength=strength)}
    boxes = layout().model_copy(update={"share": Boxes.model_fields["share"].default})
    assert differs(studio, request_of(boxes=boxes, **fields), request_of(**fields))


@pytest.mark.parametrize(
    ("x1", "says"),
    [
        (0.3, "Box 2 (a cat) has no effect: the part of the photo that is used does not show it."),
        (0.35, "Box 2 (a cat) has no effect: less than 8 px of its width or height are in the picture."),
        (0.4, ""),
    ],
)
def test_a_box_that_the_frame_does_not_show_is_told(studio: LocalStudio, x1: float, says: str) -> None:
    """The middle third of a wide photo is used."""
    noise = np.random.default_rng(2).integers(0, 256, (64, 192, 3), dtype=np.uint8)
    source = SourceImage(image=studio.put_blob(png(Image.fromarray(noise))), strength=0.8)
    shown = BoxInput(box=Box(x0=0.4, y0=0.1, x1=0.6, y1=0.9), phrase="a red ball")
    other = BoxInput(box=Box(x0=0, y0=0, x1=x1, y1=1), phrase="a cat")
    both, one = (request_of(source=source, boxes=Boxes(boxes=b)) for b in ((shown, other), (shown,)))
    job = studio.submit(both)
    told = [event.message for event in studio.events(job.id, timeout=60) if isinstance(event, Log)]
    assert len(told) == bool(says)
    assert all(note.startswith(says) for note in told)
    assert differs(studio, both, one) is not bool(says)


def test_where_no_box_is_shown_nothing_is_borrowed_for_them(studio: LocalStudio) -> None:
    studio.unload_models()
    tiny_box = BoxInput(box=Box(x0=0.5, y0=0, x1=0.51, y1=1), phrase="a line")
    boxed = request_of(boxes=Boxes(boxes=(tiny_box,)))
    assert not differs(studio, boxed, request_of())
    assert not [part.role for part in studio.status().components if part.role.startswith("gligen")]


def test_what_is_off_at_every_step_that_is_run_is_told(studio: LocalStudio, photo: str) -> None:
    request = request_of(
        loras=(LoraInput(model="lora", end=0.1),),
        controls=(
            ControlInput(model="net", image=photo, end=0.1),
            ControlInput(model="features", image=photo),
        ),
        image_prompts=(ImagePrompt(model="look", images=(photo,), start=0.9),),
    )
    events = studio.events(studio.submit(request).id, timeout=60)
    told = [event.message.split(" of the ")[0] for event in events if isinstance(event, Log)]
    assert told == [f"{name} has no effect: none" for name in ("lora", "net", "look")]


@pytest.mark.parametrize("model", ["", "whole"])
def test_the_infotext_names_the_model_that_knew_the_boxes(studio: LocalStudio, model: str) -> None:
    pictures(studio, request_of(boxes=layout(model=model)))
    image = studio.images().images[0]
    settings = studio.read_settings(studio.image_path(image.id).read_bytes())
    assert (settings.request, settings.warnings) == (image.request, ())
    assert json.loads(settings.parameters["GLIGEN"])["model"] == (model or "text")


def test_the_model_is_as_it_was_after_boxes(studio: LocalStudio) -> None:
    (before,) = pictures(studio, request_of(seed=9))
    pictures(studio, request_of(boxes=layout()))
    (after,) = pictures(studio, request_of(seed=9))
    assert np.array_equal(np.asarray(before), np.asarray(after))


def test_one_unet_is_held_for_both(studio: LocalStudio) -> None:
    pictures(studio, request_of(boxes=layout(model="whole")))
    roles = [component.role for component in studio.status().components]
    assert roles.count("unet") == len({c.model for c in studio.status().components if c.role == "unet"})
    assert "gligen:whole" in roles or "gligen:text" in roles


def test_a_picture_in_a_box_is_seen(studio: LocalStudio, photo: str, mask: str) -> None:
    def of(image: str) -> GenerateRequest:
        box = BoxInput(box=Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9), image=image)
        return request_of(boxes=Boxes(boxes=(box,), share=1.0))

    assert differs(studio, of(photo), of(mask))


def test_two_phrases_are_told_apart_and_so_are_two_places(studio: LocalStudio) -> None:
    assert differs(studio, request_of(boxes=layout("red")), request_of(boxes=layout("blue")))
    moved = BoxInput(box=Box(x0=0.6, y0=0.6, x1=1, y1=1), phrase="red")
    assert differs(
        studio, request_of(boxes=layout("red")), request_of(boxes=Boxes(boxes=(moved,), share=0.6))
    )


def test_a_learned_word_means_in_a_phrase_what_it_means_in_a_prompt(studio: LocalStudio, learned) -> None:
    request = request_of(boxes=layout("a GLOW ball"))
    learned(1)
    (first,) = pictures(studio, request)
    file = studio.image_path(studio.images().images[0].id)
    learned(2)
    (second,) = pictures(studio, request)
    learned(1)
    (again,) = pictures(studio, request)
    assert not np.array_equal(np.asarray(first), np.asarray(second))
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert re.search('TI hashes: "glow: [0-9a-f]+', Image.open(file).info["parameters"])


def test_a_learned_word_without_effect_is_not_read(studio: LocalStudio, learned) -> None:
    learned(3, torch.nan)
    pictures(studio, request_of(boxes=layout("a glow ball", strength=0.0)))
    *_, last = studio.events(studio.submit(request_of(boxes=layout("red", "a glow ball"))).id, timeout=60)
    assert isinstance(last, Failed)
    assert "NaN" in last.message
    assert last.field == "boxes.boxes.1.phrase"


@pytest.mark.parametrize(
    "sampler", [Sampler.DPMPP_2M, Sampler.EULER_A, Sampler.HEUN, Sampler.PLMS, Sampler.UNIPC]
)
def test_with_every_sort_of_sampler(studio: LocalStudio, sampler: Sampler) -> None:
    assert differs(studio, request_of(sampler=sampler, boxes=layout()), request_of(sampler=sampler))


STACK = ("lora", "controlnet", "t2i", "ip", "img2img", "inpaint", "nine", "hires", "all")


@pytest.fixture
def stacked(studio: LocalStudio, photo: str, mask: str):
    """Fields of a request by the name of what stacks."""
    source = {"source": SourceImage(image=photo, strength=0.8)}
    painted = source | {"inpaint": Inpaint(mask=mask, blur=0, area=InpaintArea.MASKED, padding=8)}
    net, features = (ControlInput(model=name, image=photo) for name in ("net", "features"))
    look = {"image_prompts": (ImagePrompt(model="look", images=(photo,)),)}
    fields: dict[str, dict[str, Any]] = {
        "lora": {"loras": (LoraInput(model="lora", weight=0.7),)},
        "controlnet": {"controls": (net,)},
        "t2i": {"controls": (features,)},
        "ip": look,
        "img2img": source,
        "inpaint": painted,
        "nine": painted | {"model": "nine"},
        "hires": {"hires": HiresPass(scale=1.5, strength=0.8)},
    }
    return fields | {"all": painted | look | fields["lora"] | {"model": "nine", "controls": (net, features)}}


@pytest.mark.parametrize("what", STACK)
def test_boxes_stack_with(studio: LocalStudio, stacked, what: str) -> None:
    fields = stacked[what]
    boxed = fields | {"boxes": layout(share=1.0)}
    assert differs(studio, request_of(**boxed), request_of(**fields))
    without = fields | {"boxes": layout(strength=0.0)}
    assert not differs(studio, request_of(**without), request_of(**fields))


def test_a_lora_changes_what_phrases_mean_and_leaves_no_trace(studio: LocalStudio, stacked) -> None:
    boxed = request_of(boxes=layout(), seed=77)
    (before,) = pictures(studio, boxed)
    (patched,) = pictures(studio, boxed.model_copy(update=stacked["lora"]))
    (after,) = pictures(studio, boxed)
    assert not np.array_equal(np.asarray(before), np.asarray(patched))
    assert np.array_equal(np.asarray(before), np.asarray(after))


def test_a_batch_has_the_pictures_of_its_seeds(studio: LocalStudio) -> None:
    both = pictures(studio, request_of(boxes=layout(), batch_size=2))
    for i, picture in enumerate(both):
        (alone,) = pictures(studio, request_of(boxes=layout(), seed=5 + i))
        assert np.abs(np.asarray(alone, int) - np.asarray(picture, int)).max() <= 1


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"model": "two"}, "boxes", "work with checkpoints of SD 1.x.*two is SD 2.x"),
        ({"boxes": layout(model="nobody")}, "boxes.model", "nobody"),
        ({"boxes": layout(model="net")}, "boxes.model", "need a GLIGEN model, but net is a ControlNet"),
        ({"boxes": layout("red", " ")}, "boxes.boxes.1.phrase", "Box 2 does not say"),
    ],
)
def test_faults_are_told_at_their_field(studio: LocalStudio, fields: dict, field: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        studio.submit(request_of(**{"boxes": layout(), **fields}))
    assert refused.value.field == field


def test_a_checkpoint_that_can_is_named(studio: LocalStudio) -> None:
    with pytest.raises(InvalidRequest) as refused:
        studio.submit(request_of(model="two", boxes=layout()))
    assert "Choose nine, tiny or toytown" in str(refused.value)


def test_pictures_need_a_model_that_reads_them(studio: LocalStudio, photo: str) -> None:
    box = BoxInput(box=Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9), image=photo)
    with pytest.raises(InvalidRequest, match="knows boxes by phrases alone") as refused:
        studio.submit(request_of(boxes=Boxes(boxes=(box,), model="text")))
    assert refused.value.field == "boxes.boxes.0.image"


def test_a_picture_that_is_not_stored_is_told(studio: LocalStudio) -> None:
    box = BoxInput(box=Box(x0=0.1, y0=0.1, x1=0.9, y1=0.9), image="0" * 64)
    with pytest.raises(InvalidRequest) as refused:
        studio.submit(request_of(boxes=Boxes(boxes=(box,))))
    assert refused.value.field == "boxes.boxes.0.image"


def test_where_none_fits_one_is_offered(tmp_path) -> None:
    """A model for text of another width, as Toytown's is, does not fit."""
    base = tiny.make_sd1(tmp_path / "models" / "tiny", seed=1)
    tensors = graft_tensors(gated_unet(base))
    wider = {
        name: torch.zeros(len(tensor), 48) if name.endswith("fuser.linear.weight") else tensor
        for name, tensor in tensors.items()
    }
    save_file(wider, tmp_path / "models" / "other.safetensors")
    studio = build_studio(
        Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path / "models",), device="cpu")
    )
    try:
        assert "other" in [info.id for info in studio.models(ModelKind.GLIGEN)]
        for model, sentence in (("", "Install one"), ("other", "reads text of 48 channels")):
            with pytest.raises(InvalidRequest, match=sentence) as refused:
                studio.submit(request_of(boxes=layout(model=model)))
            assert refused.value.field == "boxes.model"
    finally:
        studio.close()


def test_boxes_follow_the_photo_into_the_frame() -> None:
    photo, frame = Extent(width=200, height=100), Extent(width=64, height=64)
    box = Box(x0=0.25, y0=0, x1=0.5, y1=0.5)
    assert framed_box(box, photo, frame, ResizeMode.STRETCH) == box
    cropped = framed_box(box, photo, frame, ResizeMode.CROP)  # the middle half is shown
    assert cropped == Box(x0=0, y0=0, x1=0.5, y1=0.5)
    padded = framed_box(box, photo, frame, ResizeMode.PAD)
    assert padded == Box(x0=0.25, y0=0.25, x1=0.5, y1=0.5)
    region = framed_box(box, photo, frame, ResizeMode.CROP, (25, 0, 75, 50))
    assert region == Box(x0=0.5, y0=0, x1=1, y1=1)
    assert framed_box(box, photo, frame, ResizeMode.CROP, (100, 0, 200, 100)) is None
