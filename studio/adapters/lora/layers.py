"""The kinds of LoRA, each a closed formula for the difference that it makes to one weight.

W is a weight of shape (out, in) or (out, in, k, k), s = alpha / rank:

| kind  | difference                                                      | paper                           |
|-------|-----------------------------------------------------------------|---------------------------------|
| LoRA  | s * up @ down                                                   | Hu et al. 2021                  |
| LoCon | the same for convolutions, also with a core (Tucker)            | Yeh et al. 2023 (LyCORIS)       |
| LoHa  | s * (w1_a @ w1_b) * (w2_a @ w2_b), elementwise                  | Hyeon-Woo et al. 2021 (FedPara) |
| LoKr  | s * kron(w1, w2)                                                | Yeh et al. 2023 (LyCORIS)       |
| DoRA  | m * (W + D) / norm(W + D) - W, D the difference of another kind | Liu et al. 2024                 |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from math import inf, prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

Factors = tuple[Tensor, Tensor]
"""Up (out, r) and down (r, in * k * k): their product is a difference."""


@dataclass(frozen=True, eq=False)
class LoraLayer(ABC):
    """What a LoRA does to one weight."""

    alpha: float
    """The difference counts alpha / rank."""

    kind: ClassVar[str]
    """As people call it: 'LoRA', 'LoHa', ..."""

    @property
    @abstractmethod
    def rank(self) -> int: ...

    @property
    @abstractmethod
    def matrix_shape(self) -> tuple[int, int]:
        """(out, in * k * k) of the weights that it fits."""

    @property
    @abstractmethod
    def kernel(self) -> tuple[int, ...]:
        """(k, k) of the convolutions that it fits; empty where its parts are matrices, which do not tell."""

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @abstractmethod
    def difference(self, shape: torch.Size) -> Tensor:
        """The difference at full strength to a weight of `shape`, float32, before `scale`."""

    def delta(self, pristine: Tensor, weight: float) -> Tensor:
        """What to add to the weight `pristine` for a LoRA of strength `weight`: float32, of its shape."""
        return self.difference(pristine.shape) * (self.scale * weight)

    def to(self, device: torch.device) -> Self:
        """The same layer with its tensors on `device`."""
        return replace(self, **{f.name: _moved(getattr(self, f.name), device) for f in fields(self)})

    @property
    def factors(self) -> Factors | None:
        """The two matrices whose product times `scale` is the difference; None for other kinds."""
        return None

    @property
    def bound(self) -> float:
        """Neither the difference before `scale` nor a factor of it has a larger number; inf where unknown."""
        return inf


@dataclass(frozen=True, eq=False)
class LowRank(LoraLayer):
    """LoRA, and LoCon for convolutions."""

    up: Tensor
    """(out, r) or (out, r, 1, 1)"""
    down: Tensor
    """(r, in), (r, in, k, k), or with a core (r, in, 1, 1)"""
    core: Tensor | None = None
    """(r, r, k, k): Tucker's decomposition of a convolution."""

    kind = "LoRA"

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.up.shape[0], _columns(self.down, self.core)

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple((self.down if self.core is None else self.core).shape[2:])

    @property
    def factors(self) -> Factors | None:
        return None if self.core is not None else (self.up.flatten(1), self.down.flatten(1))

    @cached_property
    def bound(self) -> float:
        if self.core is not None:
            return inf
        up, down = (max(1.0, float(factor.float().abs().max())) for factor in (self.up, self.down))
        return self.rank * up * down

    def difference(self, shape: torch.Size) -> Tensor:
        up, down = self.up.flatten(1).float(), self.down.flatten(1).float()
        if self.core is None:
            return (up @ down).reshape(shape)
        return _tucker(self.core.float(), up.T, down).reshape(shape)


@dataclass(frozen=True, eq=False)
class Hadamard(LoraLayer):
    """LoHa: two low-rank matrices, multiplied element by element."""

    w1: Factors
    """(out, r) and (r, in * k * k); with cores (r, out) and (r, in)"""
    w2: Factors
    cores: Factors | None = None
    """Each (r, r, k, k)."""

    kind = "LoHa"

    @property
    def rank(self) -> int:
        return self.w1[1].shape[0]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        a, b = self.w1
        return (a.shape[1], _columns(b, self.cores[0])) if self.cores else (a.shape[0], _columns(b, None))

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple((self.cores[0] if self.cores else self.w1[1]).shape[2:])

    def difference(self, shape: torch.Size) -> Tensor:
        (w1_a, w1_b), (w2_a, w2_b) = (_matrices(factors) for factors in (self.w1, self.w2))
        if self.cores is None:
            return ((w1_a @ w1_b) * (w2_a @ w2_b)).reshape(shape)
        t1, t2 = (core.float() for core in self.cores)
        return (_tucker(t1, w1_a, w1_b) * _tucker(t2, w2_a, w2_b)).reshape(shape)


