"""What a picture can be conditioned on beside its prompt: networks, control maps, image prompts.

Each is one entry of the stack: it names a model of the catalogue, has a weight, and can be switched off
without being forgotten. Any number of each may be stacked.
"""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from studio.core.base import BlobId, ModelId, Record, StrEnum
from studio.core.control_types import ControlType
from studio.core.geometry import ResizeMode
from studio.core.preprocess import Preprocessor

MAX_STACKED = 32
"""Entries of one kind in a request."""


class StackEntry(Record):
    """One model that takes part in a picture."""

    model: ModelId = Field(min_length=1, description="id in the catalogue")
    enabled: bool = Field(True, description="an entry that is switched off stays in the stack, unused")


class RangedEntry(StackEntry):
    """An entry that takes part in a range of the steps only."""

    start: float = Field(0.0, ge=0, le=1, description="share of the steps after which it begins")
    end: float = Field(1.0, ge=0, le=1, description="share of the steps after which it ends")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"the start ({self.start:g}) must lie before the end ({self.end:g})")
        return self

    def is_on(self, step: int, steps: int) -> bool:
        """True at sampling step `step` (from 0) of `steps`; as in diffusers, all of it must lie inside."""
        return self.start <= step / steps and (step + 1) / steps <= self.end


class BlockWeights(Record):
    """Factors on an entry's weight, by the part of the UNet that it changes."""

    down: float = Field(1.0, ge=-2, le=2, description="encoder: composition")
    mid: float = Field(1.0, ge=-2, le=2)
    up: float = Field(1.0, ge=-2, le=2, description="decoder: detail and style")


class LoraInput(RangedEntry):
    """A low-rank change to the weights (LoRA, LoCon, LoHa, LoKr, DoRA)."""

    weight: float = Field(1.0, ge=-10, le=10, description="on the UNet")
    text_encoder_weight: float | None = Field(
        None, ge=-10, le=10, description="on the text encoders; None means as on the UNet"
    )
    blocks: BlockWeights = BlockWeights()


class HypernetworkInput(StackEntry):
    """Small networks before the keys and values of attention (AUTOMATIC1111's hypernetworks)."""

    weight: float = Field(1.0, ge=-10, le=10)


class ControlMode(StrEnum):
    """Who wins where prompt and control disagree."""

    BALANCED = "balanced"
    PROMPT = "prompt"
    """Deeper layers get less of the control."""
    CONTROL = "control"
    """Guess mode: only the conditional half is controlled, and so is a picture without a prompt."""


class ControlInput(RangedEntry):
    """A ControlNet or T2I-Adapter with the picture that it follows."""

    image: BlobId = Field(description="a photo or drawing to preprocess, or a finished map")
    preprocessor: Preprocessor | None = Field(None, description="None: `image` is a finished map")
    weight: float = Field(1.0, ge=0, le=2)
    mode: ControlMode = ControlMode.BALANCED
    resize_mode: ResizeMode = Field(
        ResizeMode.CROP,
        description="how the map is fitted; while inpainting, a map of the photo's shape goes with the photo",
    )
    mask: BlobId | None = Field(None, description="white where the control holds; None: everywhere")
    control_type: ControlType | None = Field(
        None,
        description="what the map shows, which a union ControlNet is told; None: what its preprocessor makes",
    )


class ImagePrompt(RangedEntry):
    """Reference pictures that say how the result should look (IP-Adapter)."""

    images: tuple[BlobId, ...] = Field(min_length=1, max_length=16)
    weight: float = Field(0.6, ge=0, le=2)
    mask: BlobId | None = Field(None, description="white where the pictures count; None: everywhere")
