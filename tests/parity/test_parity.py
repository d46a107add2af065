"""Numbers first: our final latents against diffusers' pipelines, same tiny random components, same seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from studio.core.models import Family
from studio.core.requests import HiresPass, SourceImage
from studio.core.samplers import Sampler, Upscaler
from tests import tiny
from tests.parity.equality import IMG2IMG, REQUEST, TOLERANCE, Record, assert_equal
from tests.parity.sides import SCHEDULERS, SEED, Sides


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sides]:
    folder = tmp_path_factory.mktemp("tiny")
    return {
        "sd1": Sides(tiny.make_sd1(folder / "sd1"), Family.SD1),
        "sd2-v": Sides(tiny.make_sd2(folder / "sd2", v=True), Family.SD2),
        "sdxl": Sides(tiny.make_sdxl(folder / "sdxl"), Family.SDXL),
        "sdxl-no-zeros": Sides(tiny.make_sdxl(folder / "no-zeros", force_zeros=False), Family.SDXL),
    }


@pytest.mark.parametrize("model", ["sd1", "sd2-v", "sdxl"])
def test_text_to_image(model: str, sides: dict[str, Sides], record: Record):
    assert_equal(sides[model].ours(REQUEST), sides[model].theirs(REQUEST), record)


@pytest.mark.parametrize("model", ["sd1", "sd2-v", "sdxl"])
def test_image_to_image(model: str, sides: dict[str, Sides], photo: Image.Image, record: Record):
    assert_equal(sides[model].ours(IMG2IMG, photo), sides[model].theirs(IMG2IMG, photo), record)


@pytest.mark.parametrize("sampler", list(Sampler), ids=str)
def test_every_sampler(sampler: Sampler, sides: dict[str, Sides], record: Record):
    request = REQUEST.model_copy(update={"sampler": sampler})
    assert_equal(sides["sd1"].ours(request), sides["sd1"].theirs(request), record)


@pytest.mark.parametrize("sampler", [s for s in Sampler if s is not Sampler.PLMS], ids=str)
def test_every_sampler_image_to_image(
    sampler: Sampler, sides: dict[str, Sides], photo: Image.Image, record: Record
):
    request = IMG2IMG.model_copy(update={"sampler": sampler})
    assert_equal(sides["sd1"].ours(request, photo), sides["sd1"].theirs(request, photo), record)


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DPMPP_2M, Sampler.HEUN], ids=str)
def test_samplers_with_velocity_prediction(sampler: Sampler, sides: dict[str, Sides], record: Record):
    request = REQUEST.model_copy(update={"sampler": sampler})
    assert_equal(sides["sd2-v"].ours(request), sides["sd2-v"].theirs(request), record)


def test_a_batch_is_the_seeds_in_a_row(sides: dict[str, Sides], record: Record):
    request = REQUEST.model_copy(update={"batch_size": 3, "sampler": Sampler.EULER_A})
    batch = sides["sd1"].ours(request)
    assert_equal(batch, sides["sd1"].theirs(request), record)
    for i in range(3):
        alone = request.model_copy(update={"batch_size": 1, "seed": SEED + i})
        assert torch.allclose(sides["sd1"].ours(alone), batch[i : i + 1], atol=TOLERANCE)


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_no_guidance(model: str, sides: dict[str, Sides], record: Record):
    request = REQUEST.model_copy(update={"guidance_scale": 1.0})
    assert_equal(sides[model].ours(request), sides[model].theirs(request), record)


@pytest.mark.parametrize("model", ["sdxl", "sdxl-no-zeros"])
def test_an_empty_negative_prompt_of_sdxl_is_zeros_where_its_index_says_so(
    model: str, sides: dict[str, Sides], record: Record
):
    request = REQUEST.model_copy(update={"negative_prompt": ""})
    assert_equal(sides[model].ours(request), sides[model].theirs(request, negative_prompt=None), record)


def test_the_index_of_sdxl_changes_what_an_empty_negative_prompt_gives(sides: dict[str, Sides]):
    request = REQUEST.model_copy(update={"negative_prompt": ""})
    zeros, text = sides["sdxl"].ours(request), sides["sdxl-no-zeros"].ours(request)
    assert (zeros - text).abs().max() > 0.1


def test_the_hires_pass_is_image_to_image_of_the_enlarged_latents(sides: dict[str, Sides], record: Record):
    request = REQUEST.model_copy(update={"hires": HiresPass(scale=2, strength=0.5, upscaler=Upscaler.LATENT)})
    first = sides["sd1"].ours(REQUEST)
    enlarged = torch.nn.functional.interpolate(first, scale_factor=2, mode="bilinear")
    second = REQUEST.model_copy(update={"source": SourceImage(image="0" * 64, strength=0.5)})
    theirs = sides["sd1"].theirs(second, Image.new("RGB", (8, 8)), image=enlarged)
    assert_equal(sides["sd1"].ours(request), theirs, record)


def test_every_sampler_has_its_reference():
    assert set(SCHEDULERS) == set(Sampler)
    assert len(SCHEDULERS) >= 12


def test_tiny_folders_are_left_as_they_were(sides: dict[str, Sides], tmp_path: Path):
    """Two runs of one request give the same bits: nothing of the first lingers in the modules."""
    assert torch.equal(sides["sd1"].ours(REQUEST), sides["sd1"].ours(REQUEST))
