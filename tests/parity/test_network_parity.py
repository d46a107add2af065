"""Textual inversions against diffusers' own loader; hypernetworks against attention written out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from studio.core.conditions import HypernetworkInput
from studio.core.models import Family
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler
from tests import tiny
from tests.adapters.networks import (
    Nets,
    ReferenceAttention,
    make_nets,
    write_embedding,
    write_hypernetwork,
)
from tests.parity.equality import Record, assert_equal
from tests.parity.lora_sides import WholeStudio
from tests.parity.sides import SEED, Sides

FAMILIES = {"sd1": Family.SD1, "sd2": Family.SD2, "sdxl": Family.SDXL}
MAKERS = {"sd1": tiny.make_sd1, "sd2": tiny.make_sd2, "sdxl": tiny.make_sdxl}
TEXT_WIDTHS = {"sd1": (32,), "sd2": (64,), "sdxl": (32, 64)}
COUNTS = {"one": 1, "many": 5}
"""Vectors of the embeddings, which are named sd1-one, sd1-many, ..."""

REQUEST = GenerateRequest(
    prompt="a red ball on grass",
    negative_prompt="house",
    width=64,
    height=80,
    steps=6,
    seed=SEED,
    sampler=Sampler.DDIM,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def sides(folder: Path) -> dict[str, Sides]:
    return {name: Sides(make(folder / name), FAMILIES[name]) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def vectors(folder: Path) -> dict[str, tuple[torch.Tensor, ...]]:
    """Written as .pt for one encoder, as a pair for two; by name."""
    generator = torch.Generator().manual_seed(1)
    made = {}
    for model, widths in TEXT_WIDTHS.items():
        for amount, count in COUNTS.items():
            tensors = tuple(torch.randn(count, width, generator=generator) * 0.1 for width in widths)
            form, suffix = ("sdxl", "safetensors") if len(widths) == 2 else ("a1111", "pt")
            file = folder / "embeddings" / f"{model}-{amount}.{suffix}"
            write_embedding(file, *tensors, form=form)
            made[file.stem] = tensors
    return made


@pytest.fixture(scope="module")
def nets(folder: Path) -> dict[str, Nets]:
    """Hypernetworks by name, each with networks for both widths of the tiny models."""
    made = {}
    for i, (name, activation) in enumerate({"relu": nn.ReLU, "swish": nn.Hardswish}.items()):
        structure = (1, 2, 1.5, 1)
        built = make_nets((32, 64), structure=structure, activation=activation, norm=True, seed=i)
        write_hypernetwork(
            folder / "hypernetworks" / f"{name}.pt",
            built,
            layer_structure=list(structure),
            activation_func=name,
            is_layer_norm=True,
            activate_output=False,
        )
        made[name] = built
    return made


@pytest.fixture(scope="module")
def ours(
    folder: Path, sides: object, vectors: object, nets: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WholeStudio]:
    with pytest.MonkeyPatch.context() as patch:
        whole = WholeStudio(folder, tmp_path_factory.mktemp("data"), patch)
        yield whole
        whole.studio.close()


def request_for(model: str, **changes: Any) -> GenerateRequest:
    return REQUEST.model_copy(update={"model": model, **changes})


@contextmanager
def loaded(side: Sides, **embeddings: tuple[torch.Tensor, ...]) -> Iterator[None]:
    """diffusers' pipeline with embeddings under tokens such as `<one>`."""
    pipeline = side.text_to_image
    suffixes = ("", "_2") if side.family is Family.SDXL else ("",)
    parts = [(getattr(pipeline, f"tokenizer{s}"), getattr(pipeline, f"text_encoder{s}")) for s in suffixes]
    try:
        for name, tensors in embeddings.items():
            for tensor, (tokenizer, encoder) in zip(tensors, parts, strict=True):
                pipeline.load_textual_inversion(
                    {f"<{name}>": tensor}, token=f"<{name}>", tokenizer=tokenizer, text_encoder=encoder
                )
        yield
    finally:
        for tokenizer, encoder in parts:
            pipeline.unload_textual_inversion(tokenizer=tokenizer, text_encoder=encoder)


@pytest.mark.parametrize("amount", COUNTS)
@pytest.mark.parametrize("model", MAKERS)
def test_an_embedding(
    model: str,
    amount: str,
    sides: dict[str, Sides],
    vectors: dict[str, tuple[torch.Tensor, ...]],
    ours: WholeStudio,
    record: Record,
):
    with loaded(sides[model], word=vectors[f"{model}-{amount}"]):
        theirs = sides[model].theirs(request_for(model, prompt="a red <word> on grass"))
    mine = ours.latents(request_for(model, prompt=f"a red {model}-{amount} on grass"))
    assert_equal(mine, theirs, record)
    assert (mine - ours.latents(request_for(model, prompt="a red on grass"))).abs().max() > 0.01


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_embeddings_in_both_prompts(
    model: str,
    sides: dict[str, Sides],
    vectors: dict[str, tuple[torch.Tensor, ...]],
    ours: WholeStudio,
    record: Record,
):
    one, many = vectors[f"{model}-one"], vectors[f"{model}-many"]
    with loaded(sides[model], one=one, many=many):
        theirs = sides[model].theirs(
            request_for(model, prompt="<many> and <one>", negative_prompt="<one> house")
        )
    prompts = {"prompt": f"{model}-MANY and {model}-one", "negative_prompt": f"{model.upper()}-One house"}
    assert_equal(ours.latents(request_for(model, **prompts)), theirs, record)


@contextmanager
def written_out(side: Sides, *stack: tuple[Nets, float]) -> Iterator[None]:
    unet = side.text_to_image.unet
    plain = dict(unet.attn_processors)
    unet.set_attn_processor(ReferenceAttention(*stack))
    try:
        yield
    finally:
        unet.set_attn_processor(plain)


@pytest.mark.parametrize("strengths", [(1.0, 0.0), (0.6, -0.8)], ids=["one", "two"])
@pytest.mark.parametrize("model", ["sd1", "sd2"])
def test_hypernetworks(
    model: str,
    strengths: tuple[float, float],
    sides: dict[str, Sides],
    nets: dict[str, Nets],
    ours: WholeStudio,
    record: Record,
):
    stack = tuple(HypernetworkInput(model=name, weight=s) for name, s in zip(nets, strengths, strict=True))
    with written_out(sides[model], *zip(nets.values(), strengths, strict=True)):
        theirs = sides[model].theirs(request_for(model))
    plain = ours.latents(request_for(model))
    assert_equal(ours.latents(request_for(model, hypernetworks=stack)), theirs, record)
    assert (plain - theirs).abs().max() > 0.01
    assert torch.equal(ours.latents(request_for(model)), plain), "something was left on"


def test_tags_and_entries_are_the_same(nets: dict[str, Nets], ours: WholeStudio):
    stack = (HypernetworkInput(model="relu", weight=0.7), HypernetworkInput(model="swish", weight=-0.5))
    entries = ours.latents(request_for("sd1", hypernetworks=stack))
    tags = "a red ball <hypernet:relu:0.7>on grass<hypernet:Swish:-0.5>"
    assert torch.equal(ours.latents(request_for("sd1", prompt=tags)), entries)
