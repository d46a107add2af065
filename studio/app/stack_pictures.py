"""What the stack of a request needs before the device is touched: its pictures read, its models located."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image

from studio.app.masks import ReadPicture
from studio.core.base import BlobId
from studio.core.conditions import ControlInput
from studio.core.errors import at, below
from studio.core.geometry import Extent, ResizeMode, place
from studio.core.models import ModelInfo, ModelKind
from studio.diffusion.control_stack import PROMPT_MASKS, ControlPictures, PromptPictures
from studio.diffusion.fitting import extent_of
from studio.diffusion.inpaint_scene import InpaintScene
from studio.diffusion.plan import GeneratePlan
from studio.diffusion.plan_control import PlannedControl, PlannedImagePrompt
from studio.diffusion.scene_maps import framed_map, framed_mask, scale_of, where_known
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef, one_a_role
from studio.models.parts import image_encoder_of, part_of

MakeMap = Callable[[Image.Image, ControlInput], tuple[BlobId, Image.Image]]
"""Runs the preprocessor of a control on its picture: where the map is stored, and the map."""


@dataclass(frozen=True)
class StackPictures:
    """Controls and image prompts of a job, ready for a `ControlStack`."""

    controls: tuple[ControlPictures, ...]
    prompts: tuple[PromptPictures, ...]
    refs: tuple[ComponentRef, ...]
    """What to borrow for them, each role once."""

    @property
    def maps(self) -> tuple[BlobId, ...]:
        """The whole map of each control, as it is stored."""
        return tuple(one.stored for one in self.controls)

    def framed(self, scene: InpaintScene) -> StackPictures:
        """The same with every map and mask where the model sees the photo that they belong to.

        Pictures that say how things look stay whole.
        """
        return replace(
            self,
            controls=tuple(_framed_control(one, scene) for one in self.controls),
            prompts=tuple(_framed_prompt(one, scene) for one in self.prompts),
        )


def _framed_control(unit: ControlPictures, scene: InpaintScene) -> ControlPictures:
    mode = unit.planned.entry.resize_mode
    mask = unit.mask or where_known(scene, unit.control_map)
    return replace(
        unit,
        control_map=framed_map(scene, unit.control_map, mode),
        mask=framed_mask(scene, mask, mode) if mask else None,
    )


def _framed_prompt(prompt: PromptPictures, scene: InpaintScene) -> PromptPictures:
    return replace(prompt, mask=framed_mask(scene, prompt.mask, PROMPT_MASKS) if prompt.mask else None)


def read_stack(
    planned: GeneratePlan,
    catalogue: ModelCatalogue,
    read: ReadPicture,
    read_mask: ReadPicture,
    make_map: MakeMap,
) -> StackPictures:
    """Read the pictures and masks, run the preprocessors, and locate what is to be borrowed.

    Args:
        read: gives a stored picture.
        read_mask: gives a stored mask as a grey picture.

    Raises: EaselError, with the field at fault.
    """
    nets = [_part(catalogue, control) for control in planned.controls]
    adapters = [_part(catalogue, prompt) for prompt in planned.image_prompts]
    encoders = [
        _encoder(catalogue, prompt, ref) for prompt, ref in zip(planned.image_prompts, adapters, strict=True)
    ]
    return StackPictures(
        tuple(_control(one, read, make_map, _mask(one, read_mask)) for one in planned.controls),
        tuple(
            _prompt(one, encoder, read, _mask(one, read_mask))
            for one, encoder in zip(planned.image_prompts, encoders, strict=True)
        ),
        one_a_role((*nets, *adapters, *encoders)),
    )


def side_in_frame(
    picture: Image.Image, frame: Extent, mode: ResizeMode, scene: InpaintScene | None = None
) -> int:
    """How long the shorter side of `picture` is where it is used, px; at most what it has.

    Lines that were found at a larger scale are too thin, and fade when their map is made smaller.
    """
    if scene is not None:
        scale = scale_of(scene, extent_of(picture), mode)
    else:
        placement = place(extent_of(picture), frame, mode)
        scale = max(placement.scale_x, placement.scale_y)
    return max(1, round(min(picture.size) * min(1.0, scale)))


def _part(catalogue: ModelCatalogue, unit: PlannedControl | PlannedImagePrompt) -> ComponentRef:
    with at(f"{unit.field}.model"):
        return part_of(catalogue, unit.model)


def _encoder(catalogue: ModelCatalogue, prompt: PlannedImagePrompt, adapter: ComponentRef) -> ComponentRef:
    known: tuple[ModelInfo, ...] = catalogue.models(ModelKind.CLIP_VISION)
    with at(f"{prompt.field}.model"):
        return image_encoder_of(catalogue, adapter, known)


def _control(
    planned: PlannedControl, read: ReadPicture, make_map: MakeMap, mask: Image.Image | None
) -> ControlPictures:
    entry, stored = planned.entry, planned.entry.image
    with at(f"{planned.field}.image"):
        picture = read(stored)
    if entry.preprocessor is not None:
        with below(planned.field):
            stored, picture = make_map(picture, entry)
    return ControlPictures(planned, picture, mask, stored)


def _prompt(
    planned: PlannedImagePrompt, encoder: ComponentRef, read: ReadPicture, mask: Image.Image | None
) -> PromptPictures:
    pictures = []
    for i, blob in enumerate(planned.entry.images):
        with at(f"{planned.field}.images.{i}"):
            pictures.append((blob, read(blob)))
    return PromptPictures(planned, encoder.role, tuple(pictures), mask)


def _mask(planned: PlannedControl | PlannedImagePrompt, read_mask: ReadPicture) -> Image.Image | None:
    with at(f"{planned.field}.mask"):
        return read_mask(planned.entry.mask) if planned.entry.mask else None
