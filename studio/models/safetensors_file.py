"""safetensors files, parsed by hand: every promise of the header is checked before a number is touched.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import CorruptFile
from studio.models.texts import clean, storable_object
from studio.models.weights import GET_IT_AGAIN, Header, TensorInfo, Weights, refuse_dunder_names

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 100_000_000
"""The limit of the reference implementation."""

_LENGTH_BYTES = 8

_BLOCK_BYTES = 2**20

_MAX_SHOWN = 80
"""Characters of a tensor's name in a message."""

_MAX_SIZES = 32
"""Dimensions of a tensor, and its two ends. Models have seven; a product of millions takes for ever."""

DTYPES: dict[str, tuple[str, int]] = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "I16": ("int16", 2),
    "U16": ("uint16", 2),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I32": ("int32", 4),
    "U32": ("uint32", 4),
    "F32": ("float32", 4),
    "I64": ("int64", 8),
    "U64": ("uint64", 8),
    "F64": ("float64", 8),
}
"""Name in the header -> name in torch, bytes an element."""


def open_safetensors(path: Path) -> Weights:
    """Tensors as views of the mapped file. Raises: CorruptFile, UnsafeFile."""
    stat = path.stat()
    header = _read_safetensors_header(path, stat.st_size, stat.st_mtime_ns)
    mapped: list[torch.UntypedStorage] = []

    def tensor(name: str) -> torch.Tensor:
        if not mapped:
            mapped.append(_map_file(path))
        return _view(mapped[0], header.tensors[name])

    def blocks(name: str, start: int, length: int) -> Iterator[memoryview]:
        return _read_blocks(path, header.tensors[name].offset + start, length)

    return Weights(header, tensor, blocks)


def _read_blocks(path: Path, offset: int, length: int) -> Iterator[memoryview]:
    """Any part of a file, in pieces that share one buffer. Raises: CorruptFile: it ends before that."""
    buffer = memoryview(bytearray(min(length, _BLOCK_BYTES)))
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while length:
            read = file.readinto(buffer[:length])
            if not read:
                raise CorruptFile(f"{path.name} was cut off while it was read.", GET_IT_AGAIN)
            yield buffer[:read]
            length -= read


def data_start(path: Path) -> int:
    """The byte at which the tensors of a safetensors file begin. Raises: CorruptFile."""
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES)
    if len(start) < _LENGTH_BYTES:
        raise CorruptFile(f"{path.name} is too short to have a header.", GET_IT_AGAIN)
    return _LENGTH_BYTES + int(struct.unpack("<Q", start)[0])


@lru_cache(maxsize=8)
def _read_safetensors_header(path: Path, size: int, changed: int) -> Header:
    """The checked header of a file of `size` bytes; `changed` makes it be read anew after a change."""
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES)
        if len(start) < _LENGTH_BYTES:
            raise CorruptFile(f"{path.name} is only {size} bytes long: no header.", GET_IT_AGAIN)
        (length,) = struct.unpack("<Q", start)
        if length > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
            raise CorruptFile(
                f"{path.name} promises a header of {length:,} bytes, but the file has {size:,}.",
                GET_IT_AGAIN,
            )
        text = file.read(length)
    return _checked_header(path, _parse_json(path, text), _LENGTH_BYTES + length, size)


def _parse_json(path: Path, text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        where = f" at byte {_LENGTH_BYTES + error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise CorruptFile(f"The header of {path.name} is no JSON{where}: {error}.", GET_IT_AGAIN) from error
    if not isinstance(entries, dict):
        raise CorruptFile(f"The header of {path.name} is no JSON object.", GET_IT_AGAIN)
    return entries


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = storable_object(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name occurs twice")
    return entries


def _checked_header(path: Path, entries: dict[str, Any], data_start: int, size: int) -> Header:
    metadata = _checked_metadata(path, entries.pop("__metadata__", {}))
    refuse_dunder_names(path, entries)
    tensors = {name: _checked_tensor(path, name, entry, data_start) for name, entry in entries.items()}
    end = data_start
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].offset):
        if tensor.offset < end and tensor.size_bytes:
            where = f"the tensor {_shown(name)} begins at byte {tensor.offset:,}, inside another one"
            raise CorruptFile(f"In {path.name} {where}.", GET_IT_AGAIN)
        end = max(end, tensor.offset + tensor.size_bytes)
    if end != size:
        fault = "is cut off" if end > size else "has bytes that belong to no tensor"
        raise CorruptFile(
            f"{path.name} {fault}: its header describes {end:,} bytes, but the file has {size:,}.",
            GET_IT_AGAIN,
        )
    return Header(tensors, metadata)


def _checked_metadata(path: Path, metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise CorruptFile(f"The metadata of {path.name} is no list of names and texts.", GET_IT_AGAIN)
    return metadata


def _checked_tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    shown = _shown(name)
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]} if _are_sizes(
            [*shape, begin, end]
        ):
            pass
        case _:
            raise CorruptFile(f"In {path.name} the entry of the tensor {shown} is malformed.", GET_IT_AGAIN)
    if dtype not in DTYPES:
        raise CorruptFile(
            f"In {path.name} the tensor {shown} is of type {dtype[:20]}, which Easel does not read.",
            "Look for a version in float16, bfloat16 or float32.",
        )
    torch_name, item_bytes = DTYPES[dtype]
    needed = prod(shape) * item_bytes
    if end - begin != needed:
        raise CorruptFile(
            f"In {path.name} the tensor {shown} needs {needed:,} bytes, but has {end - begin:,}.",
            GET_IT_AGAIN,
        )
    return TensorInfo(torch_name, tuple(shape), data_start + begin, needed)


def _shown(name: str) -> str:
    return clean(name, _MAX_SHOWN)


def _are_sizes(values: Sequence[object]) -> bool:
    """Of a few numbers that a file may have."""
    return len(values) <= _MAX_SIZES and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _map_file(path: Path) -> torch.UntypedStorage:
    import torch

    size = path.stat().st_size
    return torch.UntypedStorage.from_file(str(path), shared=False, nbytes=size)  # type: ignore[return-value]


def _view(storage: torch.UntypedStorage, info: TensorInfo) -> torch.Tensor:
    import torch

    dtype: torch.dtype = getattr(torch, info.dtype)
    if info.offset % dtype.itemsize == 0:
        return torch.empty(0, dtype=dtype).set_(storage, info.offset // dtype.itemsize, info.shape)  # type: ignore[call-overload,no-any-return]
    as_bytes = torch.empty(0, dtype=torch.uint8).set_(storage, info.offset, (info.size_bytes,))  # type: ignore[call-overload]
    aligned: torch.Tensor = as_bytes.clone().view(dtype).reshape(info.shape)
    return aligned
