"""Muon (Jordan et al. 2024): momentum whose update is orthogonalised, for matrices and convolutions.

On Toytown's small nets it reaches AdamW's loss in about half the steps. Updates are scaled to AdamW's size
(Liu et al. 2025, "Muon is scalable for LLM training"), so that one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# A quintic whose fixed points pull singular values towards 1; the coefficients are Jordan's.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """For parameters of two and more dimensions; a convolution counts as (out, in x height x width)."""

    def __init__(
        self,
        params: Iterable[nn.Parameter] | list[dict[str, object]],
        lr: float,
        momentum: float = 0.95,
        decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["momentum"], group["decay"])

    def _update(self, parameter: nn.Parameter, lr: float, momentum: float, decay: float) -> None:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        average = state.setdefault("average", torch.zeros_like(parameter))
        average.lerp_(gradient, 1 - momentum)
        direction = orthogonalize(gradient.lerp(average, momentum).flatten(1))
        scale = 0.2 * max(direction.shape) ** 0.5
        parameter.mul_(1 - lr * decay).add_(direction.view_as(parameter), alpha=-lr * scale)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix with all singular values near 1, by Newton-Schulz iterations in bfloat16."""
    first, third, fifth = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    result = (matrix.T if tall else matrix).bfloat16()
    result = result / (result.norm() + 1e-7)
    for _ in range(steps):
        gram = result @ result.T
        result = first * result + (third * gram + fifth * gram @ gram) @ result
    return (result.T if tall else result).to(matrix.dtype)


def split_matrices(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trainable parameters that suit Muon; the rest (vectors, embeddings, narrow layers) for AdamW."""
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            suits = parameter.ndim >= 2 and parameter.shape[0] >= 16 and id(parameter) not in embeddings
            (matrices if suits else rest).append(parameter)
    return matrices, rest
