"""`easel bench control`: what ControlNets cost, ours beside diffusers' `MultiControlNetModel`.

Only the denoising loop is measured, with the text encoded beforehand, on the same weights: plain modules in
diffusers' pipeline, the manager's in our loop. Both sides take turns in one process, so that whatever else
the machine does hits both alike; medians are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageDraw

from studio.app.bench.generate import Row
from studio.app.bench.sides import Case
from studio.core.conditions import ControlInput
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler
from studio.core.settings import Settings
from studio.diffusion.control_stack import ControlPictures, ControlStack
from studio.diffusion.encode import (
    ConditioningSchedule,
    EmbeddingCache,
    StepConditioning,
    TextConditioning,
)
from studio.diffusion.generate import Modules, sample_latents
from studio.diffusion.plan import DenoisePass, GeneratePlan
from studio.diffusion.plan_control import PlannedControl
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef, components_of
from studio.models.device import choose_device
from studio.models.load import load_component
from studio.models.manager import Lease, ModelManager
from studio.models.parts import part_of

MOST_NETS = 3
_TOKENS = 77


@dataclass(frozen=True)
class _Run:
    """One thing to be timed on both sides: the first `nets` ControlNets, each up to `end`."""

    nets: int
    end: float = 1.0


def bench_control(
    case: Case,
    nets: Sequence[str],
    repeats: int = 3,
    progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Row]:
    """The rows of a case's table: the loop with 0 to 3 ControlNets, and what half of a range costs.

    Args:
        nets: names of ControlNets in the case's folder, at least one; up to all of them are stacked.
        repeats: rounds; in each, every run is timed once on both sides.
        clock: seconds; `time.process_time` on a busy machine, where only one thread computes.
    """
    half = _Run(len(nets), end=0.5)
    runs = [*map(_Run, range(len(nets) + 1)), half]
    with _both_sides(case, nets) as (ours, theirs):
        for side in (ours, theirs):
            side(_Run(len(nets)))
        times: dict[_Run, list[tuple[float, float]]] = {run: [] for run in runs}
        for round_ in range(repeats):
            progress(f"round {round_ + 1} of {repeats}")
            for run in runs:
                times[run].append((_seconds(ours, run, clock), _seconds(theirs, run, clock)))
    medians = {run: _median(pairs) for run, pairs in times.items()}
    for count in range(len(nets) + 1):
        yield Row(f"loop with {count} ControlNets", *medians[_Run(count)], "s")
    shares = [_share(medians, half, side) for side in range(2)]
    yield Row(f"{len(nets)} for half of the steps, of their full cost", shares[0], shares[1], "")


def _seconds(side: Callable[[_Run], object], run: _Run, clock: Callable[[], float]) -> float:
    began = clock()
    side(run)
    return clock() - began


def _median(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    ours, theirs = zip(*pairs, strict=True)
    return statistics.median(ours), statistics.median(theirs)


def _share(medians: dict[_Run, tuple[float, float]], half: _Run, side: int) -> float:
    """What nets add that are on for half of the steps, over what they add that are on for all."""
    none, whole, limited = (medians[run][side] for run in (_Run(0), _Run(half.nets), half))
    return (limited - none) / (whole - none)


@contextmanager
def _both_sides(
    case: Case, nets: Sequence[str]
) -> Iterator[tuple[Callable[[_Run], object], Callable[[_Run], object]]]:
    settings = Settings(
        data_dir=case.folder / "data",
        models_dirs=(case.folder,),
        device=case.device,
        precision=case.precision,
    )
    catalogue = ModelCatalogue(settings)
    checkpoint = components_of(catalogue, catalogue.find(case.models[0]))
    refs = [checkpoint.components["unet"], *(part_of(catalogue, catalogue.find(name)) for name in nets)]
    device = choose_device(settings)
    manager = ModelManager(device, ram_budget=2**40, device_budget=2**40)
    with ExitStack() as stack:
        lease = stack.enter_context(manager.lease(refs))
        ours = _Ours(case, lease, checkpoint.scheduler_config, refs[1:])
        yield ours, _Theirs(case, refs, checkpoint.scheduler_config, device.dtype)


class _Ours:
    def __init__(self, case: Case, lease: Lease, scheduler: Any, nets: Sequence[ComponentRef]) -> None:
        self._case = case
        self._modules = Modules(lease, scheduler, Family.SD1)
        self._lease = lease
        self._nets = nets
        width = lease.get("unet").config.cross_attention_dim
        texts = [TextConditioning(embeds) for embeds in _embeds(width)]
        self._text = StepConditioning(((texts[1], 1.0),), texts[0])

    def __call__(self, run: _Run) -> torch.Tensor:
        case = self._case
        request = GenerateRequest(
            width=case.size, height=case.size, steps=case.steps, sampler=Sampler.EULER, seed=1
        )
        info = ModelInfo(id="bench", name="bench", kind=ModelKind.CHECKPOINT)
        plan = GeneratePlan(request, info, None, DenoisePass(request.extent, case.steps), None)
        conditioning = [ConditioningSchedule([self._text] * case.steps)]
        controls = [self._control(ref, run) for ref in self._nets[: run.nets]]
        stack = ControlStack(self._lease, controls, (), EmbeddingCache())
        return sample_latents(plan, self._modules, conditioning, None, _Unwatched(), stack.conditions)

    def _control(self, ref: ComponentRef, run: _Run) -> ControlPictures:
        info = ModelInfo(id=ref.model, name=ref.model, kind=ModelKind.CONTROLNET)
        entry = ControlInput(model=ref.model, image="0" * 64, end=run.end)
        return ControlPictures(PlannedControl(entry, info, "controls.0"), _map(self._case.size))


class _Theirs:
    """diffusers' pipelines over plain modules of the same files."""

    def __init__(self, case: Case, refs: Sequence[ComponentRef], scheduler: Any, dtype: torch.dtype) -> None:
        self._case = case
        modules = [load_component(ref, dtype).to(case.device) for ref in refs]
        self._unet, self._nets = modules[0], modules[1:]
        self._scheduler = scheduler
        negative, positive = _embeds(self._unet.config.cross_attention_dim)
        self._text = {
            "prompt_embeds": positive.to(case.device, dtype),
            "negative_prompt_embeds": negative.to(case.device, dtype),
        }

    def __call__(self, run: _Run) -> object:
        pipeline = self._pipeline(run.nets)
        pipeline.set_progress_bar_config(disable=True)
        arguments: dict[str, Any] = {
            "width": self._case.size,
            "height": self._case.size,
            "num_inference_steps": self._case.steps,
            "guidance_scale": 7.0,
            "generator": torch.Generator("cpu").manual_seed(1),
            "output_type": "latent",
        }
        if run.nets:
            arguments |= {
                "image": [_map(self._case.size)] * run.nets,
                "controlnet_conditioning_scale": [1.0] * run.nets,
                "control_guidance_end": [run.end] * run.nets,
            }
        with torch.inference_mode():
            return pipeline(**self._text, **arguments).images

    def _pipeline(self, nets: int) -> Any:
        from diffusers import (
            AutoencoderKL,
            EulerDiscreteScheduler,
            MultiControlNetModel,
            StableDiffusionControlNetPipeline,
            StableDiffusionPipeline,
        )

        parts: dict[str, Any] = {
            "unet": self._unet,
            "vae": AutoencoderKL(block_out_channels=(32,) * 4, **_FOUR_LEVELS),
            "scheduler": EulerDiscreteScheduler.from_config(self._scheduler),
            **dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor")),
            "requires_safety_checker": False,
        }
        if nets == 0:
            return StableDiffusionPipeline(**parts)
        controlnet = MultiControlNetModel(self._nets[:nets])
        return StableDiffusionControlNetPipeline(**parts, controlnet=controlnet)


_FOUR_LEVELS: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
"""The pipeline asks a VAE for its factor of 8, and this benchmark for nothing else."""


class _Unwatched:
    def check(self) -> None: ...

    def step(self, phase: str, done: int, total: int, image: int) -> None: ...

    def wants_preview(self) -> bool:
        return False

    def preview(self, jpeg: str, step: int) -> None: ...


def _embeds(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two texts, of no meaning: (1, 77, width) each."""
    negative, positive = torch.randn(2, 1, _TOKENS, width, generator=torch.Generator().manual_seed(0))
    return negative, positive


def _map(size: int) -> Image.Image:
    picture = Image.new("RGB", (size, size))
    box = (size // 4, size // 4, 3 * size // 4, 3 * size // 4)
    ImageDraw.Draw(picture).ellipse(box, outline=(255, 255, 255), width=2)
    return picture
