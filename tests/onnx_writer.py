"""ONNX files written by hand, so that no test needs ONNX's library. Numbers of fields: see onnx.proto3."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DTYPES = {"float32": 1, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}


def varint(number: int) -> bytes:
    number %= 2**64
    start = b""
    while number >= 0x80:
        start += bytes([number & 0x7F | 0x80])
        number >>= 7
    return start + bytes([number])


def field(number: int, content: int | float | str | bytes) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, float):
        return varint(number << 3 | 5) + struct.pack("<f", content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(
    array: np.ndarray, name: str = "", *, dims: Sequence[int] | None = None, more: bytes = b""
) -> bytes:
    """Args: dims, more: what makes it lie."""
    sides = b"".join(field(1, side) for side in (array.shape if dims is None else dims))
    return sides + field(2, DTYPES[str(array.dtype)]) + field(8, name) + field(9, array.tobytes()) + more


def attribute(name: str, value: Any) -> bytes:
    match value:
        case np.ndarray():
            kind, content = 4, field(5, tensor(value))
        case int():
            kind, content = 2, field(3, value)
        case float():
            kind, content = 1, field(2, value)
        case str():
            kind, content = 3, field(4, value)
        case [float(), *_]:
            kind, content = 6, field(7, struct.pack(f"<{len(value)}f", *value))
        case _:
            kind, content = 7, field(8, b"".join(map(varint, value)))
    return field(1, name) + field(20, kind) + content


def node(op: str, inputs: str, outputs: str, *, domain: str = "", **attributes: Any) -> bytes:
    """Args: inputs, outputs: names, with spaces between them; `-` for one that is left out."""
    names = [field(1, name.strip("-")) for name in inputs.split()] + [
        field(2, name) for name in outputs.split()
    ]
    told = [field(5, attribute(name, value)) for name, value in attributes.items()]
    return b"".join([*names, field(4, op), *told, field(7, domain)])


def model(
    nodes: Sequence[bytes],
    tensors: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    *,
    version: int = 17,
    more: bytes = b"",
) -> bytes:
    """Args: inputs: their shapes; a side that has a name is open. more: further fields of the graph."""
    graph = [field(2, "net"), *(field(1, each) for each in nodes)]
    graph += [field(5, tensor(array, name)) for name, array in tensors.items()]
    graph += [field(11, _place(name, shape)) for name, shape in inputs.items()]
    graph += [field(12, field(1, name)) for name in outputs]
    return field(1, 8) + field(7, b"".join(graph) + more) + field(8, field(1, "") + field(2, version))


def _place(name: str, shape: Sequence[int | str]) -> bytes:
    sides = b"".join(field(1, field(2 if isinstance(side, str) else 1, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sides)))
