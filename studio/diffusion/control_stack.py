"""The controls and image prompts of a request, as conditions of the denoising loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import starmap

import torch
from PIL import Image

from studio.adapters.ip_adapter import ImageAttention, ImageTokens, check_fits, image_tokens
from studio.core.base import BlobId
from studio.core.conditions import ImagePrompt
from studio.core.geometry import Extent, ResizeMode
from studio.core.models import ModelKind
from studio.diffusion.attention import cached_cross_attention, image_attention
from studio.diffusion.conditions import Condition, UnetCall
from studio.diffusion.controls import ControlNetCondition
from studio.diffusion.encode import EmbeddingCache
from studio.diffusion.fitting import fit_picture
from studio.diffusion.pictures import fit_mask, to_tensor
from studio.diffusion.plan_control import PlannedControl, PlannedImagePrompt
from studio.diffusion.t2i import T2IAdapterCondition
from studio.diffusion.union import UnionCondition, UnionMap
from studio.models.manager import Lease

PROMPT_MASKS = ResizeMode.CROP
"""How masks of image prompts are fitted, which say nothing of it themselves."""


@dataclass(frozen=True)
class ControlPictures:
    """A control with its pictures read and preprocessed."""

    planned: PlannedControl
    control_map: Image.Image
    mask: Image.Image | None = None
    stored: BlobId = ""
    """Where the whole map is stored."""


@dataclass(frozen=True)
class PromptPictures:
    """An image prompt with its pictures read."""

    planned: PlannedImagePrompt
    encoder_role: str
    """Role of the image encoder that its adapter was trained with."""
    pictures: tuple[tuple[BlobId, Image.Image], ...]
    """Each with its content hash, under which what the encoder sees in it is remembered."""
    mask: Image.Image | None = None


def in_one_pass(controls: Iterable[ControlPictures]) -> list[list[ControlPictures]]:
    """The units in order, those together that one union ControlNet reads in one forward pass.

    They have their mode and their mask in common, which count for what the net makes of all its maps.
    """
    passes: dict[tuple[object, ...], list[ControlPictures]] = {}
    for number, unit in enumerate(controls):
        planned, entry = unit.planned, unit.planned.entry
        masked = (entry.mask, entry.resize_mode) if entry.mask else (unit.mask is None,)
        key = (number,) if planned.task is None else (planned.role, entry.mode, *masked)
        passes.setdefault(key, []).append(unit)
    return list(passes.values())


def _union_map(unit: ControlPictures, control_map: torch.Tensor) -> UnionMap:
    assert unit.planned.task is not None
    return UnionMap(unit.planned.entry, unit.planned.task, control_map)


class ControlStack:
    """Makes the conditions of each pass, and remembers those of a size for the batches that follow.

    Args:
        lease: holds the role of every control and image prompt, and of the image encoders.
        cache: where the tokens of pictures are remembered across requests.
    """

    def __init__(
        self,
        lease: Lease,
        controls: Sequence[ControlPictures],
        prompts: Sequence[PromptPictures],
        cache: EmbeddingCache,
    ) -> None:
        self._lease = lease
        self._controls = controls
        self._prompts = prompts
        self._cache = cache
        self._made: dict[Extent, list[Condition]] = {}

    @contextmanager
    def conditions(self, extent: Extent) -> Iterator[Sequence[Condition]]:
        """The conditions of a pass that makes pictures of `extent`; what they attach comes off at its end."""
        if extent not in self._made:
            self._made[extent] = [self._control(units, extent) for units in in_one_pass(self._controls)]
        prompts = [self._prompt(prompt, extent) for prompt in self._prompts]
        with ExitStack() as attached:
            for role in self._net_roles:
                attached.enter_context(cached_cross_attention(self._lease.get(role)))
            if prompts:
                attentions = [prompt.attention for prompt in prompts]
                attached.enter_context(image_attention(self._lease.get("unet"), attentions))
            yield [*self._made[extent], *prompts]

    @property
    def _net_roles(self) -> tuple[str, ...]:
        planned = (control.planned for control in self._controls)
        return tuple(dict.fromkeys(p.role for p in planned if p.model.kind is ModelKind.CONTROLNET))

    def _control(self, units: Sequence[ControlPictures], extent: Extent) -> Condition:
        """The condition of a unit, or of several that one net reads together."""
        planned, entry = units[0].planned, units[0].planned.entry
        net = partial(self._lease.get, planned.role)
        mask = self._mask(units[0].mask, extent, entry.resize_mode)
        maps = [_map_tensor(unit.control_map, extent, unit.planned.entry.resize_mode) for unit in units]
        if planned.task is not None:
            return UnionCondition(net, list(starmap(_union_map, zip(units, maps, strict=True))), mask)
        is_net = planned.model.kind is ModelKind.CONTROLNET
        return (ControlNetCondition if is_net else T2IAdapterCondition)(net, entry, maps[0], mask)

    def _prompt(self, prompt: PromptPictures, extent: Extent) -> ImagePromptCondition:
        adapter = self._lease.get(prompt.planned.role)
        check_fits(adapter, self._lease.get("unet"), prompt.planned.field)
        entry = prompt.planned.entry
        tokens = [self._tokens(prompt, blob, picture) for blob, picture in prompt.pictures]
        nothing = self._tokens(prompt, "", None)
        mask = self._mask(prompt.mask, extent, PROMPT_MASKS)
        adapter = self._lease.get(prompt.planned.role)
        return ImagePromptCondition(entry, ImageAttention(adapter, tokens, nothing, entry.weight, mask))

    def _tokens(self, prompt: PromptPictures, blob: str, picture: Image.Image | None) -> ImageTokens:
        roles = (prompt.planned.role, prompt.encoder_role)
        key = ("image", *(self._lease.digest(role) for role in roles), blob)
        adapter, encoder = (partial(self._lease.get, role) for role in roles)
        return self._cache.get(key, lambda: image_tokens(adapter(), encoder(), picture))

    def _mask(self, mask: Image.Image | None, extent: Extent, mode: ResizeMode) -> torch.Tensor | None:
        return None if mask is None else fit_mask(mask, extent, mode).to(self._lease.device)


def _map_tensor(control_map: Image.Image, extent: Extent, mode: ResizeMode) -> torch.Tensor:
    """(1, 3, H, W), 0-1; -1 where it is transparent, which tells an inpainting ControlNet to paint anew."""
    values = to_tensor(fit_picture(control_map, extent, mode)) / 2 + 0.5
    if control_map.mode != "RGBA":
        return values
    kept = fit_mask(control_map.getchannel("A"), extent, mode) >= 0.5
    return torch.where(kept, values, -1.0)


class ImagePromptCondition:
    """Turns an image prompt on and off; its attention layers do the rest."""

    def __init__(self, entry: ImagePrompt, attention: ImageAttention) -> None:
        self._entry = entry
        self.attention = attention

    def contribute(self, call: UnetCall) -> None:
        if self._entry.weight == 0 or not self._entry.is_on(call.step, call.steps):
            self.attention.turn_off()
            return
        height, width = call.sample.shape[-2:]
        unconditional = call.batch if call.has_unconditional else 0
        self.attention.turn_on(len(call.sample), unconditional, (height, width))
