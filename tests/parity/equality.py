"""The request that both sides answer, and how near their latents must be."""

from __future__ import annotations

from collections.abc import Callable

import torch

from studio.core.requests import GenerateRequest, SourceImage
from studio.core.samplers import Sampler
from tests.parity.sides import SEED

TOLERANCE = 1e-4
"""Largest difference of any latent, float32."""

REQUEST = GenerateRequest(
    model="tiny",
    prompt="a red ball and a blue house",
    negative_prompt="grass",
    width=64,
    height=80,
    steps=6,
    seed=SEED,
    sampler=Sampler.DDIM,
)
IMG2IMG = REQUEST.model_copy(update={"source": SourceImage(image="0" * 64, strength=0.7)})

Record = Callable[[float], None]


def assert_equal(
    ours: torch.Tensor, theirs: torch.Tensor, record: Record, without: torch.Tensor | None = None
) -> None:
    """Args: without: what theirs would be without that which the test is about."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1, "the reference is no picture, so equality would prove nothing"
    if without is not None:
        assert (theirs - without).abs().max() > 0.05, "it does nothing, so equality would prove nothing"
    difference = (ours - theirs).abs().max().item()
    record(difference)
    assert difference <= TOLERANCE
