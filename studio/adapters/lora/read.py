"""A LoRA file of any program -> layers, by the full name of what each changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from studio.adapters.lora.alphas import PeftAlphas
from studio.adapters.lora.layers import Dora, Hadamard, Kronecker, LoraLayer, LowRank
from studio.adapters.lora.targets import LayerNames, Targets
from studio.core.errors import CorruptFile, InvalidRequest
from studio.models.lora_file import check_layer, lora_layers

Parts = Mapping[str, Tensor]
"""Tensors of one layer: `down`, `up`, `alpha`, `hada_w1_a`, ..."""


@dataclass(frozen=True, eq=False)
class LoraNetwork:
    """One LoRA, fitted to one model."""

    layers: Mapping[str, LoraLayer]
    """By the full name of the layer changed: `unet.mid_block.attentions.0.proj_in`."""
    strangers: tuple[str, ...] = ()
    """Layers of the file that the model does not have, as the file names them."""

    @cached_property
    def roles(self) -> frozenset[str]:
        """The components that it changes."""
        return frozenset(name.split(".", 1)[0] for name in self.layers)

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(layer.kind for layer in self.layers.values())


def read_lora(
    tensors: Mapping[str, Tensor], targets: Targets, name: str, metadata: Mapping[str, str] | None = None
) -> LoraNetwork:
    """The layers of a LoRA file. Its tensors are kept as they are, mapped or not.

    Args:
        targets: what the model has to be changed, from `lora_targets`.
        name: of the LoRA, for sentences.
        metadata: of the file; PEFT keeps alpha there.

    Raises:
        InvalidRequest: made for another model: hardly anything fits, or a shape does not.
        CorruptFile: half of a pair is missing, ranks disagree, or a tensor is not finite.
        UnknownFile: it holds something else than the kinds that Easel knows.
    """
    names, alphas = LayerNames(targets), PeftAlphas(metadata or {})
    layers: dict[str, LoraLayer] = {}
    strangers: list[str] = []
    for spelling, keys in lora_layers(tensors, name).items():
        parts = {part: tensors[key] for part, key in keys.items()}
        _check_finite(parts, spelling, name)
        check_layer({part: tuple(tensor.shape) for part, tensor in parts.items()}, f"{spelling} of {name}")
        layer = _layer(parts)
        target = names.find(spelling)
        if target is None:
            strangers.append(spelling)
        else:
            _check_fit(layer, targets[target], target, name)
            layers[target] = layer if "alpha" in parts else _with_alpha(layer, alphas, target)
    if len(strangers) > len(layers):
        raise _made_for_another(name, strangers, len(layers))
    return LoraNetwork(layers, tuple(strangers))


def _layer(parts: Parts) -> LoraLayer:
    """What the parts of one layer are, which `check_layer` has accepted."""
    if "magnitude" in parts:  # PEFT: always one length a row
        return _dora(parts, parts["magnitude"].flatten())
    if "dora_scale" in parts:
        return _dora(parts, parts["dora_scale"])
    if "hada_w1_a" in parts:
        return _hadamard(parts)
    if any(part.startswith("lokr_") for part in parts):
        return _kronecker(parts)
    up, down = parts["up"], parts["down"]
    return LowRank(_alpha(parts, down.shape[0]), up, down, parts.get("mid"))


def _dora(parts: Parts, magnitude: Tensor) -> Dora:
    base = _layer({part: parts[part] for part in parts if part not in ("magnitude", "dora_scale")})
    return Dora(base.alpha, base, magnitude)


def _hadamard(parts: Parts) -> Hadamard:
    w1, w2 = ((parts[f"hada_{half}_a"], parts[f"hada_{half}_b"]) for half in ("w1", "w2"))
    cores = (parts["hada_t1"], parts["hada_t2"]) if "hada_t1" in parts else None
    return Hadamard(_alpha(parts, w1[1].shape[0]), w1, w2, cores)


def _kronecker(parts: Parts) -> Kronecker:
    w1, w2 = _half(parts, "lokr_w1"), _half(parts, "lokr_w2")
    unscaled = Kronecker(1.0, w1, w2, parts.get("lokr_t2"))
    if len(w1) == len(w2) == 1:  # nothing is factorised: alpha has no rank to be divided by
        return unscaled
    return replace(unscaled, alpha=_alpha(parts, unscaled.rank))


def _half(parts: Parts, half: str) -> tuple[Tensor, ...]:
    return (parts[half],) if half in parts else (parts[f"{half}_a"], parts[f"{half}_b"])


def _alpha(parts: Parts, rank: int) -> float:
    """What the layer says of alpha; without a word it equals the rank."""
    return float(parts["alpha"]) if "alpha" in parts else float(rank)


def _with_alpha(layer: LoraLayer, alphas: PeftAlphas, target: str) -> LoraLayer:
    alpha = alphas.of(target, layer.rank)
    if alpha is None:
        return layer
    if isinstance(layer, Dora):
        return Dora(alpha, _with_alpha(layer.base, alphas, target), layer.magnitude)
    return LowRank(alpha, layer.up, layer.down, layer.core) if isinstance(layer, LowRank) else layer


def _check_finite(parts: Parts, spelling: str, name: str) -> None:
    for part, tensor in parts.items():
        if not bool(torch.isfinite(tensor.float()).all()):
            raise CorruptFile(
                f"{name} is broken: {part} of its layer {spelling} is not a number (NaN) or infinite.",
                "The training that made it failed; choose another version.",
            )


def _check_fit(layer: LoraLayer, shape: tuple[int, ...], target: str, name: str) -> None:
    rows, columns = layer.matrix_shape
    kernel = () if prod(layer.kernel) == 1 else layer.kernel
    if (rows, columns) != (shape[0], prod(shape[1:])) or (kernel and kernel != shape[2:]):
        have = (rows, columns // prod(kernel), *kernel)
        need = shape if kernel else (shape[0], prod(shape[1:]))
        raise InvalidRequest(
            f"{name} was made for another model: it changes {target} as a weight of {_told(have)}, "
            f"but here that has {_told(need)}.",
            "Choose a LoRA of the checkpoint's family.",
        )
    _check_inner(layer, shape, target, name)


def _check_inner(layer: LoraLayer, shape: tuple[int, ...], target: str, name: str) -> None:
    """The sizes of parts that the size of the whole does not tell."""
    if isinstance(layer, Dora):
        _check_inner(layer.base, shape, target, name)
        have, need = layer.magnitude.numel(), shape[layer.axis]
        if have != need:
            raise CorruptFile(
                f"{name} is broken: its DoRA gives {target} {have} lengths, but that weight has {need} "
                f"{('rows', 'columns')[layer.axis]}, and each needs one.",
                "Download or copy it again, or choose another version.",
            )
    if isinstance(layer, Kronecker) and (shape[0] % layer.blocks[0] or shape[1] % layer.blocks[1]):
        raise InvalidRequest(
            f"{name} was made for another model: its LoKr divides {target} into {_told(layer.blocks)} "
            f"blocks, but here that has {_told(shape[:2])} channels, which cannot be divided so.",
            "Choose a LoRA of the checkpoint's family.",
        )


def _told(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _made_for_another(name: str, strangers: Sequence[str], fitting: int) -> InvalidRequest:
    return InvalidRequest(
        f"{name} was made for another model: of its {len(strangers) + fitting} layers {len(strangers)} do "
        f"not exist here, the first is {strangers[0][:120]}.",
        "Choose a LoRA of the checkpoint's family.",
    )
