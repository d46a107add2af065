"""Hypernetworks and textual inversions for the tests, in AUTOMATIC1111's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

Nets = Mapping[int, tuple[nn.Sequential, nn.Sequential]]
"""By width: the network of the keys and that of the values."""


def make_nets(
    widths: Sequence[int],
    *,
    structure: Sequence[float] = (1, 2, 1),
    activation: Callable[[], nn.Module] | None = None,
    norm: bool = False,
    dropout: bool = False,
    activate_output: bool = False,
    seed: int = 0,
) -> Nets:
    torch.manual_seed(seed)

    def net(width: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(structure)):
            is_last = i == len(structure) - 2
            layers.append(nn.Linear(int(width * before), int(width * after)))
            if activation and (activate_output or not is_last):
                layers.append(activation())
            if norm:
                layers.append(nn.LayerNorm(int(width * after)))
            if dropout and not is_last:
                layers.append(nn.Dropout(0.3))
        return nn.Sequential(*layers).eval().requires_grad_(False)

    return {width: (net(width), net(width)) for width in widths}


def write_hypernetwork(file: Path, nets: Nets, **options: Any) -> Path:
    """One A1111 file. `options` are the keys beside the networks; older files have none."""
    pairs = {width: tuple(_named(net) for net in pair) for width, pair in nets.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**pairs, "step": 100, "name": file.stem, "sd_checkpoint": None, **options}, file)
    return file


def _named(net: nn.Sequential) -> dict[str, torch.Tensor]:
    return {f"linear.{name}": tensor for name, tensor in net.state_dict().items()}


class ReferenceAttention:
    """diffusers' attention, written out, with hypernetworks in front of keys and values."""

    def __init__(self, *stack: tuple[Nets, float]) -> None:
        self._stack = stack

    def __call__(
        self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, *_: Any, **__: Any
    ) -> Any:
        keys = values = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        for nets, strength in self._stack:
            if keys.shape[-1] in nets:
                for_keys, for_values = nets[keys.shape[-1]]
                keys, values = keys + for_keys(keys) * strength, values + for_values(values) * strength
        projected = attn.to_q(hidden_states), attn.to_k(keys), attn.to_v(values)
        query, key, value = (attn.head_to_batch_dim(states) for states in projected)
        attended = torch.softmax(query @ key.transpose(1, 2) * attn.scale, dim=-1) @ value
        return attn.to_out[0](attn.batch_to_head_dim(attended))


def write_embedding(file: Path, *vectors: torch.Tensor, form: str = "a1111") -> Path:
    """A textual inversion: `.pt` and `.bin` are pickles, `.safetensors` is not.

    Args:
        vectors: (N, width) for each text encoder.
        form: a1111, emb_params, one-key or sdxl.
    """
    from safetensors.torch import save_file

    content: dict[str, Any]
    if form == "sdxl":
        content = {"clip_l": vectors[0], "clip_g": vectors[1]}
    elif form == "a1111":
        content = {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": vectors[0]},
            "name": file.stem,
            "step": 9,
            "sd_checkpoint": None,
        }
    else:
        content = {"emb_params" if form == "emb_params" else f"<{file.stem}>": vectors[0]}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(content, file) if file.suffix == ".safetensors" else torch.save(content, file)
    return file
