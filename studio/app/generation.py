"""One generate job on its way through the engine: borrow, encode, denoise, decode, store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from studio.adapters.hypernetwork import hypernetworks_on
from studio.app.networks import Networks
from studio.app.observer import JobObserver
from studio.app.stack_pictures import StackPictures
from studio.diffusion.boxes import BoxScene, BoxStack
from studio.diffusion.conditions import ConditionsOf, no_conditions, together
from studio.diffusion.control_stack import ControlStack
from studio.diffusion.encode import (
    ConditioningSchedule,
    EmbeddingCache,
    TextEncoder,
    TextEncoders,
    encode_prompts,
)
from studio.diffusion.generate import FinishedPicture, Modules, generate
from studio.diffusion.inpaint_scene import InpaintScene
from studio.diffusion.lora_stack import Active, LoraStack
from studio.diffusion.plan import DenoisePass, GeneratePlan
from studio.models.components import Checkpoint, ComponentRef
from studio.models.manager import Lease, ModelManager

_SUFFIXES = ("", "_2")
"""Of the roles `text_encoder` and `tokenizer` in a checkpoint."""


@dataclass
class Generation:
    """A plan being carried out. `stored` grows with every finished picture, so a failed run can go on."""

    plan: GeneratePlan
    checkpoint: Checkpoint
    refs: tuple[ComponentRef, ...]
    """Everything to borrow; the VAE may come from elsewhere than the checkpoint."""
    networks: Networks
    """Textual inversions and hypernetworks."""
    manager: ModelManager
    embeddings: EmbeddingCache
    observer: JobObserver
    source: Image.Image | None
    scene: InpaintScene | None
    """The source with its mask, where a part of it is painted anew."""
    stack: StackPictures
    boxes: BoxScene | None
    store: Callable[[FinishedPicture], None]
    stored: int = 0
    """Pictures that are in the library."""

    def run(self, *, lean: bool = False) -> None:
        """Make the pictures that are still missing.

        Args:
            lean: keep only the module being run on the device.
        """
        with self.manager.lease(self.refs, lean=lean, loading=self.observer.phase) as lease:
            loras = self._loras(lease)
            hypernetworks = [one.read(lease) for one in self.networks.hypernetworks]
            self.observer.phase("Reading the prompt")
            conditioning = self._conditioning(lease, loras)
            modules = Modules(lease, self.checkpoint.scheduler_config, self.checkpoint.family)
            done = self.stored // self.plan.request.batch_size
            controls = ControlStack(lease, self.stack.controls, self.stack.prompts, self.embeddings)
            conditions = together(loras.conditions, controls.conditions, self._boxes(lease, loras))
            with hypernetworks_on(lease.peek("unet"), hypernetworks):
                for picture in generate(
                    self.plan,
                    modules,
                    conditioning,
                    self.source,
                    self.observer,
                    done,
                    conditions,
                    self.scene,
                ):
                    self.store(picture)
                    self.stored += 1

    def _loras(self, lease: Lease) -> LoraStack:
        stack = LoraStack(lease, self.plan.loras)
        for note in stack.notes:
            self.observer.log(note)
        return stack

    def _boxes(self, lease: Lease, loras: LoraStack) -> ConditionsOf:
        """The boxes; their phrases are read as the prompt of the first step is."""
        if self.boxes is None:
            return no_conditions
        encoders = self._encoders(lease, loras, loras.text_sets(self.plan.first)[0])
        return BoxStack(lease, self.boxes, encoders, self.embeddings).conditions

    def _conditioning(self, lease: Lease, loras: LoraStack) -> list[ConditioningSchedule]:
        """The text of every pass."""
        schedules, earlier = [], 0
        for part in self.plan.passes:
            sets = loras.text_sets(part)
            encoded = {
                active: self._encode(part, earlier, self._encoders(lease, loras, active))
                for active in dict.fromkeys(sets)
            }
            schedules.append(
                ConditioningSchedule([encoded[active].at(step) for step, active in enumerate(sets)])
            )
            earlier += part.steps
        return schedules

    def _encode(self, part: DenoisePass, earlier: int, encoders: TextEncoders) -> ConditioningSchedule:
        request = self.plan.request
        return encode_prompts(
            request.prompt,
            request.negative_prompt,
            encoders,
            self.embeddings,
            steps=part.steps,
            earlier_steps=earlier,
            clip_skip=request.clip_skip,
        )

    def _encoders(self, lease: Lease, loras: LoraStack, active: Active) -> TextEncoders:
        """The text encoders with the LoRAs `active` on them, as soon as they are asked for."""
        suffixes = [suffix for suffix in _SUFFIXES if f"text_encoder{suffix}" in lease.roles]
        return TextEncoders(
            self.checkpoint.family,
            tuple(self._encoder(lease, suffix, loras, active) for suffix in suffixes),
            force_zeros_for_empty_prompt=self.checkpoint.force_zeros_for_empty_prompt,
            embeddings={one.planned.name: one.read(lease) for one in self.networks.embeddings},
        )

    def _encoder(self, lease: Lease, suffix: str, loras: LoraStack, active: Active) -> TextEncoder:
        role, words = f"text_encoder{suffix}", self.checkpoint.components[f"tokenizer{suffix}"]
        return TextEncoder(
            tokenizer=self.manager.tokenizer(words),
            model=lambda: loras.put_on(role, active),
            digest=f"{lease.digest(role)}/{words.digest}/{loras.digest(role, active)}",
        )
