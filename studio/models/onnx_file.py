"""ONNX files, read by hand: the graph of a net, and where its weights lie. Nothing in them is executed.

Format: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3. A graph that keeps weights in further files
is refused: what comes from outside names no path here.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import CorruptFile, NotFound, UnknownFile
from studio.models.protobuf import Message, ProtobufReader, Span, span_of
from studio.models.weights import GET_IT_AGAIN, TensorInfo

ONNX = ".onnx"

MAX_BYTES = 2**30
"""Five times the largest net that comes in such a file."""

_SMALL_BYTES = 2**16
"""Tensors up to this size are read at once: sizes, bounds, factors."""

_MAX_DIMENSIONS = 8

Shape = tuple[int | None, ...]
"""None where the file leaves a side open, as it does with the number of pictures."""

Values = NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One step of a graph."""

    op: str
    """ONNX's name of the operator; one that is not its own has the domain before it."""
    inputs: tuple[str, ...]
    """Names of tensors; empty for one that is left out."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    """Numbers, texts, lists of them, tensors."""


@dataclass(frozen=True)
class Graph:
    file: str
    version: int
    """Of ONNX's set of operators."""
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    nodes: tuple[Node, ...]
    """In the order in which they are run."""
    weights: Mapping[str, TensorInfo]
    """Large tensors, which stay in the file until they are used."""
    values: Mapping[str, Values]
    """Small ones."""


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file.

    Raises:
        CorruptFile: truncated, garbled, or larger than any net that Easel runs from such a file.
        UnknownFile: it keeps weights in other files, or in a type that is not read.
        NotFound: no such file.
    """
    if not path.is_file():
        raise NotFound(f"The model file {path.name} is not there.", "Refresh the list of models.")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise CorruptFile(f"{path.name} is {size:,} bytes long, as no net is that Easel runs.", GET_IT_AGAIN)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _GraphReader(path.name, ProtobufReader(data)).graph()
        except (ValueError, LookupError, OverflowError) as error:
            raise CorruptFile(
                f"{path.name} is no ONNX file, or it is damaged: {error}.", GET_IT_AGAIN
            ) from error


class _Type(NamedTuple):
    name: str
    """torch's."""
    packed: str
    """numpy's, as it lies in the file."""
    field: int
    """Of TensorProto, for numbers that are no raw bytes; 0 where that is not read."""


_TYPES: Mapping[int, _Type] = {
    1: _Type("float32", "<f4", 4),
    6: _Type("int32", "<i4", 5),
    7: _Type("int64", "<i8", 7),
    9: _Type("bool", "?", 5),
    10: _Type("float16", "<f2", 0),
    11: _Type("float64", "<f8", 10),
}
"""By TensorProto.DataType."""

_ONE_A_NUMBER = frozenset({5, 7})
"""Fields of TensorProto whose numbers are of varying length."""

_RAW = 9


