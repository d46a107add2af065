"""LoRA files as every studio reads them, read again before they count as written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from studio.adapters.lora.layers import Factors, LowRank
from studio.adapters.lora.read import read_lora
from studio.adapters.lora_tools.bases import Base
from studio.adapters.lora_tools.factors import Factored
from studio.core.base import StrEnum
from studio.core.errors import CorruptFile, NumericalError
from studio.core.models import Family
from studio.models.convert import unet_sources, with_text_model
from studio.models.safetensors_file import open_safetensors
from studio.models.safetensors_write import data_digest, write_safetensors

_ROUNDING = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""How far a stored number may be from the one that was meant, as a share of the largest."""


class Names(StrEnum):
    """How a file names its layers."""

    KOHYA = "kohya"
    """`lora_unet_down_blocks_1_..._to_q.lora_down.weight` with alpha; SDXL in the names of its own code."""
    PEFT = "peft"
    """`unet.down_blocks.1....to_q.lora_A.weight`, which carries no alpha."""


def write_lora(
    file: Path,
    lora: Factored,
    base: Base,
    metadata: Mapping[str, str],
    *,
    names: Names = Names.KOHYA,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write `lora`, read the file again as any other one, and compare.

    Args:
        file: must not exist.
        metadata: as `lora_metadata` makes it; the hash of the content is added.

    Raises:
        NumericalError: a number is too large for `dtype`.
        CorruptFile: what was read is not what was written.
    """
    entries = (_kohya if names is Names.KOHYA else _peft)(lora, base, dtype)
    layout = {name: (str(entry.dtype).removeprefix("torch."), entry.shape) for name, entry in entries.items()}

    def tensor(name: str) -> Tensor:
        return entries[name].stored(name)

    digest = data_digest(layout, tensor)
    write_safetensors(file, layout, tensor, {**metadata, "sshs_model_hash": digest})
    _check_again(file, lora, base, _ROUNDING[dtype])


@dataclass(frozen=True, eq=False)
class _Entry:
    """One tensor of the file, made when it is its turn: only the layers themselves are in memory."""

    matrix: Tensor
    shape: tuple[int, ...]
    dtype: torch.dtype
    scale: float = 1.0

    def stored(self, name: str) -> Tensor:
        tensor = (self.matrix * self.scale).to(self.dtype).reshape(self.shape)
        if not bool(torch.isfinite(tensor).all()):
            raise NumericalError(
                f"{name} holds numbers too large for {str(self.dtype)[6:]}.",
                "Write it with --precision fp32, or with smaller weights.",
            )
        return tensor


def _kohya(lora: Factored, base: Base, dtype: torch.dtype) -> dict[str, _Entry]:
    """One alpha for all layers, whatever their ranks: diffusers mixes up those of text encoders else."""
    alpha = torch.tensor(float(max(lora.ranks)))
    stems = kohya_stems(base)
    entries = {}
    for name, (up, down) in lora.layers.items():
        root = (down.shape[0] / float(alpha)) ** 0.5
        up_shape, down_shape = _shapes((up, down), base.targets[name])
        entries[f"{stems[name]}.lora_up.weight"] = _Entry(up, up_shape, dtype, root)
        entries[f"{stems[name]}.lora_down.weight"] = _Entry(down, down_shape, dtype, root)
        entries[f"{stems[name]}.alpha"] = _Entry(alpha, (), torch.float32)  # bfloat16 knows no 257
    return entries


def _peft(lora: Factored, base: Base, dtype: torch.dtype) -> dict[str, _Entry]:
    entries = {}
    for name, (up, down) in lora.layers.items():
        role, path = name.split(".", 1)
        stem = name if role == "unet" else f"{role}.{with_text_model(path)}"
        up_shape, down_shape = _shapes((up, down), base.targets[name])
        entries[f"{stem}.lora_B.weight"] = _Entry(up, up_shape, dtype)
        entries[f"{stem}.lora_A.weight"] = _Entry(down, down_shape, dtype)
    return entries


def kohya_stems(base: Base) -> dict[str, str]:
    """What kohya's scripts call each layer of a model of `base`'s family."""
    is_sdxl = base.family is Family.SDXL
    paths = [name.removeprefix("unet.") for name in base.targets if name.startswith("unet.")]
    original = unet_sources(paths)
    stems = {f"unet.{path}": f"lora_unet_{original[path].name if is_sdxl else path}" for path in paths}
    prefixes = {"text_encoder": "lora_te1_" if is_sdxl else "lora_te_", "text_encoder_2": "lora_te2_"}
    for name in base.targets:
        role, path = name.split(".", 1)
        if role != "unet":
            stems[name] = prefixes[role] + with_text_model(path)
    return {name: stem.replace(".", "_") for name, stem in stems.items()}


def _shapes(factors: Factors, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of up and down in a file: for a convolution the kernel lies in the one that goes down."""
    rank = factors[1].shape[0]
    return (shape[0], rank, *[1] * (len(shape) - 2)), (rank, *shape[1:])


def _check_again(file: Path, lora: Factored, base: Base, rounding: float) -> None:
    weights = open_safetensors(file)
    again = read_lora(weights, base.targets, file.name, weights.header.metadata).layers
    same = again.keys() == lora.layers.keys()
    if not same or not all(_is_close(again[name], lora.layers[name], rounding) for name in again):
        raise CorruptFile(
            "The file was written, but what is read from it is something else.",
            "The disk may be failing; nothing was kept.",
        )


def _is_close(layer: object, meant: Factors, rounding: float) -> bool:
    if not isinstance(layer, LowRank) or layer.factors is None:
        return False
    root = layer.scale**0.5
    return all(
        bool((have.float() * root - want).abs().max() <= rounding * want.abs().max())
        for have, want in zip(layer.factors, meant, strict=True)
    )
