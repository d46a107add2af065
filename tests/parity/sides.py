"""One tiny checkpoint, and both ways to run it: Easel's engine and diffusers' own pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import torch
from PIL import Image

from studio.core.models import Family, ModelInfo, ModelKind, Variant
from studio.core.requests import GenerateRequest
from studio.core.samplers import Sampler
from studio.diffusion.conditions import ConditionsOf, no_conditions, together
from studio.diffusion.control_stack import ControlPictures, ControlStack, PromptPictures
from studio.diffusion.encode import EmbeddingCache, TextEncoder, TextEncoders, encode_prompts
from studio.diffusion.generate import Modules, sample_latents
from studio.diffusion.inpaint_scene import make_scene
from studio.diffusion.plan import plan

SEED = 7

SCHEDULERS: dict[Sampler, Callable[[Any], Any]] = {
    Sampler.DPMPP_2M: lambda c: diffusers.DPMSolverMultistepScheduler.from_config(c, use_karras_sigmas=True),
    Sampler.DPMPP_2M_SDE: lambda c: diffusers.DPMSolverMultistepScheduler.from_config(
        c, algorithm_type="sde-dpmsolver++", use_exponential_sigmas=True, timestep_spacing="linspace"
    ),
    Sampler.DPMPP_SDE: lambda c: diffusers.DPMSolverSDEScheduler.from_config(
        c, use_karras_sigmas=True, noise_sampler_seed=[SEED]
    ),
    Sampler.EULER_A: diffusers.EulerAncestralDiscreteScheduler.from_config,
    Sampler.EULER: diffusers.EulerDiscreteScheduler.from_config,
    Sampler.LMS: diffusers.LMSDiscreteScheduler.from_config,
    Sampler.HEUN: diffusers.HeunDiscreteScheduler.from_config,
    Sampler.DPM2: lambda c: diffusers.KDPM2DiscreteScheduler.from_config(c, use_karras_sigmas=True),
    Sampler.DPM2_A: lambda c: diffusers.KDPM2AncestralDiscreteScheduler.from_config(
        c, use_karras_sigmas=True
    ),
    Sampler.DDIM: lambda c: diffusers.DDIMScheduler.from_config(c, clip_sample=False, set_alpha_to_one=False),
    Sampler.PLMS: lambda c: diffusers.PNDMScheduler.from_config(
        c, skip_prk_steps=True, set_alpha_to_one=False
    ),
    Sampler.UNIPC: diffusers.UniPCMultistepScheduler.from_config,
    Sampler.LCM: lambda c: diffusers.LCMScheduler.from_config(c, clip_sample=False),
    Sampler.TCD: lambda c: diffusers.TCDScheduler.from_config(c, clip_sample=False),
}
"""What each sampler's name means with the schedule Automatic, written out in diffusers' words."""


class Unwatched:
    """An observer that asks for nothing."""

    def check(self) -> None: ...

    def step(self, phase: str, done: int, total: int, image: int) -> None: ...

    def wants_preview(self) -> bool:
        return False

    def preview(self, jpeg: str, step: int) -> None: ...


class _Borrowed:
    """A pipeline's own modules, lent the way the manager lends them."""

    device = torch.device("cpu")

    def __init__(self, pipeline: Any, stacked: Mapping[str, Any]) -> None:
        self._pipeline = pipeline
        self._stacked = stacked

    def get(self, role: str) -> Any:
        return self._stacked[role] if role in self._stacked else getattr(self._pipeline, role)

    peek = get

    def digest(self, role: str) -> str:
        return role


class Sides:
    """Both sides over the modules of one diffusers folder, float32 on the CPU."""

    def __init__(self, folder: Path, family: Family) -> None:
        self.family = family
        self.text_to_image = diffusers.AutoPipelineForText2Image.from_pretrained(folder, safety_checker=None)
        self.image_to_image = diffusers.AutoPipelineForImage2Image.from_pipe(self.text_to_image)
        channels = self.text_to_image.unet.config.in_channels
        self._info = ModelInfo(
            id="tiny",
            name="tiny",
            kind=ModelKind.CHECKPOINT,
            family=family,
            variant=Variant.INPAINT if channels == 9 else Variant.BASE,
        )
        self.scheduler_config = dict(self.text_to_image.scheduler.config)

    def find(self, name: str) -> ModelInfo:
        return self._info

    def models(self, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return ()

    def ours(
        self,
        request: GenerateRequest,
        source: Image.Image | None = None,
        controls: Sequence[ControlPictures] = (),
        prompts: Sequence[PromptPictures] = (),
        stacked: Mapping[str, Any] = MappingProxyType({}),
        mask: Image.Image | None = None,
        conditions: ConditionsOf = no_conditions,
    ) -> torch.Tensor:
        """Our final latents.

        Args:
            stacked: the modules that `controls` and `prompts` need, by their roles.
            conditions: further ones.
        """
        planned = plan(request, self)
        conditioning, earlier = [], 0
        for part in planned.passes:
            conditioning.append(
                encode_prompts(
                    request.prompt,
                    request.negative_prompt,
                    self._encoders(),
                    EmbeddingCache(2**20),
                    steps=part.steps,
                    earlier_steps=earlier,
                    clip_skip=request.clip_skip,
                )
            )
            earlier += part.steps
        lease: Any = _Borrowed(self.text_to_image, stacked)
        modules = Modules(lease, self.scheduler_config, self.family)
        stack = ControlStack(lease, controls, prompts, EmbeddingCache(2**20))
        scene = None
        if source and request.source and request.inpaint:
            scene = make_scene(source, mask, request.inpaint, planned.extent, request.source.resize_mode)
        every = together(stack.conditions, conditions)
        return sample_latents(planned, modules, conditioning, source, Unwatched(), every, scene)

    def theirs(
        self,
        request: GenerateRequest,
        source: Image.Image | None = None,
        pipeline: Any = None,
        **changes: Any,
    ) -> torch.Tensor:
        """diffusers' final latents for what `request` says, with `changes` to the pipeline's arguments.

        Args:
            pipeline: another one than that of text, or of text and image.
        """
        pipeline = pipeline or (self.image_to_image if source else self.text_to_image)
        pipeline.scheduler = SCHEDULERS[request.sampler](self.scheduler_config)
        pipeline.set_progress_bar_config(disable=True)
        seeds = range(request.seed, request.seed + request.batch_size)
        arguments: dict[str, Any] = {
            "prompt": [request.prompt] * request.batch_size,
            "negative_prompt": [request.negative_prompt] * request.batch_size,
            "num_inference_steps": request.steps,
            "guidance_scale": request.guidance_scale,
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "output_type": "latent",
        }
        if request.sampler is Sampler.TCD:
            arguments["eta"] = 0.3  # the scheduler's own default; the pipeline would switch it off
        if source and request.source:
            arguments |= {"image": source, "strength": request.source.strength}
        else:
            arguments |= {"width": request.width, "height": request.height}
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            return pipeline(**(arguments | changes)).images

    def _encoders(self) -> TextEncoders:
        suffixes = ("", "_2") if self.family is Family.SDXL else ("",)
        zeros = self.text_to_image.config.get("force_zeros_for_empty_prompt", True)
        return TextEncoders(self.family, tuple(self._encoder(suffix) for suffix in suffixes), zeros)

    def _encoder(self, suffix: str) -> TextEncoder:
        pipeline = self.text_to_image
        tokenizer = getattr(pipeline, f"tokenizer{suffix}")
        return TextEncoder(tokenizer, lambda: getattr(pipeline, f"text_encoder{suffix}"), suffix)
