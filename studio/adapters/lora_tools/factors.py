"""The best low-rank approximation of a difference, by its singular values (Eckart and Young 1936)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.adapters.lora.layers import Factors
from studio.core.errors import InvalidRequest

NOISE = 1e-6
"""Singular values below this share of the largest are rounding, not content."""


@dataclass(frozen=True)
class Truncation:
    """How much of a difference to keep. Without any limit: all of it."""

    rank: int | None = None
    energy: float | None = None
    """Share of the sum of the squared singular values, 0 to 1: the smallest rank that keeps it."""

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise InvalidRequest(f"The rank must be at least 1, and is {self.rank}.", field="rank")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise InvalidRequest(
                f"The share of energy must lie between 0 and 1, and is {self.energy}.", field="energy"
            )

    def keep(self, values: Tensor) -> int:
        """How many of the singular `values`, largest first, are kept; 0 where there is nothing to keep."""
        known = int((values > NOISE * values[0]).sum())
        if self.energy is not None and known:
            shares = values[:known].square().cumsum(0) / values.square().sum()
            known = min(known, 1 + int((shares < self.energy).sum()))
        return known if self.rank is None else min(known, self.rank)


@dataclass(frozen=True, eq=False)
class Cut:
    """A matrix of low rank, and what it was cut off from."""

    factors: Factors
    """Up (out, r) and down (r, columns), float32, of equal size: each carries the root of the values."""
    kept: float
    """Sum of the squared singular values that are kept."""
    whole: float
    """The same before."""


@dataclass(frozen=True, eq=False)
class Factored:
    """A LoRA as it is made: every layer two matrices, whose product is the difference at full strength."""

    layers: Mapping[str, Factors]
    """By the full name of the layer; float32."""
    kept: float = 1.0
    """Share of the energy of all differences that is left."""

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(down.shape[0] for _, down in self.layers.values())


def energy(factors: Factors) -> float:
    """The sum of the squares of all numbers of `up @ down`, without making it: O((out + columns) r^2)."""
    up, down = (factor.double() for factor in factors)
    return float(((up.T @ up) * (down @ down.T)).sum())


def cut_product(factors: Factors, to: Truncation) -> Cut:
    """The best approximation of `up @ down`, without ever making the product: O((out + columns) r^2).

    Args:
        factors: (out, r) and (r, columns).
    """
    up, down = (factor.double() for factor in factors)
    up_basis, up_rest = torch.linalg.qr(up)
    down_basis, down_rest = torch.linalg.qr(down.T)
    left, values, right = torch.linalg.svd(up_rest @ down_rest.T)
    rank = to.keep(values)
    root = values[:rank].sqrt()
    return _cut((up_basis @ left[:, :rank]) * root, root[:, None] * (right[:rank] @ down_basis.T), values)


def cut_matrix(matrix: Tensor, to: Truncation) -> Cut:
    """The best approximation of `matrix` (out, columns).

    The singular vectors of the shorter side are the eigenvectors of its Gram matrix, and projecting onto them
    is the approximation itself; that takes a fraction of the time of a full decomposition. In float64 the
    squared values are exact to 1e-16 of the largest, so the values to 1e-8.
    """
    if matrix.shape[0] > matrix.shape[1]:
        cut = cut_matrix(matrix.T, to)
        up, down = cut.factors
        return Cut((down.T.contiguous(), up.T.contiguous()), cut.kept, cut.whole)
    wide = matrix.double()
    squares, vectors = torch.linalg.eigh(wide @ wide.T)
    values = squares.clamp_min(0).sqrt().flip(0)
    rank = to.keep(values)
    left, root = vectors.flip(1)[:, :rank], values[:rank].sqrt()
    return _cut(left * root, (left.T @ wide) / root[:, None], values)


def _cut(up: Tensor, down: Tensor, values: Tensor) -> Cut:
    squares = values.square()
    factors = up.float().contiguous(), down.float().contiguous()
    return Cut(factors, float(squares[: down.shape[0]].sum()), float(squares.sum()))


def factored(cuts: Iterable[tuple[str, Cut]], nothing: str) -> Factored:
    """The layers that changed anything, with the share of energy that they keep.

    Args:
        nothing: the problem, as a sentence, where there are none.

    Raises: InvalidRequest.
    """
    layers: dict[str, Factors] = {}
    kept = whole = 0.0
    for name, cut in cuts:
        if cut.factors[1].shape[0]:
            layers[name] = cut.factors
        kept, whole = kept + cut.kept, whole + cut.whole
    if not layers:
        raise InvalidRequest(nothing, "There is nothing to write.")
    return Factored(layers, kept / whole)
