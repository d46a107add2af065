"""Changed weights of a module, kept as differences to what its file holds.

The weights that a LoRA touches are computed from the pristine ones each time, so nothing accumulates: the
same stack gives the same bits whatever was on before, and what is taken off leaves the tensors of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from studio.adapters.lora.layers import Factors, LoraLayer
from studio.adapters.overflow import Change, check_finite
from studio.core.conditions import BlockWeights
from studio.models.packing import PackedWeight, packed_weight, set_packed_weight

_CHUNK = 2**18
"""Elements computed at a time on a CPU: what fits into its cache."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A LoRA as it acts on one module."""

    digest: str
    """Of its content."""
    layers: Mapping[str, LoraLayer]
    """By the path of the layer in the module."""
    weight: float
    blocks: BlockWeights = field(default_factory=BlockWeights)
    """Factors by the part of a UNet."""
    name: str = "The LoRA"
    """For sentences."""
    field: str = ""
    """Of the request, where an error about it belongs."""

    def weight_at(self, path: str) -> float:
        if path.startswith("down_blocks."):
            return self.weight * self.blocks.down
        if path.startswith("mid_block."):
            return self.weight * self.blocks.mid
        if path.startswith("up_blocks."):
            return self.weight * self.blocks.up
        return self.weight

    def change(self, path: str, weight: float) -> Change:
        """What it does at `path`, as strongly as `weight` says."""
        return Change(self.layers[path], weight, f"{self.name} at weight {weight:g}", self.field)


_On = tuple[tuple[str, float], ...]
"""What is on at one layer: digest and weight of each LoRA, in order."""


def stack_digest(patches: Sequence[Patch]) -> str:
    """Tells what a stack does to a module; empty for a stack that does nothing."""
    active = [(p.digest, p.weight, tuple(p.blocks.model_dump().values())) for p in patches if p.weight]
    return hashlib.sha256(repr(sorted(active)).encode()).hexdigest() if active else ""


@dataclass(frozen=True, eq=False)
class _Patched:
    """A layer's weight as some LoRAs make it."""

    on: _On
    weight: Tensor
    packed: PackedWeight | None

    @property
    def size_bytes(self) -> int:
        return self.weight.nbytes * (2 if self.packed is not None else 1)


