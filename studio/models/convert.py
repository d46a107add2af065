"""Where each tensor of a module lies in a single-file checkpoint.

One direction serves both: for every tensor that a diffusers module wants, the name it has in the layout of
the original repositories (CompVis latent-diffusion, OpenCLIP). Loading looks tensors up by it, exporting
writes them under it. The structure (layers a block, blocks) is read off the names themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Source:
    """One tensor of a file, or the part of it that a module wants."""

    name: str
    third: int | None = None
    """OpenCLIP stacks query, key and value in one tensor: 0, 1 or 2 of them."""
    transposed: bool = False
    of: int = 3
    """In how many equal parts the file's tensor falls; IP-Adapter stacks key and value."""

    def read(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The wanted tensor: a view, but for the transposed one."""
        tensor = tensors[self.name]
        if tensor.ndim:
            tensor = self.part_of(tensor)
        return tensor.transpose(0, -1).contiguous() if self.transposed else tensor

    def part_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Those rows of the file's tensor that the module wants, as a view; all where nothing is stacked."""
        if self.third is None:
            return tensor
        rows = tensor.shape[0] // self.of
        return tensor[self.third * rows : (self.third + 1) * rows]


def unet_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of a `UNet2DConditionModel`, its place under `model.diffusion_model.`."""
    names = list(names)
    layers = _count(names, r"down_blocks\.0\.resnets\.(\d+)\.")
    attentive = {match[1] for name in names if (match := re.match(r"up_blocks\.(\d+)\.attentions\.", name))}
    return {name: Source(_unet_name(name, layers, attentive)) for name in names}


def vae_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of an `AutoencoderKL`, its place under `first_stage_model.`."""
    names = list(names)
    blocks = _count(names, r"decoder\.up_blocks\.(\d+)\.")
    return {name: Source(_vae_name(name, blocks)) for name in names}


def clip_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of a CLIP text encoder, its place under `cond_stage_model.transformer.` (SD 1.x)."""
    return {name: Source(with_text_model(name)) for name in names}


def open_clip_sources(names: Iterable[str]) -> dict[str, Source]:
    """For each tensor of a CLIP text encoder, its place in OpenCLIP's layout (SD 2.x, SDXL's second)."""
    return {name: _open_clip_source(with_text_model(name)) for name in names}


def with_text_model(name: str) -> str:
    """CLIP's names with the prefix that transformers dropped in 5.6 from all but the projection."""
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def _count(names: Iterable[str], pattern: str) -> int:
    numbers = [int(match[1]) for name in names if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1


_UNET_FIXED = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}

_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

_UNET_BLOCK = re.compile(
    r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)


def _unet_name(name: str, layers: int, attentive: set[str]) -> str:
    for module, ldm_module in _UNET_FIXED.items():
        if name.startswith(f"{module}."):
            rest = name.removeprefix(f"{module}.")
            return f"{ldm_module}.{_renamed(rest, _UNET_RESNET) if 'resnets' in module else rest}"
    match = _UNET_BLOCK.fullmatch(name)
    if match is None:
        return name
    side, block, part, index, rest = match.groups()
    first = int(block) * (layers + 1)
    if part == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.{rest.replace('conv', 'op')}"
    if part == "upsamplers":
        return f"output_blocks.{first + layers}.{2 if block in attentive else 1}.{rest}"
    place = (
        f"input_blocks.{first + int(index) + 1}" if side == "down" else f"output_blocks.{first + int(index)}"
    )
    return f"{place}.0.{_renamed(rest, _UNET_RESNET)}" if part == "resnets" else f"{place}.1.{rest}"


_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}

