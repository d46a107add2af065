"""A request, checked against what is installed, as the steps to take. Pure: no torch, no files."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.errors import InvalidRequest, PromptError, invalid_at
from studio.core.geometry import Extent
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import MAX_SIDE, GenerateRequest
from studio.core.samplers import Sampler, Schedule, schedules_for
from studio.diffusion.plan_boxes import PlannedBoxes, plan_boxes
from studio.diffusion.plan_control import (
    PlannedControl,
    PlannedImagePrompt,
    plan_controls,
    plan_image_prompts,
)
from studio.diffusion.plan_inpaint import check_inpaint
from studio.diffusion.plan_networks import (
    NO_NAMES,
    PlannedHypernetwork,
    PlannedWords,
    plan_hypernetworks,
    plan_words,
)
from studio.diffusion.plan_notes import notes_of
from studio.diffusion.plan_stack import NetworkLookup, PlannedLora, plan_loras
from studio.diffusion.prompt import ParsedPrompt, parse_negative_prompt, parse_prompt

MAX_BATCH_PIXELS = 16 * 1024 * 1024
"""Pixels of one pass, all its pictures together; beyond that a batch is better split into several."""


@dataclass(frozen=True)
class DenoisePass:
    """One trip through the denoising loop."""

    extent: Extent
    steps: int
    """Steps of the whole schedule."""
    strength: float = 1.0
    """Share of them that is run: 1 starts from pure noise."""

    @property
    def steps_run(self) -> int:
        """As in diffusers: the fraction is cut off, not rounded."""
        return min(int(self.steps * self.strength), self.steps)

    @property
    def skipped(self) -> int:
        return self.steps - self.steps_run


@dataclass(frozen=True)
class GeneratePlan:
    """What the engine will do for a request."""

    request: GenerateRequest
    checkpoint: ModelInfo
    vae: ModelInfo | None
    """None means the checkpoint's own."""
    first: DenoisePass
    hires: DenoisePass | None
    loras: tuple[PlannedLora, ...] = ()
    hypernetworks: tuple[PlannedHypernetwork, ...] = ()
    words: PlannedWords = NO_NAMES
    controls: tuple[PlannedControl, ...] = ()
    image_prompts: tuple[PlannedImagePrompt, ...] = ()
    boxes: PlannedBoxes | None = None

    @property
    def passes(self) -> tuple[DenoisePass, ...]:
        return (self.first, self.hires) if self.hires else (self.first,)

    @property
    def extent(self) -> Extent:
        """Size of the finished pictures, px."""
        return self.passes[-1].extent

    @property
    def total_steps(self) -> int:
        """Steps of all passes and batches."""
        return self.request.batches * sum(part.steps_run for part in self.passes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what has no effect, though it is asked for."""
        return notes_of(self)


def plan(request: GenerateRequest, models: NetworkLookup) -> GeneratePlan:
    """Check everything that can be known before the GPU is touched.

    Raises:
        InvalidRequest: with the field at fault; a `PromptError` with the character.
    """
    prompt = parse_prompt(request.prompt)
    negative = parse_negative_prompt(request.negative_prompt)
    _check_no_tags(negative, "negative_prompt")
    checkpoint = _checkpoint(request, models)
    _check_schedule(request.sampler, request.schedule)
    if checkpoint.clip_layers is not None:
        check_clip_skip(request.clip_skip, checkpoint.clip_layers)
    first = _first_pass(request)
    hires = _hires_pass(request)
    check_inpaint(request, checkpoint)
    for part in filter(None, (first, hires)):
        _check_batch(request, part.extent)
    boxes = plan_boxes(request, checkpoint, models)
    loras = plan_loras(request, prompt, checkpoint, models)
    return GeneratePlan(
        request,
        checkpoint,
        _vae(request, checkpoint, models),
        first,
        hires,
        loras=loras,
        hypernetworks=plan_hypernetworks(request, prompt, checkpoint, models),
        words=plan_words(
            {"prompt": prompt, "negative_prompt": negative},
            [part.steps for part in (first, hires) if part],
            checkpoint,
            models.models(ModelKind.EMBEDDING),
            boxes.phrases if boxes else {},
            [lora.model for lora in loras],
        ),
        controls=plan_controls(request, checkpoint, models.find),
        image_prompts=plan_image_prompts(request, checkpoint, models.find),
        boxes=boxes,
    )


def _checkpoint(request: GenerateRequest, models: NetworkLookup) -> ModelInfo:
    checkpoint = _find(models, request.model, "model")
    if checkpoint.kind is not ModelKind.CHECKPOINT:
        raise InvalidRequest(
            f"A picture needs a checkpoint, but {checkpoint.name} is {checkpoint.kind.with_article}.",
            "Choose a checkpoint in the stack.",
            field="model",
        )
    return checkpoint


def _vae(request: GenerateRequest, checkpoint: ModelInfo, models: NetworkLookup) -> ModelInfo | None:
    if not request.vae:
        return None
    vae = _find(models, request.vae, "vae")
    if vae.kind is not ModelKind.VAE:
        raise InvalidRequest(f"A VAE is needed here, but {vae.name} is {vae.kind.with_article}.", field="vae")
    if not _same_latents(vae.family, checkpoint.family):
        raise InvalidRequest(
            f"{vae.name} is a VAE of {vae.family}, but {checkpoint.name} needs one of {checkpoint.family}.",
            "Choose a matching VAE, or the checkpoint's own.",
            field="vae",
        )
    return vae


def _same_latents(vae: Family, checkpoint: Family) -> bool:
    """SD 1.x and 2.x share one latent space; SDXL has its own."""
    if Family.UNKNOWN in (vae, checkpoint):
        return True
    return (vae is Family.SDXL) == (checkpoint is Family.SDXL)


def _find(models: NetworkLookup, name: str, field: str) -> ModelInfo:
    with invalid_at(field):
        info = models.find(name)
    if not info.usable:
        raise InvalidRequest(f"{info.name} cannot be used: {info.problem}", field=field)
    return info


def _check_no_tags(prompt: ParsedPrompt, field: str) -> None:
    for tag in prompt.tags:
        raise PromptError(
            f"The tag of {tag.name} stands in the negative prompt, where it changes nothing.",
            "Move it to the prompt, with a negative weight if you like.",
            position=tag.position,
            field=field,
        )


def _check_schedule(sampler: Sampler, schedule: Schedule) -> None:
    choices = schedules_for(sampler)
    if schedule not in choices:
        raise InvalidRequest(
            f"{sampler} cannot follow the schedule {schedule}.",
            f"Choose {' or '.join(choices)}.",
            field="schedule",
        )


def check_clip_skip(clip_skip: int, layers: int) -> None:
    """Make sure that the text encoder has as many layers as are asked for.

    Args:
        layers: of the text encoder, from the one that clip skip 1 means to the first.

    Raises: InvalidRequest.
    """
    if clip_skip > layers:
        raise InvalidRequest(
            f"Clip skip {clip_skip} needs as many layers, but this model's text encoder has {layers} for it.",
            f"Choose 1 to {layers}.",
            field="clip_skip",
        )


def _first_pass(request: GenerateRequest) -> DenoisePass:
    strength = request.source.strength if request.source else 1.0
    return DenoisePass(request.extent, request.steps, strength)


def _hires_pass(request: GenerateRequest) -> DenoisePass | None:
    hires = request.hires
    if hires is None:
        return None
    extent = request.extent.scaled(hires.scale)
    if max(extent.width, extent.height) > MAX_SIDE:
        raise InvalidRequest(
            f"The hires pass would make {extent} px, but {MAX_SIDE} px is the longest side allowed.",
            "Choose a smaller scale.",
            field="hires.scale",
        )
    return DenoisePass(extent, hires.steps or request.steps, hires.strength)


def _check_batch(request: GenerateRequest, extent: Extent) -> None:
    if extent.pixels * request.batch_size > MAX_BATCH_PIXELS and request.batch_size > 1:
        raise InvalidRequest(
            f"{request.batch_size} pictures of {extent} px in one pass are more than one pass can hold.",
            "Choose a smaller batch size and more batches.",
            field="batch_size",
        )