class _GraphReader:
    """Reads ONNX's messages; the numbers are those of their fields."""

    def __init__(self, file: str, reader: ProtobufReader) -> None:
        self._file = file
        self._read = reader
        self._weights: dict[str, TensorInfo] = {}
        self._values: dict[str, Values] = {}

    def graph(self) -> Graph:
        model = self._read.message(self._read.everything)
        if 7 not in model:
            raise ValueError("it holds no graph")
        graph = self._read.inner(model, 7)
        for field in graph.get(5, ()):
            tensor = self._read.message(field)
            self._keep(self._read.text(tensor, 8), self._tensor(tensor))
        nodes = [self._node(self._read.message(field)) for field in graph.get(1, ())]
        run = tuple(node for node in nodes if not self._fold(node))
        return Graph(
            self._file,
            self._version(model),
            {name: shape for name, shape in self._places(graph, 11).items() if not self._holds(name)},
            self._places(graph, 12),
            run,
            self._weights,
            self._values,
        )

    def _version(self, model: Message) -> int:
        sets = [self._read.message(field) for field in model.get(8, ())]
        own = [self._read.whole(each, 2) for each in sets if self._read.text(each, 1) in ("", "ai.onnx")]
        return max(own, default=1)

    def _places(self, graph: Message, number: int) -> dict[str, Shape]:
        """Names and shapes of what goes in or comes out."""
        places = [self._read.message(field) for field in graph.get(number, ())]
        return {self._read.text(place, 1): self._shape(place) for place in places}

    def _shape(self, place: Message) -> Shape:
        sides = [self._read.message(field) for field in self._read.inner(place, 2, 1, 2).get(1, ())]
        return tuple(self._read.whole(side, 1) if 1 in side else None for side in sides)

    def _node(self, node: Message) -> Node:
        domain, op = self._read.text(node, 7), self._read.text(node, 4)
        attributes = [self._read.message(field) for field in node.get(5, ())]
        return Node(
            op if domain in ("", "ai.onnx") else f"{domain}.{op}",
            self._read.texts(node, 1),
            self._read.texts(node, 2),
            {self._read.text(each, 1): self._attribute(each) for each in attributes},
        )

    def _attribute(self, attribute: Message) -> Any:
        """Its value, by AttributeProto.AttributeType; None for kinds that no operator of ours has."""
        match self._read.whole(attribute, 20):
            case 1:
                return next(iter(self._floats(attribute, 2)), 0.0)
            case 2:
                return self._read.whole(attribute, 3)
            case 3:
                return self._read.text(attribute, 4)
            case 4:
                return self._tensor(self._read.inner(attribute, 5))
            case 6:
                return self._floats(attribute, 7)
            case 7:
                return self._read.wholes(attribute, 8)
        return None

    def _floats(self, message: Message, number: int) -> list[float]:
        content = b"".join(map(self._read.bytes, message.get(number, ())))
        return [float(value) for value in np.frombuffer(content, "<f4")]

    def _tensor(self, tensor: Message) -> TensorInfo | Values:
        if 13 in tensor or self._read.whole(tensor, 14):
            raise UnknownFile(
                f"{self._file} keeps its weights in other files.", "Choose a version that is a single file."
            )
        number = self._read.whole(tensor, 2)
        if number not in _TYPES:
            raise UnknownFile(
                f"{self._file} holds tensors of a type that Easel does not read (number {number} of ONNX's).",
                "Choose a version in float32.",
            )
        shape = tuple(self._read.wholes(tensor, 1))
        if len(shape) > _MAX_DIMENSIONS or any(side < 0 for side in shape):
            raise ValueError(f"a tensor has the shape {shape[:_MAX_DIMENSIONS]}")
        return self._content(tensor, _TYPES[number], shape)

    def _content(self, tensor: Message, kind: _Type, shape: tuple[int, ...]) -> TensorInfo | Values:
        if _RAW not in tensor and kind.field in _ONE_A_NUMBER:
            return np.array(self._read.wholes(tensor, kind.field), kind.packed).reshape(shape)
        needed = prod(shape) * np.dtype(kind.packed).itemsize
        spans = [span_of(field) for field in tensor.get(_RAW if _RAW in tensor else kind.field, ())]
        held = sum(span.size for span in spans)
        if held != needed:
            raise ValueError(f"a tensor of the shape {shape} needs {needed:,} bytes, but has {held:,}")
        if needed > _SMALL_BYTES and len(spans) == 1:
            return TensorInfo(kind.name, shape, spans[0].start, needed)
        return np.frombuffer(self._joined(spans), kind.packed).reshape(shape)

    def _joined(self, spans: list[Span]) -> bytes:
        return b"".join(map(self._read.bytes, spans))

    def _keep(self, name: str, tensor: TensorInfo | Values) -> None:
        if not name or self._holds(name):
            raise ValueError(f"two tensors are called {name[:80]!r}")
        if isinstance(tensor, TensorInfo):
            self._weights[name] = tensor
        elif tensor.dtype.kind in "fib":
            self._values[name] = tensor
        else:
            raise ValueError(f"the constant {name[:80]!r} is no number")

    def _holds(self, name: str) -> bool:
        return name in self._weights or name in self._values

    def _fold(self, node: Node) -> bool:
        """Whether a node only names a tensor of the file, which is then kept by that name, and is not run."""
        if node.op == "Identity" and node.inputs[0] in self._values:
            self._keep(node.outputs[0], self._values[node.inputs[0]])
            return True
        if node.op != "Constant":
            return False
        (value,) = node.attributes.values()
        self._keep(node.outputs[0], value if isinstance(value, TensorInfo) else np.asarray(value))
        return True
