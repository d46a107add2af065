"""A request is checked, and turned into passes, before any device is touched."""

from __future__ import annotations

import pytest

from studio.core.errors import InvalidRequest, NotFound
from studio.core.geometry import Extent
from studio.core.models import Family, ModelInfo, ModelKind, Variant
from studio.core.requests import GenerateRequest, HiresPass, SourceImage
from studio.core.samplers import Sampler, Schedule, schedules_for
from studio.diffusion.plan import plan

BASE = ModelInfo(id="base", name="Base", kind=ModelKind.CHECKPOINT, family=Family.SD1)
XL = ModelInfo(id="xl", name="XL", kind=ModelKind.CHECKPOINT, family=Family.SDXL)
INPAINT = BASE.model_copy(update={"id": "inpaint", "variant": Variant.INPAINT})
BROKEN = BASE.model_copy(update={"id": "broken", "problem": "the file is cut off."})
VAE = ModelInfo(id="vae", name="VAE", kind=ModelKind.VAE, family=Family.SD1)


class Shelf:
    def find(self, name: str) -> ModelInfo:
        for info in (BASE, XL, INPAINT, BROKEN, VAE):
            if info.id == name:
                return info
        raise NotFound(f"There is no model {name}.")

    def models(self, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return tuple(info for info in (BASE, XL, INPAINT, BROKEN, VAE) if info.kind is kind)


def planned(**fields: object):
    return plan(GenerateRequest(model="base", **fields), Shelf())


def test_text_to_image_is_one_full_pass():
    (only,) = planned(width=256, height=128, steps=12).passes
    assert (only.extent, only.steps_run, only.skipped) == (Extent(width=256, height=128), 12, 0)


@pytest.mark.parametrize(("strength", "run"), [(1.0, 20), (0.75, 15), (0.34, 6), (0.01, 0), (0.0, 0)])
def test_strength_is_the_share_of_steps_that_is_run(strength: float, run: int):
    source = SourceImage(image="0" * 64, strength=strength)
    first = planned(steps=20, source=source).first
    assert first.steps_run == run
    assert first.skipped == 20 - run


def test_hires_adds_a_larger_pass_and_its_steps_count():
    made = planned(width=128, height=64, steps=10, batches=2, hires=HiresPass(scale=1.5, strength=0.5))
    assert made.extent == Extent(width=192, height=96)
    assert made.total_steps == 2 * (10 + 5)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "a (red ball"}, "prompt"),
        ({"negative_prompt": "grass AND sand"}, "negative_prompt"),
        ({"model": "nothing"}, "model"),
        ({"model": "vae"}, "model"),
        ({"model": "inpaint"}, "model"),
        ({"model": "broken"}, "model"),
        ({"vae": "nothing"}, "vae"),
        ({"vae": "base"}, "vae"),
        ({"model": "xl", "vae": "vae"}, "vae"),
        ({"sampler": Sampler.DDIM, "schedule": Schedule.KARRAS}, "schedule"),
        ({"width": 2048, "height": 2048, "hires": HiresPass(scale=4)}, "hires.scale"),
        ({"width": 4096, "height": 4096, "batch_size": 2}, "batch_size"),
    ],
)
def test_the_impossible_is_refused_at_its_field(fields: dict[str, object], field: str):
    with pytest.raises(InvalidRequest) as refused:
        plan(GenerateRequest(**({"model": "base"} | fields)), Shelf())
    assert refused.value.field == field
    assert len(str(refused.value)) > 20


def test_clip_skip_goes_as_far_as_the_text_encoder_has_layers():
    shallow = BASE.model_copy(update={"clip_layers": 3})
    shelf = Shelf()
    shelf.find = lambda name: shallow
    assert plan(GenerateRequest(model="base", clip_skip=3), shelf)
    with pytest.raises(InvalidRequest, match="Choose 1 to 3") as refused:
        plan(GenerateRequest(model="base", clip_skip=4), shelf)
    assert refused.value.field == "clip_skip"


def test_every_sampler_follows_at_least_one_schedule_and_every_schedule_has_a_sampler():
    assert all(schedules_for(sampler)[0] is Schedule.AUTOMATIC for sampler in Sampler)
    assert {schedule for sampler in Sampler for schedule in schedules_for(sampler)} == set(Schedule)
