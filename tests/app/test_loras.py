"""LoRAs in a whole studio: what they change, what they leave, and which sentence a bad one gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops

from studio.adapters.lora import lora_targets
from studio.app import generation
from studio.app.studio import LocalStudio, build_studio
from studio.core.conditions import LoraInput
from studio.core.errors import InvalidRequest, OutOfMemory, PromptError
from studio.core.events import Event, Failed, Finished, Log
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler
from studio.core.settings import Precision, Settings
from studio.models.catalogue import ModelCatalogue
from studio.models.components import components_of
from studio.models.modules import empty_module
from tests import tiny
from tests.adapters import loras

STEM = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"

CONTEXT = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.make_sd1(folder / "tiny", seed=1)
    tiny.make_sdxl(folder / "xl", seed=2)
    targets = targets_of(folder, "tiny")
    for number, name in enumerate(("first", "second")):
        pairs = loras.random_pairs(targets, seed=number, size=0.5)
        loras.write(folder / f"{name}.safetensors", loras.kohya(pairs))
    of_xl = loras.kohya(loras.random_pairs(targets_of(folder, "xl"), seed=3), sgm=True, family_two=True)
    loras.write(folder / "for-xl.safetensors", of_xl)
    return folder


def targets_of(folder: Path, name: str) -> dict[str, tuple[int, ...]]:
    catalogue = ModelCatalogue(Settings(data_dir=folder / ".data", models_dirs=(folder,)))
    parts = components_of(catalogue, catalogue.find(name)).components
    roles = ("unet", "text_encoder", "text_encoder_2")
    modules = {
        role: empty_module(parts[role].class_name, parts[role].config) for role in roles if role in parts
    }
    return loras.transformer_targets(lora_targets(modules))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder for the models of one test."""
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture
def studio(tmp_path: Path, folder: Path, own: Path) -> Iterator[LocalStudio]:
    studio = build_studio(
        Settings(
            data_dir=tmp_path / "data",
            models_dirs=(folder, own),
            device="cpu",
            precision=Precision.FP32,
        )
    )
    studio.start()
    yield studio
    studio.close()


def request_with(*entries: LoraInput, **changes: object) -> GenerateRequest:
    fields = {"model": "tiny", "prompt": "a red ball", "width": 64, "height": 64, "steps": 2, "seed": 5}
    return GenerateRequest(**(fields | {"sampler": Sampler.EULER, "loras": entries} | changes))


def run(studio: LocalStudio, request: GenerateRequest) -> list[Event]:
    return list(studio.events(studio.submit(request).id, timeout=60))


def picture(studio: LocalStudio, request: GenerateRequest) -> Image.Image:
    last = run(studio, request)[-1]
    assert isinstance(last, Finished), last
    return Image.open(studio.image_path(last.images[0])).convert("RGB")


def same(a: Image.Image, b: Image.Image) -> bool:
    return ImageChops.difference(a, b).getbbox() is None


def test_a_lora_changes_the_picture_and_leaves_no_trace(studio: LocalStudio):
    before = picture(studio, request_with())
    changed = picture(studio, request_with(LoraInput(model="first")))
    assert not same(changed, before)
    assert same(picture(studio, request_with()), before)
    assert same(picture(studio, request_with(LoraInput(model="first"))), changed)


def test_what_a_lora_takes_is_shown_and_goes_with_it(studio: LocalStudio):
    picture(studio, request_with())
    plain = {part.role: part.size_bytes for part in studio.status().components}
    picture(studio, request_with(LoraInput(model="first")))
    patched = {part.role: part.size_bytes for part in studio.status().components}
    assert patched["lora:first"] > 0
    assert patched["unet"] > plain["unet"]
    assert patched["text_encoder"] > plain["text_encoder"]
    picture(studio, request_with())
    after = {part.role: part.size_bytes for part in studio.status().components}
    assert after["unet"] == plain["unet"]
    studio.unload_models()
    assert studio.status().components == ()


