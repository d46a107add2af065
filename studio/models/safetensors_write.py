"""safetensors files, written tensor by tensor: no more than one of them is in memory.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from studio.models.safetensors_file import DTYPES
from studio.models.weights import tensor_bytes

if TYPE_CHECKING:
    import torch

_ALIGNMENT = 8

_CODES = {torch_name: (code, item_bytes) for code, (torch_name, item_bytes) in DTYPES.items()}
"""Name in torch -> name in the header, bytes an element."""

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""By name: torch's name of the type ('float16'), shape."""


Each = Callable[[Sequence[str]], Iterable[str]]
"""Goes through names one by one; a command line draws its progress there."""


def write_safetensors(
    file: Path,
    layout: Layout,
    tensor: Callable[[str], torch.Tensor],
    metadata: Mapping[str, str],
    each: Each = iter,
) -> str:
    """Write `file`; returns the sha256 of its tensors in hex, which `data_digest` gives as well.

    Args:
        tensor: gives each when it is its turn; must be of the type and shape that `layout` promises.
    """
    digest = hashlib.sha256()
    with file.open("xb") as stream:
        stream.write(_header(layout, metadata))
        for data in _data(layout, tensor, each):
            digest.update(data)
            stream.write(data)
    return digest.hexdigest()


def data_digest(layout: Layout, tensor: Callable[[str], torch.Tensor]) -> str:
    """sha256 in hex of what would follow the header: kohya's `sshs_model_hash`."""
    digest = hashlib.sha256()
    for data in _data(layout, tensor, iter):
        digest.update(data)
    return digest.hexdigest()


def _order(layout: Layout) -> list[str]:
    """Wide types first, so that every tensor lies at a multiple of its own width."""
    return sorted(layout, key=lambda name: (-_CODES[layout[name][0]][1], name))


def _data(layout: Layout, tensor: Callable[[str], torch.Tensor], each: Each) -> Iterator[memoryview]:
    for name in each(_order(layout)):
        value = tensor(name)
        have = str(value.dtype).removeprefix("torch."), tuple(value.shape)
        if have != layout[name]:
            raise ValueError(f"{name} is {have}, where {layout[name]} was promised")
        yield tensor_bytes(value)


def _header(layout: Layout, metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in _order(layout):
        code, item_bytes = _CODES[layout[name][0]]
        end = offset + item_bytes * prod(layout[name][1])
        entries[name] = {"dtype": code, "shape": list(layout[name][1]), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
