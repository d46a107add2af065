"""The LoRAs of a request, on the modules for the steps at which they are on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from studio.adapters.lora import LoraLayer, LoraNetwork, Targets, lora_targets, read_lora
from studio.adapters.patches import Patch, WeightPatches, stack_digest
from studio.core.conditions import BlockWeights
from studio.core.errors import at
from studio.core.geometry import Extent
from studio.diffusion.conditions import Condition, UnetCall
from studio.diffusion.plan import DenoisePass
from studio.diffusion.plan_stack import PlannedLora
from studio.models.manager import Lease
from studio.models.tensor_file import TensorFile

PATCHED_ROLES = ("unet", "text_encoder", "text_encoder_2")

Active = frozenset[int]
"""Which LoRAs of a stack are on, by their place in it."""


@dataclass(frozen=True)
class _Lora:
    planned: PlannedLora
    digest: str
    network: LoraNetwork

    def weight_on(self, role: str) -> float:
        return self.planned.entry.weight if role == "unet" else self.planned.text_encoder_weight


class LoraStack:
    """The LoRAs of one job, read and checked. An empty stack takes off what earlier jobs put on.

    Args:
        lease: holds the modules of the checkpoint, and the role of every LoRA.

    Raises:
        EaselError: a file is broken or made for another model, with the field at fault. No device is touched.
    """

    def __init__(self, lease: Lease, planned: Sequence[PlannedLora]) -> None:
        self._lease = lease
        targets = _Targets(lease)
        self._loras = [_Lora(lora, lease.digest(lora.role), _read(lease, lora, targets)) for lora in planned]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the files, as sentences."""
        return tuple(
            f"{len(lora.network.strangers)} layers of {lora.planned.model.name} have no place in this model "
            "and are left out."
            for lora in self._loras
            if lora.network.strangers
        )

    def active(self, step: int, steps: int) -> Active:
        """Those that are on at a step, of `steps` that are run."""
        return frozenset(
            i for i, lora in enumerate(self._loras) if lora.planned.entry.is_on(step, max(steps, 1))
        )

    def text_sets(self, part: DenoisePass) -> list[Active]:
        """Those that change the text encoders, for every step of a pass's whole schedule."""
        telling = {i for i, lora in enumerate(self._loras) if self._changes_text(lora)}
        steps = (max(0, step - part.skipped) for step in range(part.steps))
        return [self.active(step, part.steps_run) & telling for step in steps]

    def digest(self, role: str, active: Active) -> str:
        """Tells what the stack makes of a module; empty where it leaves it as it is."""
        return stack_digest(self._patches(role, active))

    def put_on(self, role: str, active: Active) -> Any:
        """The module of `role`, on its device, changed by the LoRAs `active` and by no others."""
        module = self._lease.get(role)
        patches: WeightPatches = self._lease.derived(role, "patches", WeightPatches)
        wanted = self._patches(role, active)
        keep = self._lease.has_room(patches.growth(wanted, keep=True))
        self._lease.make_room(role, patches.growth(wanted))
        patches.apply(wanted, keep=keep)
        return module

    @contextmanager
    def conditions(self, _: Extent) -> Iterator[Sequence[Condition]]:
        """What keeps the UNet's LoRAs to their range of steps."""
        yield (LoraCondition(self),)

    def _patches(self, role: str, active: Active) -> list[Patch]:
        return [
            Patch(
                lora.digest,
                _layers_of(lora.network, role),
                lora.weight_on(role),
                lora.planned.entry.blocks if role == "unet" else BlockWeights(),
                lora.planned.model.name,
                lora.planned.field,
            )
            for i, lora in enumerate(self._loras)
            if i in active and role in lora.network.roles
        ]

    def _changes_text(self, lora: _Lora) -> bool:
        return bool(lora.network.roles - {"unet"}) and lora.planned.text_encoder_weight != 0


class LoraCondition:
    """Puts LoRAs on the UNet and takes them off where their range of steps begins and ends."""

    def __init__(self, stack: LoraStack) -> None:
        self._stack = stack
        self._on: Active | None = None
        self._embeds: tuple[torch.Tensor, torch.Tensor] | None = None

    def contribute(self, call: UnetCall) -> None:
        active = self._stack.active(call.step, call.steps)
        if active != self._on:
            self._stack.put_on("unet", active)
            self._embeds = None
            self._on = active
        call.prompt_embeds = self._alias(call.prompt_embeds)

    def _alias(self, embeds: torch.Tensor) -> torch.Tensor:
        """The same numbers in a tensor that is new whenever the weights are.

        Cross-attention remembers what it projected by the identity of the embeddings; with other weights that
        must be forgotten.
        """
        if self._embeds is None or self._embeds[0] is not embeds:
            self._embeds = (embeds, embeds.view_as(embeds))
        return self._embeds[1]


class _Targets:
    """The layers that a LoRA can change in the modules of a lease."""

    def __init__(self, lease: Lease) -> None:
        self._parts: list[_Part] = [
            lease.derived(role, "lora targets", partial(_Part, role), on_device=False)
            for role in PATCHED_ROLES
            if role in lease.roles
        ]

    @property
    def digest(self) -> str:
        """Tells models of these layers from others."""
        return " ".join(part.digest for part in self._parts)

    def all(self) -> Targets:
        return {name: shape for part in self._parts for name, shape in part.targets.items()}


class _Part:
    """Those of one module."""

    def __init__(self, role: str, module: torch.nn.Module) -> None:
        self.targets = lora_targets({role: module})
        self.digest = hashlib.sha256(repr(sorted(self.targets.items())).encode()).hexdigest()


def _read(lease: Lease, planned: PlannedLora, targets: _Targets) -> LoraNetwork:
    """The LoRA fitted to a model of these layers: read once, and kept as long as its file is."""

    def read(file: TensorFile) -> LoraNetwork:
        return read_lora(file.tensors, targets.all(), planned.model.name, file.metadata)

    with at(planned.field):
        network: LoraNetwork = lease.derived(planned.role, f"network {targets.digest}", read, on_device=False)
    return network


def _layers_of(network: LoraNetwork, role: str) -> dict[str, LoraLayer]:
    """The layers of one component, by their paths in its module."""
    prefix = f"{role}."
    return {
        name.removeprefix(prefix): layer for name, layer in network.layers.items() if name.startswith(prefix)
    }
