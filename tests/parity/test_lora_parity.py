"""LoRAs: our final latents against diffusers' `load_lora_weights` and `set_adapters`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from studio.adapters.lora import lora_targets
from studio.core.conditions import BlockWeights, LoraInput
from studio.core.models import Family
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler
from tests import tiny
from tests.adapters import loras
from tests.parity.equality import Record, assert_equal
from tests.parity.lora_sides import WholeStudio, theirs
from tests.parity.sides import SEED, Sides

FAMILIES = {"sd1": Family.SD1, "sd2": Family.SD2, "sdxl": Family.SDXL}
MAKERS = {"sd1": tiny.make_sd1, "sd2": tiny.make_sd2, "sdxl": tiny.make_sdxl}
ROLES = ("unet", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def sides(folder: Path) -> dict[str, Sides]:
    sides = {name: Sides(make(folder / name), FAMILIES[name]) for name, make in MAKERS.items()}
    for name, side in sides.items():
        write_loras(folder, name, side)
    return sides


def write_loras(folder: Path, name: str, side: Sides) -> None:
    pipeline = side.text_to_image
    modules = {role: getattr(pipeline, role) for role in ROLES if getattr(pipeline, role, None)}
    targets = loras.transformer_targets(lora_targets(modules))
    xl = name == "sdxl"
    first, second = (loras.random_pairs(targets, seed=seed, size=0.2) for seed in (1, 2))
    in_kohya = loras.kohya(first, sgm=xl, family_two=xl)
    loras.write(folder / f"{name}-kohya.safetensors", in_kohya)
    loras.write(folder / f"{name}-peft.safetensors", loras.peft(second))


@pytest.fixture(scope="module")
def ours(folder: Path, sides: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStudio]:
    with pytest.MonkeyPatch.context() as patch:
        whole = WholeStudio(folder, tmp_path_factory.mktemp("data"), patch)
        yield whole
        whole.studio.close()


def request_for(model: str, *entries: LoraInput, **changes: object) -> GenerateRequest:
    fields = {
        "model": model,
        "prompt": "a red ball and a blue house",
        "negative_prompt": "grass",
        "width": 64,
        "height": 64,
        "steps": 5,
        "seed": SEED,
        "sampler": Sampler.DDIM,
        "loras": entries,
    }
    return GenerateRequest(**(fields | changes))


@pytest.mark.parametrize("layout", ["kohya", "peft"])
@pytest.mark.parametrize("model", MAKERS)
def test_one_lora(
    model: str, layout: str, ours: WholeStudio, sides: dict[str, Sides], folder: Path, record: Record
):
    name = f"{model}-{layout}"
    request = request_for(model, LoraInput(model=name, weight=0.8))
    reference = theirs(sides[model], request, {folder / f"{name}.safetensors": 0.8})
    assert_equal(ours.latents(request), reference, record, without=sides[model].theirs(request))


@pytest.mark.parametrize("model", MAKERS)
def test_two_loras_one_of_them_negative(
    model: str, ours: WholeStudio, sides: dict[str, Sides], folder: Path, record: Record
):
    files = {folder / f"{model}-kohya.safetensors": 0.7, folder / f"{model}-peft.safetensors": -0.5}
    entries = [LoraInput(model=file.stem, weight=weight) for file, weight in files.items()]
    request = request_for(model, *entries)
    reference = theirs(sides[model], request, files)
    assert_equal(ours.latents(request), reference, record, without=sides[model].theirs(request))


@pytest.mark.parametrize("model", MAKERS)
def test_a_weight_of_its_own_for_the_text_encoders(
    model: str, ours: WholeStudio, sides: dict[str, Sides], folder: Path, record: Record
):
    name = f"{model}-kohya"
    request = request_for(model, LoraInput(model=name, weight=0.9, text_encoder_weight=0.3))
    weights = {"unet": 0.9, "text_encoder": 0.3}
    if model == "sdxl":
        weights["text_encoder_2"] = 0.3
    reference = theirs(sides[model], request, {folder / f"{name}.safetensors": weights})
    assert_equal(ours.latents(request), reference, record)
    both = theirs(sides[model], request, {folder / f"{name}.safetensors": 0.9})
    assert (both - reference).abs().max() > 0.01


def test_weights_by_block(ours: WholeStudio, sides: dict[str, Sides], folder: Path, record: Record):
    blocks = BlockWeights(down=0.5, mid=0, up=1)
    request = request_for("sd1", LoraInput(model="sd1-kohya", text_encoder_weight=0, blocks=blocks))
    weights = {"unet": {"down": 0.5, "mid": 0.0, "up": 1.0}, "text_encoder": 0.0}
    reference = theirs(sides["sd1"], request, {folder / "sd1-kohya.safetensors": weights})
    assert_equal(ours.latents(request), reference, record)


def test_a_tag_in_the_prompt_is_an_entry(ours: WholeStudio):
    entry = request_for("sd1", LoraInput(model="sd1-kohya", weight=0.8, text_encoder_weight=0.3))
    tag = request_for("sd1", prompt=f"{entry.prompt}<lora:sd1-kohya:0.3:0.8>")
    assert torch.equal(ours.latents(tag), ours.latents(entry))


def test_a_lora_that_is_switched_off_changes_nothing(ours: WholeStudio, sides: dict[str, Sides]):
    plain = ours.latents(request_for("sd1"))
    off = request_for("sd1", LoraInput(model="sd1-kohya", enabled=False))
    assert torch.equal(ours.latents(off), plain)


def test_the_same_request_has_the_same_bits_whatever_was_on_before(ours: WholeStudio):
    kohya, peft = LoraInput(model="sd1-kohya", weight=0.8), LoraInput(model="sd1-peft", weight=-0.4)
    plain, both = request_for("sd1"), request_for("sd1", kohya, peft)
    first, with_both = ours.latents(plain), ours.latents(both)
    ours.latents(request_for("sd1", peft.model_copy(update={"weight": 2.0})))
    assert torch.equal(ours.latents(request_for("sd1", peft, kohya)), with_both)
    assert torch.equal(ours.latents(plain), first)
    assert not torch.equal(first, with_both)


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.0), (0.0, 0.5), (1 / 3, 2 / 3)])
def test_the_range_of_steps_switches_unet_and_text_alike(
    start: float, end: float, ours: WholeStudio, sides: dict[str, Sides], folder: Path, record: Record
):
    """The reference switches diffusers' adapters, and its embeddings, between steps."""
    steps, pipeline = 6, sides["sd1"].text_to_image
    request = request_for("sd1", LoraInput(model="sd1-kohya", start=start, end=end), steps=steps)

    def switch(step: int) -> dict[str, torch.Tensor]:
        is_on = start <= step / steps and (step + 1) / steps <= end
        pipeline.set_adapters(["lora"], [float(is_on)])
        positive, negative = pipeline.encode_prompt(
            request.prompt, "cpu", 1, True, negative_prompt=request.negative_prompt
        )
        return {"prompt_embeds": torch.cat([negative, positive])}

    pipeline.load_lora_weights(str(folder), weight_name="sd1-kohya.safetensors", adapter_name="lora")
    switch(0)
    try:
        reference = sides["sd1"].theirs(
            request,
            callback_on_step_end=lambda _, step, timestep, tensors: switch(step + 1),
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
        )
    finally:
        pipeline.unload_lora_weights()
    assert_equal(ours.latents(request), reference, record, without=sides["sd1"].theirs(request))
    throughout = ours.latents(request_for("sd1", LoraInput(model="sd1-kohya"), steps=steps))
    assert (throughout - reference).abs().max() > 0.05