@pytest.mark.parametrize("has_room", [True, False])
def test_what_was_on_before_is_kept_for_the_way_back_while_there_is_room(
    studio: LocalStudio, has_room: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("studio.models.manager.ModelManager._has_room", lambda *_: has_room)
    first, second = (request_with(LoraInput(model=name)) for name in ("first", "second"))
    pictures, sizes = [], []
    for request in (first, second, first, second):
        pictures.append(picture(studio, request))
        sizes.append({part.role: part.size_bytes for part in studio.status().components}["unet"])
    assert same(pictures[0], pictures[2])
    assert same(pictures[1], pictures[3])
    assert not same(pictures[0], pictures[1])
    assert (sizes[1] > sizes[0]) == has_room
    assert sizes[1:] == [sizes[1]] * 3


def test_tags_and_entries_name_the_same_lora(studio: LocalStudio):
    entry = picture(studio, request_with(LoraInput(model="first", weight=0.7)))
    tag = picture(studio, request_with(prompt="a red ball<lora:First:0.7>"))
    assert same(tag, entry)
    twice = request_with(LoraInput(model="first", weight=0.35), prompt="a red ball<lora:first:0.35>")
    difference = ImageChops.difference(picture(studio, twice), entry).getextrema()
    assert max(high for _, high in difference) <= 1, "an entry and a tag of half the weight add up"


def test_out_of_memory_midway_goes_on_with_the_loras_on(studio: LocalStudio, monkeypatch: pytest.MonkeyPatch):
    request = request_with(LoraInput(model="first"), LoraInput(model="second", weight=-0.5))
    whole, calls = picture(studio, request), []
    original = generation.generate

    def short_of_memory(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise OutOfMemory("no room")
        return original(*arguments, **named)

    monkeypatch.setattr(generation, "generate", short_of_memory)
    assert same(picture(studio, request), whole)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"loras": (LoraInput(model="nothing"),)}, "loras.0.model", "nothing"),
        ({"loras": (LoraInput(model="first"), LoraInput(model="tiny"))}, "loras.1.model", "LoRA is needed"),
        ({"loras": (LoraInput(model="for-xl"),)}, "loras.0.model", "made for SDXL, but tiny is SD 1.x"),
        ({"prompt": "a <lora:nothing:1>"}, "prompt", "no LoRA named 'nothing'"),
        ({"prompt": "a <lora:for-xl:1>"}, "prompt", "made for SDXL"),
        ({"prompt": "a <lora:first:11>"}, "prompt", "from -10 to 10"),
        ({"negative_prompt": "a <lora:first:1>"}, "negative_prompt", "negative prompt"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_submitted(
    studio: LocalStudio, changes: dict[str, object], field: str, words: str
):
    with pytest.raises(InvalidRequest, match=words) as refused:
        studio.submit(request_with(**changes))
    assert refused.value.field == field
    if field.endswith("prompt"):
        assert isinstance(refused.value, PromptError)
        assert refused.value.position == 2


def test_two_files_of_one_name_are_both_named(studio: LocalStudio, own: Path, folder: Path):
    (own / "first.safetensors").write_bytes((folder / "second.safetensors").read_bytes())
    studio.refresh_models()
    with pytest.raises(PromptError) as refused:
        studio.submit(request_with(prompt="a red ball <lora:first:1>"))
    assert str(own / "first.safetensors") in str(refused.value)
    assert str(folder / "first.safetensors") in str(refused.value)
    ids = [info.id for info in studio.models() if info.name == "first"]
    pictures = [picture(studio, request_with(LoraInput(model=model_id))) for model_id in ids]
    assert len(ids) == 2
    assert not same(*pictures)


def broken(**tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    whole = {"lora_up.weight": torch.ones(64, 4), "lora_down.weight": torch.ones(4, 64)}
    named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return {f"{STEM}.{name}": tensor for name, tensor in (whole | named).items()}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (broken(lora_up__weight=torch.full((64, 4), torch.nan)), f"up of its layer {STEM} is not a number"),
        (broken(lora_down__weight=torch.ones(4, 32)), "made for another model"),
        ({f"lora_unet_nowhere.{side}": torch.ones(4, 4) for side in ("lora_up.weight", "lora_down.weight")},
         "made for another model"),
    ],
)  # fmt: skip
def test_a_broken_file_is_a_sentence_before_the_first_step(
    studio: LocalStudio, own: Path, tensors: dict[str, torch.Tensor], words: str, monkeypatch
):
    loras.write(own / "bad.safetensors", tensors)
    studio.refresh_models()
    monkeypatch.setattr("studio.models.manager.ModelManager._place", refuse_the_device)
    last = run(studio, request_with(LoraInput(model="first"), LoraInput(model="bad")))[-1]
    assert isinstance(last, Failed)
    assert words in last.message
    assert "bad" in last.message
    assert last.field == "loras.1.model"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (broken(lora_down__weight=torch.ones(3, 64)), f"{STEM} of bad must have one rank, but have 3 and 4"),
        (broken(lora_up__weight=torch.ones(64)), "must be a matrix"),
        (broken(lora_up__weight=torch.ones(64, 4, 3, 3)), "has the shape 64 x 4 x 3 x 3"),
        (broken(alpha=torch.ones(2)), "must be one number"),
        ({f"{STEM}.lora_up.weight": torch.ones(64, 4)}, "lacks down"),
        (broken(oft_blocks=torch.ones(2, 2)), "no kind of LoRA"),
        (broken() | {f"{CONTEXT}.lora_up.weight": torch.ones(64, 4), f"{CONTEXT}.lora_down.weight":
                     torch.ones(4, 768)}, "embeddings 768 wide, but those of tiny are 32 wide"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("changes", [{"loras": (LoraInput(model="bad"),)}, {"prompt": "a <lora:bad:1>"}])
def test_what_a_header_tells_is_refused_when_it_is_submitted(
    studio: LocalStudio, own: Path, tensors: dict[str, torch.Tensor], words: str, changes: dict[str, object]
):
    loras.write(own / "bad.safetensors", tensors)
    studio.refresh_models()
    with pytest.raises(InvalidRequest, match=words) as refused:
        studio.submit(request_with(**changes))
    assert refused.value.field == ("loras.0.model" if "loras" in changes else "prompt")


def test_a_lora_that_overflows_is_named_and_leaves_nothing_behind(studio: LocalStudio, own: Path):
    before = picture(studio, request_with())
    huge = {"lora_up__weight": torch.full((64, 4), 1e30), "lora_down__weight": torch.full((4, 64), 1e30)}
    loras.write(own / "big.safetensors", broken(**huge))
    studio.refresh_models()
    last = run(studio, request_with(LoraInput(model="first"), LoraInput(model="big", weight=0.5)))[-1]
    assert isinstance(last, Failed)
    assert last.message.startswith("big at weight 0.5 makes the weights of mid_block")
    assert last.field == "loras.1.model"
    assert same(picture(studio, request_with()), before)


def refuse_the_device(*_: object, **__: object) -> None:
    raise AssertionError("the device was touched")


def test_a_file_deleted_while_queued_is_a_sentence(studio: LocalStudio, own: Path, folder: Path):
    copy = own / "gone.safetensors"
    copy.write_bytes((folder / "first.safetensors").read_bytes())
    studio.refresh_models()
    picture(studio, request_with(LoraInput(model="gone")))
    job = studio.submit(request_with(steps=20))
    late = studio.submit(request_with(LoraInput(model="gone")))
    copy.unlink()
    assert isinstance(list(studio.events(job.id, timeout=60))[-1], Finished)
    last = list(studio.events(late.id, timeout=60))[-1]
    assert isinstance(last, Failed)
    assert "gone" in last.message
    assert last.field == "loras.0.model"
    assert isinstance(run(studio, request_with())[-1], Finished)


def test_layers_without_a_place_are_told_in_the_log(studio: LocalStudio, own: Path, folder: Path):
    from safetensors.torch import load_file

    tensors = load_file(folder / "first.safetensors")
    stranger = "lora_te_text_model_encoder_layers_9_mlp_fc1"
    tensors |= {
        f"{stranger}.lora_up.weight": torch.ones(4, 4),
        f"{stranger}.lora_down.weight": torch.ones(4, 4),
    }
    loras.write(own / "deeper.safetensors", tensors)
    studio.refresh_models()
    events = run(studio, request_with(LoraInput(model="deeper")))
    assert isinstance(events[-1], Finished)
    assert any("1 layers of deeper" in event.message for event in events if isinstance(event, Log))
