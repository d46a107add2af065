"""ONNX's operators: each does what its documentation says, and shapes are computed from shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from studio.models.onnx_file import read_graph
from studio.models.onnx_net import OnnxNet
from studio.models.safetensors_file import mapped_weights
from studio.models.weights import Header
from tests.onnx_writer import model, node

X = torch.randn((1, 3, 8, 10), generator=torch.Generator().manual_seed(0))
W = torch.randn((4, 3, 3, 3), generator=torch.Generator().manual_seed(1))
V = torch.tensor([0.5, 2.0, 1.0])


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def one(op: str, *inputs: Any, version: int = 17, outputs: str = "y", **attributes: Any) -> tuple[Any, ...]:
    return op, inputs, version, outputs, attributes


CASES = [
    (one("Conv", W, pads=[1, 1, 1, 1], strides=[2, 2]), functional.conv2d(X, W, None, 2, 1)),
    (
        one("Conv", W, V.numpy().repeat(2)[:4], pads=[0, 1, 2, 0]),
        functional.conv2d(functional.pad(X, (1, 0, 0, 2)), W, V.repeat_interleave(2)[:4]),
    ),
    (
        one("Conv", W[:3, :1], group=3, dilations=[2, 2]),
        functional.conv2d(X, W[:3, :1], None, 1, 0, 2, 3),
    ),
    (one("MaxPool", kernel_shape=[5, 5], pads=[2, 2, 2, 2]), functional.max_pool2d(X, 5, 1, 2)),
    (
        one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        functional.max_pool2d(functional.pad(X, (0, 1, 0, 1), value=-1e9), 3, 2),
    ),
    (
        one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        functional.avg_pool2d(X, 3, 2, 1, count_include_pad=False),
    ),
    (one("GlobalAveragePool"), X.mean((2, 3), keepdim=True)),
    (
        one("BatchNormalization", V, V, V, V, epsilon=0.1),
        functional.batch_norm(X, V, V, V, V, eps=0.1),
    ),
    (one("MatMul", torch.ones(10, 2)), X @ torch.ones(10, 2)),
    (one("Resize", None, np.array([1, 1, 2, 2], np.float32), coordinate_transformation_mode="asymmetric",
         nearest_mode="floor"), X.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    (one("Resize", None, None, whole(1, 3, 16, 30)), X.repeat_interleave(2, 2).repeat_interleave(3, 3)),
    (one("Upsample", np.array([1, 1, 2, 1], np.float32), version=9), X.repeat_interleave(2, 2)),
    (one("Relu"), X.clamp(min=0)),
    (one("LeakyRelu", alpha=0.3), torch.where(X < 0, 0.3 * X, X)),
    (one("Sigmoid"), 1 / (1 + (-X).exp())),
    (one("HardSigmoid", alpha=0.25), (0.25 * X + 0.5).clamp(0, 1)),
    (one("HardSwish", version=14), X * (X / 6 + 0.5).clamp(0, 1)),
    (one("Tanh"), X.tanh()),
    (one("Softmax", axis=2), X.softmax(2)),
    (one("Softmax", axis=2, version=11), X.flatten(2).softmax(2).reshape(X.shape)),
    (one("Clip", None, np.float32(0.5)), X.clamp(max=0.5)),
    (one("Clip", min=-0.5, max=0.25, version=6), X.clamp(-0.5, 0.25)),
    (one("Exp"), X.exp()),
    (one("Add", V[:, None, None]), X + V[:, None, None]),
    (one("Sub", V[:, None, None]), X - V[:, None, None]),
    (one("Mul", V[:, None, None]), X * V[:, None, None]),
    (one("Div", V[:, None, None]), X / V[:, None, None]),
    (one("Pow", np.float32(2)), X**2),
    (one("Max", V[:, None, None]), X.maximum(V[:, None, None])),
    (one("ReduceMean", axes=[2], keepdims=0), X.mean(2)),
    (one("ReduceSum", whole(-1)), X.sum(-1, keepdim=True)),
    (one("ReduceL2", axes=[1]), (X**2).sum(1, keepdim=True).sqrt()),
    (one("ReduceMean"), X.mean((0, 1, 2, 3), keepdim=True)),
    (one("Concat", X, axis=-3), torch.cat([X, X], 1)),
    (one("Split", whole(1, 2), axis=1, outputs="z y"), X[:, 1:]),
    (one("Split", axis=3, outputs="y z", version=11), X[..., :5]),
    (one("Slice", whole(1), whole(2**63 - 1), whole(3), whole(2)), X[..., 1::2]),
    (one("Slice", starts=[-3, 0], ends=[-1, 2], axes=[2, 1], version=9), X[:, :2, -3:-1]),
    (one("Gather", np.array([[2, -3]]), axis=1), X[:, [2, 0]].reshape(1, 1, 2, 8, 10)),
    (one("Reshape", whole(0, -1, 5)), X.reshape(1, -1, 5)),
    (one("Flatten", axis=2), X.reshape(3, 80)),
    (one("Transpose", perm=[0, 2, 3, 1]), X.permute(0, 2, 3, 1)),
    (one("Transpose"), X.permute(3, 2, 1, 0)),
    (one("Squeeze", whole(0)), X[0]),
    (one("Squeeze", version=11), X[0]),
    (one("Unsqueeze", whole(0, -1)), X[None, ..., None]),
    (one("Cast", to=10), X),
    (one("Dropout"), X),
]  # fmt: skip


def written(folder: Path, case: tuple[Any, ...], name: str = "net.onnx") -> Path:
    op, inputs, version, outputs, attributes = case
    tensors = {f"t{at}": np.asarray(each) for at, each in enumerate(inputs) if each is not None}
    names = ["x", *(f"t{at}" if each is not None else "-" for at, each in enumerate(inputs))]
    nodes = [node(op, " ".join(names), outputs, **attributes)]
    path = folder / name
    path.write_bytes(model(nodes, tensors, {"x": X.shape}, ["y"], version=version))
    return path


def net_in(path: Path) -> OnnxNet:
    graph = read_graph(path)
    return OnnxNet(graph, mapped_weights(path, Header(graph.weights)))


@pytest.mark.parametrize(
    ("case", "expected"), CASES, ids=[f"{case[0]}-{at}" for at, (case, _) in enumerate(CASES)]
)
def test_an_operator_does_what_onnx_says(case: tuple[Any, ...], expected: torch.Tensor, tmp_path: Path):
    net = net_in(written(tmp_path, case))
    answer = net(X)["y"]
    assert answer.shape == expected.shape == net.ports.shapes["y"]
    assert torch.allclose(answer, expected, atol=1e-5)


def test_the_matrix_layer_scales_and_turns(tmp_path: Path):
    nodes = [
        node("Flatten", "x", "flat"),
        node("Gemm", "flat w c", "y", alpha=0.5, beta=2.0, transB=1),
    ]
    weights = torch.randn(2, 240, generator=torch.Generator().manual_seed(2))
    path = tmp_path / "net.onnx"
    path.write_bytes(model(nodes, {"w": weights.numpy(), "c": np.ones(2, np.float32)}, {"x": X.shape}, ["y"]))
    assert torch.allclose(net_in(path)(X)["y"], 0.5 * X.reshape(1, 240) @ weights.T + 2, atol=1e-5)


def test_shapes_are_computed_from_shapes(tmp_path: Path):
    """As exporters write a reshape where the number of pictures is open."""
    nodes = [
        node("Constant", "", "first", value=whole(0)),
        node("Constant", "", "rest", value_ints=[3, 80]),
        node("Shape", "x", "shape"),
        node("Gather", "shape first", "batch"),
        node("Div", "batch first_and_only", "whole"),
        node("Concat", "whole rest", "wanted", axis=0),
        node("Reshape", "x wanted", "y"),
    ]
    path = tmp_path / "net.onnx"
    path.write_bytes(model(nodes, {"first_and_only": whole(1)}, {"x": ["batch", 3, 8, 10]}, ["y"]))
    assert torch.equal(net_in(path)(X)["y"], X.reshape(1, 3, 80))


def test_one_constant_may_have_several_names(tmp_path: Path):
    nodes = [
        node("Identity", "low", "also_low"),
        node("Constant", "", "high", value_float=0.5),
        node("Clip", "x also_low high", "y"),
    ]
    path = tmp_path / "net.onnx"
    path.write_bytes(model(nodes, {"low": np.array(-0.25, np.float32)}, {"x": X.shape}, ["y"]))
    assert torch.equal(net_in(path)(X)["y"], X.clamp(-0.25, 0.5))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_weights_of_other_precision_become_float32(dtype: str, tmp_path: Path):
    """Large ones too, which stay in the file until they are used."""
    large = np.linspace(-1, 1, 10 * 8000).reshape(10, 8000).astype(dtype)
    path = tmp_path / "net.onnx"
    path.write_bytes(model([node("MatMul", "x w", "y")], {"w": large}, {"x": X.shape}, ["y"]))
    answer = net_in(path)(X)["y"]
    assert answer.dtype == torch.float32
    assert torch.allclose(answer, X @ torch.from_numpy(large).float(), atol=1e-4)
