"""Inpainting, with four channels and with nine, against diffusers' pipelines."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoPipelineForInpainting
from PIL import Image

from studio.core.inpaint import Inpaint, MaskedContent
from studio.core.models import Family
from studio.core.requests import GenerateRequest, SourceImage
from studio.core.samplers import Sampler
from tests import tiny
from tests.parity.equality import REQUEST, Record, assert_equal
from tests.parity.sides import SEED, Sides


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sides]:
    folder = tmp_path_factory.mktemp("inpaint")
    return {
        "sd1": Sides(tiny.make_sd1(folder / "sd1"), Family.SD1),
        "sd1-nine": Sides(tiny.make_sd1(folder / "sd1-nine", inpaint=True), Family.SD1),
        "sd2-nine": Sides(tiny.make_sd2(folder / "sd2-nine", v=False, inpaint=True), Family.SD2),
        "sdxl": Sides(tiny.make_sdxl(folder / "sdxl"), Family.SDXL),
        "sdxl-nine": Sides(tiny.make_sdxl(folder / "sdxl-nine", inpaint=True), Family.SDXL),
    }


@pytest.fixture(scope="module")
def mask() -> Image.Image:
    mask = Image.new("L", (64, 80), 0)
    mask.paste(255, (16, 8, 49, 56))
    return mask


def request_for(strength: float, sampler: Sampler) -> GenerateRequest:
    source, inpaint = SourceImage(image="0" * 64, strength=strength), Inpaint(mask="1" * 64, blur=0)
    return REQUEST.model_copy(update={"sampler": sampler, "source": source, "inpaint": inpaint})


@pytest.mark.parametrize("strength", [0.7, 1.0])
@pytest.mark.parametrize("sampler", [Sampler.DDIM, Sampler.EULER_A, Sampler.DPMPP_2M])
@pytest.mark.parametrize("model", ["sd1", "sd1-nine", "sd2-nine", "sdxl", "sdxl-nine"])
def test_inpainting(
    sides: dict[str, Sides],
    photo: Image.Image,
    mask: Image.Image,
    record: Record,
    model: str,
    sampler: Sampler,
    strength: float,
) -> None:
    both, request = sides[model], request_for(strength, sampler)
    ours = both.ours(request, photo, mask=mask)
    pipeline = AutoPipelineForInpainting.from_pipe(both.text_to_image)
    theirs = both.theirs(request, photo, pipeline, mask_image=mask, width=64, height=80)
    assert_equal(ours, theirs, record)


def test_a_batch_is_inpainted_alike(
    sides: dict[str, Sides], photo: Image.Image, mask: Image.Image, record: Record
) -> None:
    request = request_for(0.7, Sampler.EULER).model_copy(update={"batch_size": 2})
    both = sides["sd1"]
    singles = [
        both.ours(request.model_copy(update={"batch_size": 1, "seed": SEED + i}), photo, mask=mask)
        for i in range(2)
    ]
    assert_equal(both.ours(request, photo, mask=mask), torch.cat(singles), record)


@pytest.mark.parametrize("model", ["sd1", "sd1-nine"])
@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_a_soft_mask_keeps_the_latents_around_it_with_any_model(
    sides: dict[str, Sides], photo: Image.Image, mask: Image.Image, model: str, strength: float
) -> None:
    both, request = sides[model], request_for(strength, Sampler.EULER)
    kept = both.ours(with_options(request_for(0, Sampler.EULER), soft=True), photo, mask=mask)
    grey = mask.point(lambda value: value // 2)
    painted, faint = (both.ours(with_options(request, soft=True), photo, mask=one) for one in (mask, grey))
    around = torch.ones(kept.shape[-2:], dtype=torch.bool)
    around[1:7, 2:7] = False
    assert torch.equal(painted[:, :, around], kept[:, :, around])
    assert torch.equal(faint[:, :, around], kept[:, :, around])
    changes = [(one - kept)[:, :, ~around].abs().mean() for one in (faint, painted)]
    assert 0 < changes[0] < changes[1]


@pytest.mark.parametrize("model", ["sd1", "sd1-nine"])
def test_at_strength_0_the_latents_are_those_of_the_photo(
    sides: dict[str, Sides], photo: Image.Image, mask: Image.Image, model: str
) -> None:
    request = request_for(0, Sampler.EULER)
    kept = sides[model].ours(request, photo, mask=mask)
    for content in MaskedContent:
        assert torch.equal(sides[model].ours(with_options(request, content=content), photo, mask=mask), kept)


def with_options(request: GenerateRequest, **options: object) -> GenerateRequest:
    assert request.inpaint is not None
    return request.model_copy(update={"inpaint": request.inpaint.model_copy(update=options)})
