"""What the denoising loop is conditioned on beside text: each condition adds its part to every UNet call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from studio.core.geometry import Extent


@dataclass
class UnetCall:
    """The arguments of one UNet call. R rows for each of B pictures, the unconditional first."""

    sample: torch.Tensor
    """(R * B, 4, H/8, W/8); a condition may append channels."""
    timestep: torch.Tensor
    """(R * B,), 0-999."""
    prompt_embeds: torch.Tensor
    """(R * B, T, C); the same tensor at every step while the prompt does not change."""
    added: dict[str, torch.Tensor] | None
    """SDXL's `text_embeds` (R * B, P) and `time_ids` (R * B, 6)."""
    batch: int
    """B: pictures in a pass."""
    has_unconditional: bool
    """True where the first B rows are the unconditional half of guidance."""
    step: int
    """Sampling step, counted from 0 among those of this pass that are run."""
    steps: int
    """How many are run."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the UNet: residuals of ControlNets, boxes, ..."""


class Condition(Protocol):
    def contribute(self, call: UnetCall) -> None:
        """Add this condition's part to `call`; leave it alone at a step where the condition is off."""


ConditionsOf = Callable[[Extent], AbstractContextManager[Sequence[Condition]]]
"""The conditions of a pass that makes pictures of a size. What they attach to the models comes off with the
context."""


def together(*sources: ConditionsOf) -> ConditionsOf:
    """The conditions of all `sources`, attached in order and taken off in the opposite one."""

    @contextmanager
    def conditions(extent: Extent) -> Iterator[Sequence[Condition]]:
        with ExitStack() as attached:
            yield [one for source in sources for one in attached.enter_context(source(extent))]

    return conditions


@contextmanager
def no_conditions(_: Extent) -> Iterator[Sequence[Condition]]:
    """Text alone."""
    yield ()
