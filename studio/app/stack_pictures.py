"""What the stack of a request needs before the device is touched: its pictures read, its models located."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from PIL import Image

from studio.core.base import BlobId
from studio.core.conditions import ControlInput
from studio.core.errors import EaselError, below
from studio.core.geometry import Extent, ResizeMode, place
from studio.core.models import ModelInfo, ModelKind
from studio.diffusion.control_stack import ControlPictures, PromptPictures
from studio.diffusion.inpaint_scene import InpaintScene
from studio.diffusion.plan import GeneratePlan
from studio.diffusion.plan_control import PlannedControl, PlannedImagePrompt
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef, one_a_role
from studio.models.parts import image_encoder_of, part_of

ReadBlob = Callable[[BlobId], Image.Image]
"""A stored picture. Raises: NotFound, ImageError."""

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

    def cut(self, cut: Callable[[Image.Image], Image.Image]) -> StackPictures:
        """The same with only a part of every map and mask; pictures that say how things look stay whole."""

        def mask_of(unit: ControlPictures | PromptPictures) -> Image.Image | None:
            return cut(unit.mask) if unit.mask else None

        return replace(
            self,
            controls=tuple(
                replace(one, control_map=cut(one.control_map), mask=mask_of(one)) for one in self.controls
            ),
            prompts=tuple(replace(one, mask=mask_of(one)) for one in self.prompts),
        )


def read_stack(
    planned: GeneratePlan, catalogue: ModelCatalogue, read: ReadBlob, make_map: MakeMap
) -> StackPictures:
    """Raises: EaselError, with the field at fault."""
    nets = [_part(catalogue, control) for control in planned.controls]
    adapters = [_part(catalogue, prompt) for prompt in planned.image_prompts]
    encoders = [
        _encoder(catalogue, prompt, ref) for prompt, ref in zip(planned.image_prompts, adapters, strict=True)
    ]
    return StackPictures(
        tuple(_control(control, read, make_map) for control in planned.controls),
        tuple(_prompt(*both, read) for both in zip(planned.image_prompts, encoders, strict=True)),
        one_a_role((*nets, *adapters, *encoders)),
    )


def side_in_frame(
    picture: Image.Image, frame: Extent, mode: ResizeMode, scene: InpaintScene | None = None
) -> int:
    """How long the shorter side of `picture` is where it is used, px; at most what it has.

    Lines that were found at a larger scale are too thin, and fade when their map is made smaller.
    """
    if scene is not None and scene.region is not None:
        left, _, right, _ = scene.region
        scale = frame.width / (right - left) * scene.photo.width / picture.width
    else:
        placement = place(Extent(width=picture.width, height=picture.height), frame, mode)
        scale = max(placement.scale_x, placement.scale_y)
    return max(1, round(min(picture.size) * min(1.0, scale)))


def _part(catalogue: ModelCatalogue, unit: PlannedControl | PlannedImagePrompt) -> ComponentRef:
    with _at(f"{unit.field}.model"):
        return part_of(catalogue, unit.model)


def _encoder(catalogue: ModelCatalogue, prompt: PlannedImagePrompt, adapter: ComponentRef) -> ComponentRef:
    known: tuple[ModelInfo, ...] = catalogue.models(ModelKind.CLIP_VISION)
    with _at(f"{prompt.field}.model"):
        return image_encoder_of(catalogue, adapter, known)


def _control(planned: PlannedControl, read: ReadBlob, make_map: MakeMap) -> ControlPictures:
    entry, stored = planned.entry, planned.entry.image
    with _at(f"{planned.field}.image"):
        picture = read(stored)
    if entry.preprocessor is not None:
        with below(planned.field):
            stored, picture = make_map(picture, entry)
    return ControlPictures(planned, picture, _mask(planned, read), stored)


def _prompt(planned: PlannedImagePrompt, encoder: ComponentRef, read: ReadBlob) -> PromptPictures:
    pictures = []
    for i, blob in enumerate(planned.entry.images):
        with _at(f"{planned.field}.images.{i}"):
            pictures.append((blob, read(blob)))
    return PromptPictures(planned, encoder.role, tuple(pictures), _mask(planned, read))


def _mask(planned: PlannedControl | PlannedImagePrompt, read: ReadBlob) -> Image.Image | None:
    with _at(f"{planned.field}.mask"):
        return read(planned.entry.mask) if planned.entry.mask else None


@contextmanager
def _at(field: str) -> Iterator[None]:
    """Errors in the block get this field, where they name none."""
    try:
        yield
    except EaselError as error:
        error.field = error.field or field
        raise
