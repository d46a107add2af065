"""Boxes with phrases in the denoising loop: GLIGEN's layers on the UNet for the first steps of each pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image

from studio.adapters.gligen import (
    BoxedObject,
    ObjectFeature,
    grafted,
    object_tokens,
    picture_feature,
)
from studio.core.boxes import Boxes
from studio.core.errors import CorruptFile, NumericalError, OutOfMemory
from studio.core.geometry import Box, Extent, ResizeMode, place
from studio.diffusion.conditions import Condition, UnetCall
from studio.diffusion.encode import EmbeddingCache, TextEncoders, encode_phrase
from studio.diffusion.inpaint_scene import Region
from studio.diffusion.plan_boxes import PlannedBoxes
from studio.diffusion.prompt import Span
from studio.models.gligen import GligenGraft
from studio.models.manager import Lease


@dataclass(frozen=True)
class FramedBox:
    """A box in the model's frame, with its picture read."""

    box: Box
    phrase: str = ""
    picture: tuple[str, Image.Image] | None = None
    """With its content hash, under which what the encoder sees in it is remembered."""


@dataclass(frozen=True)
class BoxScene:
    """The boxes of a job, ready for a `BoxStack`."""

    planned: PlannedBoxes
    boxes: tuple[FramedBox, ...]
    """Those that the model's frame shows; none may be left."""
    encoder_role: str = ""
    projection_role: str = ""
    """Roles of what makes features of pictures; empty where no box has one."""


def framed_box(
    box: Box, picture: Extent, extent: Extent, mode: ResizeMode, region: Region | None = None
) -> Box | None:
    """A box of a picture as a box of the model's frame, cut off at its border; None where nothing is left.

    Args:
        picture: size of the picture that the box was drawn on.
        extent: of the frame.
        mode: how the picture is fitted to the frame; a region fills it.
        region: the part of the picture that is shown; None: all of it.
    """
    left, top, right, bottom = region or (0, 0, picture.width, picture.height)
    shown = Extent(width=right - left, height=bottom - top)
    placed = place(shown, extent, ResizeMode.STRETCH if region else mode)
    x0, y0 = placed.point(box.x0 * picture.width - left, box.y0 * picture.height - top)
    x1, y1 = placed.point(box.x1 * picture.width - left, box.y1 * picture.height - top)
    sides = (x0 / extent.width, y0 / extent.height, x1 / extent.width, y1 / extent.height)
    x0, y0, x1, y1 = (min(1.0, max(0.0, side)) for side in sides)
    return Box(x0=x0, y0=y0, x1=x1, y1=y1) if x1 > x0 and y1 > y0 else None


class BoxStack:
    """The boxes of one job. Phrases are encoded at once, the layers are borrowed when a pass begins.

    Args:
        lease: holds the roles of the graft and of what reads pictures.
        encoders: the checkpoint's, with the adapters and learned words that change what the prompt means.
        cache: where features of phrases and pictures are remembered across requests.
    """

    def __init__(self, lease: Lease, scene: BoxScene, encoders: TextEncoders, cache: EmbeddingCache) -> None:
        self._lease = lease
        self._scene = scene
        self._encoders = encoders
        self._cache = cache
        self._objects = [
            BoxedObject(one.box, self._phrase(one.phrase), self._picture(one.picture)) for one in scene.boxes
        ]
        self._tokens: tuple[torch.Tensor, torch.Tensor] | None = None

    @contextmanager
    def conditions(self, _: Extent) -> Iterator[Sequence[Condition]]:
        """The boxes for one pass; the graft comes off at its end."""
        layout = self._scene.planned.layout
        if not self._objects or not self._scene.planned.acts:
            yield ()
            return
        graft = self._graft()
        if self._tokens is None:
            self._tokens = object_tokens(graft, self._objects)
        try:
            with self._named_where_at_fault(graft), grafted(self._lease.peek("unet"), graft, layout.strength):
                yield (BoxCondition(self._graft_on, self._tokens, layout),)
        finally:
            if self._lease.lean:
                graft.to("cpu")  # where the manager believes it to be

    @contextmanager
    def _named_where_at_fault(self, graft: GligenGraft) -> Iterator[None]:
        """Raises: CorruptFile: a pass in the block gave no numbers, and nor do the layers."""
        try:
            yield
        except NumericalError as error:
            if all(bool(torch.isfinite(weights).all()) for weights in graft.parameters()):
                raise
            raise CorruptFile(
                f"{self._scene.planned.model.name} holds values that are not numbers (NaN).",
                "Download it again, or choose another GLIGEN model.",
                field="boxes.model",
            ) from error

    def _graft(self) -> GligenGraft:
        graft: GligenGraft = self._lease.get(self._scene.planned.role)
        return graft

    def _graft_on(self, device: torch.device) -> None:
        """Bring the layers to where the UNet runs. A lean lease has room for one module: unasked.

        Raises: OutOfMemory: there was no room for both, and the UNet had to go.
        """
        if self._lease.lean:
            self._lease.peek(self._scene.planned.role).to(device)
            return
        self._graft()
        if next(self._lease.peek("unet").parameters()).device != device:
            raise OutOfMemory(
                "The layers for boxes and the UNet need to be on the device together, and do not fit.",
                "Close other programs that use it, or take the boxes away.",
            )

    def _phrase(self, phrase: str) -> ObjectFeature | None:
        if not phrase.strip():
            return None
        segment = (Span(phrase),)
        return self._cache.get(
            ("phrase", self._encoders.key([segment]), phrase),
            lambda: ObjectFeature(encode_phrase(segment, self._encoders)),
        )

    def _picture(self, picture: tuple[str, Image.Image] | None) -> ObjectFeature | None:
        if picture is None:
            return None
        roles = (self._scene.encoder_role, self._scene.projection_role)
        blob, image = picture
        key = ("boxed picture", *map(self._lease.digest, roles), blob)
        return self._cache.get(key, partial(self._look, image))

    def _look(self, image: Image.Image) -> ObjectFeature:
        encoder, projection = (
            partial(self._lease.get, role) for role in (self._scene.encoder_role, self._scene.projection_role)
        )
        return picture_feature(encoder, projection, image)


class BoxCondition:
    """Tells the grafted layers of the objects in the first steps of a pass, as scheduled sampling does.

    Args:
        graft_on: brings the layers to a device.
        tokens: (1, K, D) of no object and of all.
        layout: says at how many steps.
    """

    def __init__(
        self,
        graft_on: Callable[[torch.device], None],
        tokens: tuple[torch.Tensor, torch.Tensor],
        layout: Boxes,
    ) -> None:
        self._graft_on = graft_on
        self._tokens = tokens
        self._layout = layout
        self._rows: tuple[tuple[int, int], torch.Tensor] | None = None

    def contribute(self, call: UnetCall) -> None:
        if call.step >= self._layout.steps_on(call.steps):
            return
        self._graft_on(call.sample.device)
        objs = self._for_rows(len(call.sample), call.batch if call.has_unconditional else 0)
        call.arguments["cross_attention_kwargs"] = {"gligen": {"objs": objs.to(call.sample)}}

    def _for_rows(self, rows: int, unconditional: int) -> torch.Tensor:
        """(rows, K, D); the unconditional ones come first and see no object."""
        if self._rows is None or self._rows[0] != (rows, unconditional):
            nothing, objects = self._tokens
            stacked = torch.cat(
                [nothing.expand(unconditional, -1, -1), objects.expand(rows - unconditional, -1, -1)]
            )
            self._rows = (rows, unconditional), stacked
        return self._rows[1]