_VAE_BLOCK = re.compile(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)")
_VAE_MIDDLE = re.compile(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def _vae_name(name: str, blocks: int) -> str:
    if match := _VAE_MIDDLE.fullmatch(name):
        half, part, index, rest = match.groups()
        if part == "attentions":
            return f"{half}.mid.attn_{int(index) + 1}.{_renamed(rest, _VAE_ATTENTION)}"
        return f"{half}.mid.block_{int(index) + 1}.{rest.replace('conv_shortcut', 'nin_shortcut')}"
    if match := _VAE_BLOCK.fullmatch(name):
        half, side, block, part, index, rest = match.groups()
        number = int(block) if side == "down" else blocks - 1 - int(block)
        if part == "resnets":
            return f"{half}.{side}.{number}.block.{index}.{rest.replace('conv_shortcut', 'nin_shortcut')}"
        return f"{half}.{side}.{number}.{side}sample.{rest}"
    return name.replace("conv_norm_out", "norm_out")


_OPEN_CLIP_FIXED = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}

_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}

_STACKED = ("q_proj", "k_proj", "v_proj")


def _open_clip_source(name: str) -> Source:
    if name == "text_projection.weight":
        return Source("text_projection", transposed=True)
    if name in _OPEN_CLIP_FIXED:
        return Source(_OPEN_CLIP_FIXED[name])
    layer = name.replace("text_model.encoder.layers.", "transformer.resblocks.")
    if match := re.fullmatch(r"(.+)\.self_attn\.([qkv]_proj)\.(weight|bias)", layer):
        return Source(f"{match[1]}.attn.in_proj_{match[3]}", third=_STACKED.index(match[2]))
    _, _, number, rest = layer.split(".", 3)
    return Source(f"transformer.resblocks.{number}.{_renamed(rest, _OPEN_CLIP_LAYER)}")


def open_clip_layer(name: str) -> int:
    """Number of the layer that a tensor belongs to; -1 for those outside of layers."""
    match = re.match(r"transformer\.resblocks\.(\d+)\.", name)
    return int(match[1]) if match else -1


def open_clip_pieces(names: Iterable[str], layers: int) -> list[Source]:
    """What OpenCLIP tensors hold for a module of `layers` layers.

    SD 2.x runs neither the last layer nor the projection, but its files carry them: a projection counts only
    where all layers are run.
    """
    names = list(names)
    shortened = any(open_clip_layer(name) >= layers for name in names)
    pieces: list[Source] = []
    for name in names:
        if open_clip_layer(name) >= layers or (name == "text_projection" and shortened):
            continue
        if ".attn.in_proj_" in name:
            pieces += [Source(name, third) for third in range(3)]
        else:
            pieces.append(Source(name, transposed=name == "text_projection"))
    return pieces


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """`name` with its leading module replaced as `table` says."""
    for module, other in table.items():
        if name == module or name.startswith(f"{module}."):
            return other + name.removeprefix(module)
    return name


_OLD_VAE_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def other_names(name: str) -> Iterable[str]:
    """Names that older versions of diffusers and transformers gave to the tensor `name`."""
    yield with_text_model(name)
    yield name.removeprefix("text_model.")
    if match := _VAE_MIDDLE.fullmatch(name):
        half, part, index, rest = match.groups()
        yield f"{half}.mid_block.{part}.{index}.{_renamed(rest, _OLD_VAE_ATTENTION)}"


def stored(tensors: Mapping[str, torch.Tensor], sources: Mapping[str, Source]) -> dict[str, torch.Tensor]:
    """A module's tensors as its single file holds them: renamed, stacked and transposed.

    Args:
        tensors: by their names in the module.
        sources: the place of each, as `unet_sources` and its siblings give it.
    """
    import torch

    parts: dict[str, list[tuple[int, torch.Tensor]]] = {}
    for name, source in sources.items():
        tensor = tensors[name].T if source.transposed else tensors[name]
        parts.setdefault(source.name, []).append((source.third or 0, tensor))
    return {
        name: torch.cat([tensor for _, tensor in sorted(pieces, key=lambda piece: piece[0])]).contiguous()
        for name, pieces in parts.items()
    }