@dataclass(frozen=True, eq=False)
class Kronecker(LoraLayer):
    """LoKr: every element of a small matrix times the whole of another one."""

    w1: tuple[Tensor, ...]
    """(a, b), or two factors of it"""
    w2: tuple[Tensor, ...]
    """(c, d) or (c, d, k, k), or two factors of it; with a core (r, c) and (r, d)"""
    core: Tensor | None = None
    """(r, r, k, k)"""

    kind = "LoKr"

    @property
    def rank(self) -> int:
        """Of the factorised half; 1 where neither is, for alpha does not count then."""
        factorised = [half[1].shape[0] for half in (self.w1, self.w2) if len(half) == 2]
        return factorised[0] if factorised else 1

    @property
    def matrix_shape(self) -> tuple[int, int]:
        rows = self.w2[0].shape[0 if self.core is None else 1]
        return self.w1[0].shape[0] * rows, _columns(self.w1[-1], None) * _columns(self.w2[-1], self.core)

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple((self.w2[-1] if self.core is None else self.core).shape[2:])

    @property
    def blocks(self) -> tuple[int, int]:
        """Into how many blocks it divides the rows and the columns (in, without k) of a weight."""
        return self.w1[0].shape[0], self.w1[-1].shape[1]

    def difference(self, shape: torch.Size) -> Tensor:
        w1 = reduce(torch.matmul, _matrices(self.w1))
        w2 = self._second().reshape(shape[0] // w1.shape[0], shape[1] // w1.shape[1], *shape[2:])
        return torch.kron(w1.reshape(*w1.shape, *[1] * (w2.ndim - 2)), w2.contiguous()).reshape(shape)

    def _second(self) -> Tensor:
        if self.core is not None:
            return _tucker(self.core.float(), *_matrices(self.w2))
        return reduce(torch.matmul, _matrices(self.w2))


@dataclass(frozen=True, eq=False)
class Dora(LoraLayer):
    """DoRA: a difference of another kind to the direction, and a length of its own for every row or column.

    Between strengths 0 and 1 the change as a whole is scaled, as AUTOMATIC1111 and ComfyUI do.
    """

    base: LoraLayer
    magnitude: Tensor
    """(out,), (out, 1, ...) or (1, in, ...)"""

    kind = "DoRA"

    @property
    def rank(self) -> int:
        return self.base.rank

    @property
    def matrix_shape(self) -> tuple[int, int]:
        return self.base.matrix_shape

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.base.kernel

    @property
    def axis(self) -> int:
        """0 where every row of the weight has a length, 1 where every column has."""
        return 1 if self.magnitude.ndim > 1 and self.magnitude.shape[0] == 1 else 0

    def difference(self, shape: torch.Size) -> Tensor:
        return self.base.difference(shape)

    def delta(self, pristine: Tensor, weight: float) -> Tensor:
        before = pristine.float()
        moved = before + self.base.delta(pristine, 1.0)
        lengths = (
            moved.transpose(0, self.axis).flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float32).eps)
        )
        along = [-1 if dim == self.axis else 1 for dim in range(moved.ndim)]
        stretch = (self.magnitude.float().flatten() / lengths).reshape(along)
        change: Tensor = (moved * stretch - before) * weight
        return change


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    return value.to(device) if isinstance(value, (Tensor, LoraLayer)) else value


def _columns(factor: Tensor, core: Tensor | None) -> int:
    """Columns (in * k * k) of a factor (r, in, ...), whose kernel lies in `core` where there is one."""
    return prod(factor.shape[1:]) * (prod(core.shape[2:]) if core is not None else 1)


def _matrices(factors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(factor.flatten(1).float() for factor in factors)


def _tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A core (r, r, k, k) with a (r, out) and b (r, in) -> (out, in, k, k)."""
    return torch.einsum("ij..., ip, jq -> pq...", core, a, b)
