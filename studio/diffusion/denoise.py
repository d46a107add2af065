"""The one denoising loop.

Every condition is an input of this loop or a reversible change to the weights it runs on: there is no
loop per combination. Latents are float32 throughout; only the UNet sees the device's working precision.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from studio.core.errors import NumericalError
from studio.diffusion.conditions import Condition, UnetCall
from studio.diffusion.encode import ConditioningSchedule, StepConditioning, TextConditioning
from studio.diffusion.samplers import Scheduler


@dataclass(frozen=True)
class StepState:
    """What an observer sees after a step."""

    index: int
    """Index into the scheduler's timesteps."""
    latents: torch.Tensor
    """(B, 4, H/8, W/8) as they were *before* the step, in the scheduler's scale."""
    prediction: torch.Tensor
    """The UNet's output after guidance, same shape."""


@dataclass(frozen=True)
class StepPosition:
    """Where in a pass a step lies."""

    step: int
    """From 0, among those that are run."""
    steps: int
    """How many are run."""
    skipped: int = 0
    """How many before them image-to-image leaves out."""


class StepObserver(Protocol):
    def __call__(self, state: StepState) -> None:
        """Called after each step. May raise `JobCancelled`, which ends the loop."""


@dataclass(frozen=True)
class _Rows:
    """One UNet call's worth of text: every condition for every picture, stacked along the batch."""

    prompt_embeds: torch.Tensor
    """(R * B, T, C)"""
    added: dict[str, torch.Tensor] | None
    """SDXL's pooled embeddings (R * B, P) and time ids (R * B, 6)."""
    weights: tuple[float, ...]
    """Weight of each conditional row; the unconditional row comes first where there is one."""
    has_unconditional: bool

    @property
    def count(self) -> int:
        return len(self.weights) + self.has_unconditional


class Blend(Protocol):
    def __call__(
        self, latents: torch.Tensor, scheduler: Scheduler, next_timestep: torch.Tensor | None, done: float
    ) -> torch.Tensor:
        """The latents to go on with after a step.

        Args:
            latents: (B, 4, H/8, W/8), as the step left them.
            next_timestep: 0-dim; None after the last step.
            done: share of the steps that were run, 0-1.
        """


