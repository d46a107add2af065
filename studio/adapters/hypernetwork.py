"""Hypernetworks: small networks before the keys and values of a UNet's attention, as in AUTOMATIC1111.

A file holds two networks for some widths of what attention looks at, one for keys and one for values: 768 or
1024 for text, 320, 640 and 1280 for the picture itself. Where a layer's width has one, what goes into `to_k`
and `to_v` becomes `x + strength * network(x)`. They are hooks: the UNet's own weights are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch.nn import functional, modules

from studio.models.compiling import uncompiled
from studio.models.hypernetwork_file import HypernetworkLayers, NetLayer, broken

Function = Callable[[torch.Tensor], torch.Tensor]

_SIDES = ("to_k", "to_v")
"""Projections in the order of a file's pairs."""

_PLAIN_ACTIVATIONS = (
    *(modules.CELU, modules.ELU, modules.GELU, modules.Hardshrink, modules.Hardsigmoid, modules.Hardswish),
    *(modules.Hardtanh, modules.LeakyReLU, modules.LogSigmoid, modules.Mish, modules.ReLU, modules.ReLU6),
    *(modules.RReLU, modules.SELU, modules.SiLU, modules.Sigmoid, modules.Softplus, modules.Softshrink),
    *(modules.Softsign, modules.Tanh, modules.Tanhshrink),
)


class _Alone(torch.nn.Module):
    """Softmax and its like along the pictures of a batch, as if each picture were alone in it.

    AUTOMATIC1111 does not say along which dimension they act, and torch takes the first of three then: the
    batch. For a single picture, as such a network is trained, that is its share of itself: ones everywhere,
    and zeros where the logarithm is taken. So it is here for each row. In a larger batch torch would mix
    pictures that have nothing to do with each other, and a picture's two prompts where they are run together,
    which AUTOMATIC1111 does unless it spares memory; here no row depends on its neighbours.

    Args:
        function: one of torch's, which takes `dim`.
    """

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._function(x.unsqueeze(0), dim=0).squeeze(0)


_ACTIVATIONS: Mapping[str, Callable[[], torch.nn.Module]] = {
    **{activation.__name__.lower(): activation for activation in _PLAIN_ACTIVATIONS},
    "swish": modules.Hardswish,
    "softmax": partial(_Alone, functional.softmax),
    "softmin": partial(_Alone, functional.softmin),
    "softmax2d": partial(_Alone, functional.softmax),  # of three dimensions the first, too
    "logsoftmax": partial(_Alone, functional.log_softmax),
}
"""By AUTOMATIC1111's names: torch's in lower case, and `swish`."""


class Hypernetwork:
    """A file's networks, with their tensors.

    Args:
        layers: what `hypernetwork_layers` found in the file's header.
        tensors: of the file.
        name: of the file, for errors.

    Raises: CorruptFile: a tensor holds NaN or infinity.
    """

    def __init__(self, layers: HypernetworkLayers, tensors: Mapping[str, torch.Tensor], name: str) -> None:
        for key, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise broken(name, f"its weights {key} are no numbers (NaN or infinity)")
        self._layers = layers
        self._tensors = tensors

    @property
    def widths(self) -> frozenset[int]:
        return self._layers.widths

    def function(self, width: int, side: int, like: torch.Tensor) -> Function | None:
        """The network for inputs of `width`, on the device and in the type of `like`; None if there is none.

        Args:
            side: 0 for keys, 1 for values.
        """
        if width not in self._layers.pairs:
            return None
        steps = [step for layer in self._layers.pairs[width][side] for step in self._steps(layer, like)]
        return lambda x: _run(steps, x)

    def _steps(self, layer: NetLayer, like: torch.Tensor) -> Iterator[Function]:
        def tensor(name: str) -> torch.Tensor:
            return self._tensors[name].to(like)

        weight, bias = tensor(f"{layer.linear}.weight"), tensor(f"{layer.linear}.bias")
        yield lambda x: functional.linear(x, weight, bias)
        if layer.activation in _ACTIVATIONS:
            yield _ACTIVATIONS[layer.activation]().eval()
        elif layer.activation:
            slope = tensor(layer.activation)
            yield lambda x: functional.prelu(x, slope)
        if layer.norm:
            scale, shift = tensor(f"{layer.norm}.weight"), tensor(f"{layer.norm}.bias")
            yield lambda x: functional.layer_norm(x, scale.shape, scale, shift)


def _run(steps: Sequence[Function], x: torch.Tensor) -> torch.Tensor:
    for step in steps:
        x = step(x)
    return x


@contextmanager
def hypernetworks_on(unet: Any, stack: Sequence[tuple[Hypernetwork, float]]) -> Iterator[None]:
    """Within the block, the hypernetworks act on all attention of `unet`, one after the other, in order.

    A UNet that torch compiled runs uncompiled meanwhile.

    Args:
        unet: a diffusers `UNet2DConditionModel`, wherever it is.
        stack: each with its strength, which may be negative; 0 has no effect.
    """
    active = [(network, strength) for network, strength in stack if strength]
    chains = _Chains(active)
    with ExitStack() as hooks:
        if active:
            hooks.enter_context(uncompiled(unet))
        for layer in _attention_layers(unet) if active else ():
            for side, projection in enumerate(_SIDES):
                _attach(getattr(layer, projection), side, chains, hooks)
        yield


class _Chains:
    """What the hypernetworks make together of an input, one chain for each width and side.

    Their tensors are brought to where the input is, and into its type, when a chain is first used.
    """

    def __init__(self, stack: Sequence[tuple[Hypernetwork, float]]) -> None:
        self._stack = stack
        self._made: dict[tuple[int, int, torch.device, torch.dtype], list[tuple[Function, float]]] = {}

    def has(self, width: int) -> bool:
        return any(width in network.widths for network, _ in self._stack)

    def apply(self, side: int, x: torch.Tensor) -> torch.Tensor:
        """x: (B, N, width) -> the same shape."""
        key = side, x.shape[-1], x.device, x.dtype
        if key not in self._made:
            functions = [(n.function(x.shape[-1], side, x), strength) for n, strength in self._stack]
            self._made[key] = [(function, strength) for function, strength in functions if function]
        for function, strength in self._made[key]:
            x = x + function(x) * strength
        return x


def _attach(projection: torch.nn.Linear, side: int, chains: _Chains, hooks: ExitStack) -> None:
    if chains.has(projection.in_features):
        hook = projection.register_forward_pre_hook(lambda _, inputs: (chains.apply(side, inputs[0]),))
        hooks.callback(hook.remove)


def _attention_layers(unet: Any) -> list[Any]:
    """Self- and cross-attention of the UNet itself, not of what is grafted on it."""
    return [layer for name, layer in unet.named_modules() if name.endswith((".attn1", ".attn2"))]
