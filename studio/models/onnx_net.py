"""Nets of ONNX files as modules of torch: run step by step by `onnx_ops`, moved and counted like all others.

OpenCV could run these files too, but it holds their weights where the manager does not count them, and some
damaged ones end its process: 28 of 300 that were cut off or had one to ten wrong bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from studio.core.errors import CorruptFile, UnknownFile
from studio.models.annotator_graphs import Ports
from studio.models.onnx_call import Call
from studio.models.onnx_file import Graph, Node
from studio.models.onnx_ops import OPERATORS
from studio.models.weights import GET_IT_AGAIN, Weights

_MOST_STEPS = 5_000
_MOST_NUMBERS = 2**26
"""Of one tensor while the net runs: ten times the largest of YOLOX's."""
_MOST_WHOLE_NUMBERS = 2**10
"""Of one tensor of whole numbers, which are shapes and positions."""
_LONGEST_SIDE = 2048
"""Of the picture that a net reads, px."""


class OnnxNet(torch.nn.Module):
    """The net of an ONNX file.

    Raises: as `ports_of`.
    """

    def __init__(self, graph: Graph, weights: Weights) -> None:
        super().__init__()
        self.ports = ports_of(graph)
        self._graph = graph
        self._places: dict[str, str] = {}
        for name in graph.weights:
            self._hold(name, weights[name])
        for name, values in graph.values.items():
            if values.dtype.kind == "f":
                self._hold(name, torch.from_numpy(np.array(values, np.float32)))

    def _hold(self, name: str, tensor: Tensor) -> None:
        self._places[name] = f"tensor{len(self._places)}"
        self.register_buffer(self._places[name], tensor.detach().float())

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """(1, 3, H, W) as the net was trained -> its answers by name."""
        held = {name: self.get_buffer(place) for name, place in self._places.items()}
        return _run(self._graph, picture, held)


def ports_of(graph: Graph) -> Ports:
    """What a net reads and answers: found by running it once without numbers, which also proves that it runs.

    Raises:
        UnknownFile: it reads something else than one picture, or has steps that Easel does not know.
        CorruptFile: it contradicts itself.
    """
    unknown = sorted({node.op for node in graph.nodes} - OPERATORS.keys())
    if unknown:
        raise UnknownFile(
            f"{graph.file} is a net with steps that Easel does not know: {', '.join(unknown)[:200]}."
        )
    if any("float" not in info.dtype for info in graph.weights.values()):
        raise UnknownFile(f"{graph.file} holds weights in whole numbers.", "Choose a version in float32.")
    size = _picture_size(graph)
    shapes = {name: info.shape for name, info in graph.weights.items()}
    shapes |= {name: values.shape for name, values in graph.values.items() if values.dtype.kind == "f"}
    held = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    answers = _run(graph, torch.empty((1, 3, *size), device="meta"), held)
    return Ports(size, {name: tuple(answer.shape) for name, answer in answers.items()})


def _picture_size(graph: Graph) -> tuple[int, int]:
    match list(graph.inputs.values()):
        case [(1 | None, 3, int(height), int(width))] if (
            0 < min(height, width) <= max(height, width) <= _LONGEST_SIDE
        ):
            return height, width
    raise UnknownFile(f"{graph.file} is a net that reads something else than one picture of a fixed size.")


def _run(graph: Graph, picture: Tensor, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if len(graph.nodes) > _MOST_STEPS:
        raise CorruptFile(f"{graph.file} has {len(graph.nodes):,} steps, as no net has.", GET_IT_AGAIN)
    whole = {
        name: torch.from_numpy(np.array(values, np.int64))
        for name, values in graph.values.items()
        if values.dtype.kind != "f"
    }
    known: dict[str, Tensor] = {**held, **whole, next(iter(graph.inputs)): picture}
    last = {name: at for at, node in enumerate(graph.nodes) for name in node.inputs}
    for at, node in enumerate(graph.nodes):
        known.update(_step(graph, node, known))
        for name in node.inputs:
            if last[name] == at and name not in graph.outputs:
                known.pop(name, None)
    try:
        return {name: known[name] for name in graph.outputs}
    except KeyError as error:
        raise _fault(graph, f"it promises {error}, which no step computes") from error


def _step(graph: Graph, node: Node, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        inputs = [_input(known, name) for name in node.inputs]
        made = OPERATORS[node.op](Call(node, graph.version, inputs, graph.values))
        outputs = zip(node.outputs, [made] if isinstance(made, Tensor) else made, strict=True)
        return {name: _of_sane_size(tensor) for name, tensor in outputs if name}
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a graph from a file can make an operator raise anything
        raise _fault(graph, f"at a step {node.op}, {str(error)[:300]}") from error


def _input(known: Mapping[str, Tensor], name: str) -> Tensor | None:
    if name and name not in known:
        raise ValueError(f"its input {name[:80]} comes from nowhere")
    return known.get(name)


def _of_sane_size(tensor: Tensor) -> Tensor:
    most = _MOST_NUMBERS if tensor.is_floating_point() else _MOST_WHOLE_NUMBERS
    if tensor.numel() > most:
        raise ValueError(f"a tensor of the shape {tuple(tensor.shape)} is larger than any net needs")
    return tensor


def _fault(graph: Graph, what: str) -> CorruptFile:
    return CorruptFile(f"The net of {graph.file} cannot be run: {what}.", GET_IT_AGAIN)