class Denoiser:
    """A UNet with everything that conditions it: `predict(latents, ...)` is noise after guidance.

    Args:
        unet: gives the `UNet2DConditionModel`, on its device; asked at every step, since a condition may have
            needed the device for a model of its own.
        conditioning: text for every step.
        guidance_scale: classifier-free guidance (Ho & Salimans 2022); 1 or less runs no unconditional half.
        batch: pictures in a pass.
        time_ids: SDXL's size conditioning (6,): original size, crop, target size, each (height, width) px.
        conditions: what else the picture follows; asked in order at every step.
    """

    def __init__(
        self,
        unet: Callable[[], torch.nn.Module],
        conditioning: ConditioningSchedule,
        guidance_scale: float,
        batch: int,
        time_ids: torch.Tensor | None = None,
        conditions: Sequence[Condition] = (),
    ) -> None:
        parameter = next(unet().parameters())
        self._unet = unet
        self._device, self._dtype = parameter.device, parameter.dtype
        self._conditioning = conditioning
        self._guidance_scale = guidance_scale
        self._batch = batch
        self._time_ids = time_ids
        self._conditions = tuple(conditions)
        self._rows: tuple[StepConditioning, _Rows] | None = None

    def predict(
        self, scaled_latents: torch.Tensor, timestep: torch.Tensor, position: StepPosition
    ) -> torch.Tensor:
        """Noise (or velocity) after guidance, float32.

        Args:
            scaled_latents: (B, 4, H/8, W/8) after `scheduler.scale_model_input`.
            timestep: 0-dim, 0-999.
            position: of the step, for prompts and conditions that change on the way.
        """
        rows = self._rows_at(position.skipped + position.step)
        call = UnetCall(
            sample=torch.cat([scaled_latents.to(self._dtype)] * rows.count).contiguous(),
            timestep=timestep.to(self._device, torch.float32).expand(rows.count * self._batch),
            prompt_embeds=rows.prompt_embeds,
            added=rows.added,
            batch=self._batch,
            has_unconditional=rows.has_unconditional,
            step=position.step,
            steps=position.steps,
        )
        for condition in self._conditions:
            condition.contribute(call)
        output = self._unet()(
            call.sample,
            call.timestep,
            encoder_hidden_states=call.prompt_embeds,
            added_cond_kwargs=call.added,
            return_dict=False,
            **call.arguments,
        )[0]
        return self._guide(output.float().chunk(rows.count), rows)

    def _guide(self, predictions: Sequence[torch.Tensor], rows: _Rows) -> torch.Tensor:
        if not rows.has_unconditional:
            return predictions[0]
        unconditional, *conditional = predictions
        direction = sum(
            (
                weight * (prediction - unconditional)
                for weight, prediction in zip(rows.weights, conditional, strict=True)
            ),
            start=torch.zeros_like(unconditional),
        )
        return unconditional + self._guidance_scale * direction

    def _rows_at(self, step: int) -> _Rows:
        """The rows of this step; the same object again while the prompt does not change."""
        at_step = self._conditioning.at(step)
        if self._rows is None or self._rows[0] is not at_step:
            self._rows = (at_step, self._stack(at_step))
        return self._rows[1]

    def _stack(self, at_step: StepConditioning) -> _Rows:
        weights = tuple(weight for _, weight in at_step.conditional)
        guided = self._guidance_scale > 1 or weights != (1.0,)
        texts = [text for text, _ in at_step.conditional]
        if guided:
            texts.insert(0, at_step.unconditional)
        return _Rows(self._embeds(texts), self._added(texts), weights, guided)

    def _embeds(self, texts: Sequence[TextConditioning]) -> torch.Tensor:
        embeds = [text.prompt_embeds.expand(self._batch, -1, -1) for text in texts]
        return torch.cat(embeds).to(self._device, self._dtype)

    def _added(self, texts: Sequence[TextConditioning]) -> dict[str, torch.Tensor] | None:
        if self._time_ids is None:
            return None
        pooled = [text.pooled_prompt_embeds for text in texts if text.pooled_prompt_embeds is not None]
        text_embeds = torch.cat([row.expand(self._batch, -1) for row in pooled])
        time_ids = self._time_ids.expand(len(texts) * self._batch, -1)
        return {
            "text_embeds": text_embeds.to(self._device, self._dtype),
            "time_ids": time_ids.to(self._device, self._dtype),
        }


def denoise(
    denoiser: Denoiser,
    scheduler: Scheduler,
    latents: torch.Tensor,
    *,
    steps: int,
    skipped: int = 0,
    generators: Sequence[torch.Generator],
    observer: StepObserver,
    blend: Blend | None = None,
) -> torch.Tensor:
    """Run the loop from `latents` to clean latents (B, 4, H/8, W/8).

    Args:
        scheduler: with its timesteps set.
        latents: noisy at the level of the first step that is run, in the scheduler's scale.
        steps: sampling steps of the whole schedule.
        skipped: how many of them image-to-image leaves out.
        generators: one a picture, for samplers that add noise at each step.
        blend: puts something of its own into the latents after each step.

    Raises:
        NumericalError: the latents are not finite.
    """
    extra = _step_arguments(scheduler, generators)
    timesteps = scheduler.timesteps
    begin = skipped * scheduler.order
    for index in range(begin, len(timesteps)):
        timestep = timesteps[index]
        scaled = scheduler.scale_model_input(latents, timestep)
        step = index * steps // len(timesteps) - skipped
        prediction = denoiser.predict(scaled, timestep, StepPosition(step, steps - skipped, skipped))
        before = latents
        latents = scheduler.step(prediction, timestep, latents, return_dict=False, **extra)[0]
        if blend is not None:
            following = timesteps[index + 1] if index + 1 < len(timesteps) else None
            latents = blend(latents, scheduler, following, (index + 1 - begin) / (len(timesteps) - begin))
        observer(StepState(index, before, prediction))
    _check_finite(latents)
    return latents


def _step_arguments(scheduler: Scheduler, generators: Sequence[torch.Generator]) -> dict[str, Any]:
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": list(generators)} if takes_generator else {}


def _check_finite(latents: torch.Tensor) -> None:
    if not bool(torch.isfinite(latents).all()):
        raise NumericalError(
            "The model's output is not a number (NaN), so there is no picture to show.",
            "Start Easel with --precision bf16 or fp32, choose another checkpoint, or smaller weights for "
            "what is stacked on it.",
        )