class WeightPatches:
    """The patches of one module, wherever the module is moved to.

    On the CPU a patched layer gets a tensor of its own, and the pristine one, mapped from its file, waits for
    free; what was on before can be kept for the way back, which takes no time then. Elsewhere the weight is
    changed in place, and main memory keeps a copy of the pristine one.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._layers = dict(module.named_modules())
        self._pristine: dict[str, Tensor] = {}
        self._on: dict[str, _On | None] = {}
        """None where writing failed midway."""
        self._before: dict[str, _Patched] = {}
        """What was on last before, where it was kept."""

    @property
    def size_bytes(self) -> int:
        """Main memory that patching takes beside the module."""
        before = sum(patched.size_bytes for patched in list(self._before.values()))
        return before + sum(pristine.nbytes for pristine in list(self._pristine.values()))

    def growth(self, patches: Sequence[Patch], *, keep: bool = False) -> int:
        """Bytes that `size_bytes` would grow by. Args: keep: as in `apply`."""
        wanted = _wanted(patches)
        new = sum(self._weight(path).nbytes for path in wanted if path not in self._pristine)
        again = (path for path in wanted if path in self._pristine and path not in self._before)
        return new + (2 * sum(self._weight(path).nbytes for path in again) if keep else 0)

    @torch.inference_mode(False)
    @torch.no_grad()
    def apply(self, patches: Sequence[Patch], *, keep: bool = False) -> int:
        """Make these the patches that are on, in any order; none takes all off.

        Only layers whose patches changed are computed anew.

        Args:
            keep: on the CPU, keep what was on until now, with its packed weights, for the way back.

        Returns: how many layers changed.

        Raises: NumericalError: a weight leaves the range of its type. What is on then is not known; the next
            call sees to it.
        """
        wanted = _wanted(patches)
        changed = [path for path in {**self._on, **wanted} if self._on.get(path, ()) != wanted.get(path, ())]
        by_digest = {patch.digest: patch for patch in patches}
        for path in changed:
            if path in wanted:
                stack = [by_digest[digest].change(path, weight) for digest, weight in wanted[path]]
                self._patch(path, wanted[path], stack, keep)
            else:
                self._restore(path)
        return len(changed)

    def _patch(self, path: str, on: _On, stack: Sequence[Change], keep: bool) -> None:
        if path not in self._pristine:
            weight = self._weight(path)
            self._pristine[path] = weight.data if _is_on_host(weight) else weight.data.to("cpu", copy=True)
        shown, before = self._shown(path) if keep else None, self._before.pop(path, None)
        self._on[path] = None
        if before is not None and before.on == on:
            self._weight(path).data = before.weight
            set_packed_weight(self._layers[path], before.packed)
        else:
            self._compute(path, stack, shown, before)
        self._on[path] = on
        if shown is not None:
            self._before[path] = shown

    def _shown(self, path: str) -> _Patched | None:
        """What is on; None where that is nothing, or cannot be kept."""
        weight, on = self._weight(path), self._on.get(path)
        if not on or not _is_on_host(weight):
            return None
        return _Patched(on, weight.data, packed_weight(self._layers[path]))

    def _compute(
        self,
        path: str,
        stack: Sequence[Change],
        shown: _Patched | None,
        before: _Patched | None,
    ) -> None:
        """Write the weight: over the one that is on, unless that is kept; over what was before, or anew."""
        weight, pristine = self._weight(path), self._pristine[path]
        target = weight.data
        if shown is not None or weight.data_ptr() == pristine.data_ptr():
            target = torch.empty_like(pristine) if before is None else before.weight
        _write(target, pristine, [(change.layer, change.weight) for change in stack])
        check_finite(target, pristine, stack, path)
        weight.data = target
        set_packed_weight(self._layers[path], None)

    def _restore(self, path: str) -> None:
        weight, pristine = self._weight(path), self._pristine[path]
        if _is_on_host(weight):
            weight.data = pristine
        else:
            weight.data.copy_(pristine)
        set_packed_weight(self._layers[path], None)
        self._before.pop(path, None)
        del self._pristine[path], self._on[path]

    def _weight(self, path: str) -> Tensor:
        weight: Any = self._layers[path].weight
        tensor: Tensor = weight
        return tensor


def _is_on_host(weight: Tensor) -> bool:
    return weight.device.type == "cpu"


def _wanted(patches: Sequence[Patch]) -> dict[str, _On]:
    """What each layer should have on. One canonical order, so that sums are rounded in one way only."""
    wanted: dict[str, list[tuple[str, float]]] = {}
    for patch in patches:
        for path in patch.layers:
            weight = patch.weight_at(path)
            if weight:
                wanted.setdefault(path, []).append((patch.digest, weight))
    return {path: tuple(sorted(on)) for path, on in wanted.items()}


def _write(target: Tensor, pristine: Tensor, stack: Sequence[tuple[LoraLayer, float]]) -> None:
    """Make `target` the pristine weight plus all differences, summed in float32 and rounded once.

    The low-rank ones are one product of matrices: side by side, their factors have the sum of their ranks.
    """
    pristine = pristine.to(target.device)
    told = [(layer, layer.factors, weight) for layer, weight in stack]
    low_rank = [(factors, layer.scale * weight) for layer, factors, weight in told if factors is not None]
    others = [(layer, weight) for layer, factors, weight in told if factors is None]
    if low_rank and not others and _is_bfloat_matrix(target):
        _write_product(target, pristine, _Product.of(low_rank, target.device, torch.bfloat16))
    else:
        product = _Product.of(low_rank, target.device, torch.float32) if low_rank else None
        _write_sum(target, pristine, product, _sum_of_deltas(others, pristine))


def _is_bfloat_matrix(weight: Tensor) -> bool:
    return weight.dtype is torch.bfloat16 and weight.shape[2:].numel() == 1


@dataclass(frozen=True, eq=False)
class _Product:
    """scale * up @ down is the sum of low-rank differences."""

    up: Tensor
    """(out, R), R the sum of their ranks."""
    down: Tensor
    """(R, in * k * k)"""
    scale: float

    @classmethod
    def of(
        cls, low_rank: Sequence[tuple[Factors, float]], device: torch.device, dtype: torch.dtype
    ) -> _Product:
        """Of at least one pair of factors, each with its scale; a single one is taken as its file has it."""
        if len(low_rank) == 1:
            ((up, down), scale) = low_rank[0]
            return cls(up.to(device, dtype), down.to(device, dtype), scale)
        ups = [up.to(device, torch.float32) * scale for (up, _), scale in low_rank]
        downs = [down.to(device, dtype) for (_, down), _ in low_rank]
        return cls(torch.cat(ups, dim=1).to(dtype), torch.cat(downs), 1.0)


def _write_product(target: Tensor, pristine: Tensor, product: _Product) -> None:
    """As `_write_sum`, several times faster: a product of bfloat16 is summed in float32, the weight included.

    What its factors lose to bfloat16 is less than what the sum does, since differences are small.
    """
    matrix, before = target.view(target.shape[:2]), pristine.view(target.shape[:2])
    torch.addmm(before, product.up, product.down, alpha=product.scale, out=matrix)


def _write_sum(target: Tensor, pristine: Tensor, product: _Product | None, delta: Tensor | None) -> None:
    rows = len(target) if target.device.type != "cpu" else max(1, _CHUNK // pristine[0].numel())
    for start in range(0, len(target), rows):
        part = slice(start, start + rows)
        result = pristine[part].to(torch.float32, copy=True).flatten(1)
        if product is not None:
            result.addmm_(product.up[part], product.down, alpha=product.scale)
        if delta is not None:
            result += delta[part].flatten(1)
        target[part].copy_(result.view(target[part].shape))


def _sum_of_deltas(stack: Sequence[tuple[LoraLayer, float]], pristine: Tensor) -> Tensor | None:
    total: Tensor | None = None
    for layer, weight in stack:
        delta = layer.to(pristine.device).delta(pristine, weight)
        total = delta if total is None else total + delta
    return total
