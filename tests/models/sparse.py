"""safetensors files of any size that take no space: a true header over a hole."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I64": 8}


def write_sparse(
    path: Path,
    shapes: Mapping[str, Sequence[int]],
    metadata: Mapping[str, str] | None = None,
    dtype: str = "F16",
) -> Path:
    """Tensors of zeros with these names and shapes."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + prod(shape) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    return write_raw(path, entries, end)


def write_raw(path: Path, entries: object, data_bytes: int, *, pad: int = 8) -> Path:
    """Any header over `data_bytes` zeros."""
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % pad)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + data_bytes)
    return path
