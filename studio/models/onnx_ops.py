"""ONNX's operators in torch, as far as the nets that come in such files use them.

Their meaning: https://onnx.ai/onnx/operators. Shapes and positions are numbers of the file, or computed from
shapes; never from a picture's content, so that a net that runs once without numbers always runs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from studio.models.onnx_call import Call

Operator = Callable[[Call], "Tensor | Sequence[Tensor]"]


def _of_one(compute: Callable[[Tensor], Tensor]) -> Operator:
    return lambda call: compute(call.tensor(0))


def _of_two(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda call: compute(call.tensor(0), call.tensor(1))


def _divided(one: Tensor, other: Tensor) -> Tensor:
    whole = not one.is_floating_point() and not other.is_floating_point()
    return torch.div(one, other, rounding_mode="trunc" if whole else None)


# -- layers ---------------------------------------------------------------------------------------------


def _padded(call: Call, picture: Tensor, fill: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """The picture with the padding that torch's layers cannot add, and the padding that they shall add."""
    how = call.attribute("auto_pad", "NOTSET")
    if how not in ("NOTSET", "VALID"):
        raise ValueError(f"the padding {how!r} is not known")
    top, left, bottom, right = call.attribute("pads", [0, 0, 0, 0])
    if (top, left) == (bottom, right):
        return picture, (top, left)
    return functional.pad(picture, (left, right, top, bottom), value=fill), (0, 0)


def _convolution(call: Call) -> Tensor:
    picture, padding = _padded(call, call.picture())
    return functional.conv2d(
        picture,
        call.tensor(1),
        call.optional(2),
        call.attribute("strides", [1, 1]),
        padding,
        call.attribute("dilations", [1, 1]),
        call.attribute("group", 1),
    )


def _largest(call: Call) -> Tensor:
    picture, padding = _padded(call, call.picture(), float("-inf"))
    return functional.max_pool2d(
        picture,
        call.attribute("kernel_shape", []),
        call.attribute("strides", [1, 1]),
        padding,
        call.attribute("dilations", [1, 1]),
        ceil_mode=bool(call.attribute("ceil_mode", 0)),
    )


def _average(call: Call) -> Tensor:
    top, left, bottom, right = call.attribute("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise ValueError("an average with uneven padding is not known")
    return functional.avg_pool2d(
        call.picture(),
        call.attribute("kernel_shape", []),
        call.attribute("strides", [1, 1]),
        (top, left),
        ceil_mode=bool(call.attribute("ceil_mode", 0)),
        count_include_pad=bool(call.attribute("count_include_pad", 0)),
    )


def _normalised(call: Call) -> Tensor:
    factor, shift, mean, variance = (call.tensor(at) for at in range(1, 5))
    eps = call.attribute("epsilon", 1e-5)
    return functional.batch_norm(call.tensor(0), mean, variance, factor, shift, eps=eps)


def _matrix_layer(call: Call) -> Tensor:
    one, other = call.tensor(0), call.tensor(1)
    one = one.T if call.attribute("transA", 0) else one
    other = other.T if call.attribute("transB", 0) else other
    alpha: float = call.attribute("alpha", 1.0)
    beta: float = call.attribute("beta", 1.0)
    added = call.optional(2)
    return alpha * (one @ other) if added is None else alpha * (one @ other) + beta * added


def _enlarged(call: Call) -> Tensor:
    """Each pixel several times: the one way of resizing in which ONNX's many ways agree."""
    picture = call.picture()
    place = call.attribute(
        "coordinate_transformation_mode", "asymmetric" if call.version < 11 else "half_pixel"
    )
    rounded = call.attribute("nearest_mode", "floor" if call.version < 11 else "round_prefer_floor")
    exact = (place, rounded == "floor") in (("asymmetric", True), ("half_pixel", False))
    scales = _scales(call, picture)
    if call.attribute("mode", "nearest") != "nearest" or not exact or scales[:2] != [1, 1]:
        raise ValueError("this way of resizing is not known")
    if any(scale < 1 or scale != int(scale) for scale in scales):
        raise ValueError(f"it resizes by {scales}, and not by whole numbers")
    return functional.interpolate(picture, scale_factor=scales[2:], mode="nearest")


def _scales(call: Call, picture: Tensor) -> list[float]:
    given = call.node.attributes.get("scales") or call.numbers(1 if call.version < 11 else 2)
    if given:
        return list(given)
    sizes = call.needed(3)
    return [size / side for size, side in zip(sizes, picture.shape, strict=True)]


# -- activations ----------------------------------------------------------------------------------------


def _hard_sigmoid(call: Call) -> Tensor:
    alpha: float = call.attribute("alpha", 0.2)
    beta: float = call.attribute("beta", 0.5)
    return (call.tensor(0) * alpha + beta).clamp(0, 1)


def _leaky(call: Call) -> Tensor:
    slope: float = call.attribute("alpha", 0.01)
    return functional.leaky_relu(call.tensor(0), slope)


def _softmax(call: Call) -> Tensor:
    tensor = call.tensor(0)
    if call.version >= 13:
        return tensor.softmax(call.attribute("axis", -1))
    # Older versions see a matrix: all that comes from the axis on is one row.
    return tensor.flatten(call.attribute("axis", 1)).softmax(-1).reshape(tensor.shape)


def _clipped(call: Call) -> Tensor:
    bounds = (call.told("min", 1), call.told("max", 2))
    lowest, highest = (bound[0] if isinstance(bound, list) else bound for bound in bounds)
    return call.tensor(0) if lowest is highest is None else call.tensor(0).clamp(lowest, highest)


# -- shapes ---------------------------------------------------------------------------------------------


def _axis(axis: int, dimensions: int) -> int:
    if not -dimensions <= axis < dimensions:
        raise ValueError(f"there is no axis {axis} among {dimensions}")
    return axis % dimensions


def _joined(call: Call) -> Tensor:
    tensors = [call.tensor(at) for at in range(len(call.tensors))]
    return torch.cat(tensors, _axis(call.attribute("axis", 0), tensors[0].ndim))


def _split(call: Call) -> Sequence[Tensor]:
    tensor, parts = call.tensor(0), len(call.node.outputs)
    axis = _axis(call.attribute("axis", 0), tensor.ndim)
    return torch.split(tensor, call.told("split", 1) or -(-tensor.shape[axis] // parts), axis)


def _sliced(call: Call) -> Tensor:
    tensor = call.tensor(0)
    starts, ends = call.told("starts", 1), call.told("ends", 2)
    axes = call.told("axes", 3) or list(range(len(starts)))
    steps = call.numbers(4) or [1] * len(starts)
    if min(steps, default=1) < 1:
        raise ValueError("slices that run backwards are not known")
    kept = [slice(None)] * tensor.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        kept[_axis(axis, tensor.ndim)] = slice(start, end, step)
    return tensor[tuple(kept)]


def _gathered(call: Call) -> Tensor:
    tensor, chosen = call.tensor(0), call.needed(1)
    axis = _axis(call.attribute("axis", 0), tensor.ndim)
    places = torch.tensor([_axis(place, tensor.shape[axis]) for place in chosen], device=tensor.device)
    shape = (*tensor.shape[:axis], *call.tensor(1).shape, *tensor.shape[axis + 1 :])
    return tensor.index_select(axis, places.long()).reshape(shape)


def _reshaped(call: Call) -> Tensor:
    tensor = call.tensor(0)
    if call.attribute("allowzero", 0):
        raise ValueError("tensors without numbers are not known")
    return tensor.reshape([side or tensor.shape[at] for at, side in enumerate(call.needed(1))])


def _flat(call: Call) -> Tensor:
    tensor, axis = call.tensor(0), call.attribute("axis", 1)
    return tensor.reshape(prod(tensor.shape[: axis % (tensor.ndim + 1)]), -1)


def _turned(call: Call) -> Tensor:
    tensor = call.tensor(0)
    return tensor.permute(call.attribute("perm", list(range(tensor.ndim))[::-1]))


def _squeezed(call: Call) -> Tensor:
    tensor = call.tensor(0)
    axes = call.told("axes", 1) or [at for at, side in enumerate(tensor.shape) if side == 1]
    gone = {_axis(axis, tensor.ndim) for axis in axes}
    if any(tensor.shape[axis] != 1 for axis in gone):
        raise ValueError(f"it drops a side of {tuple(tensor.shape)} that is longer than 1")
    return tensor.reshape([side for at, side in enumerate(tensor.shape) if at not in gone])


def _unsqueezed(call: Call) -> Tensor:
    tensor, axes = call.tensor(0), call.told("axes", 1)
    for axis in sorted(_axis(axis, tensor.ndim + len(axes)) for axis in axes):
        tensor = tensor.unsqueeze(axis)
    return tensor


def _shape(call: Call) -> Tensor:
    shape = list(call.tensor(0).shape)
    return torch.tensor(shape[call.attribute("start", 0) : call.attribute("end", None)])


def _cast(call: Call) -> Tensor:
    """Into the one type of each kind that tensors have here."""
    kind = call.attribute("to", 1)
    if kind not in _CASTS:
        raise ValueError(f"the type {kind} is not known")
    return call.tensor(0).to(_CASTS[kind])


_CASTS = {
    **dict.fromkeys((1, 10, 11, 16), torch.float32),
    **dict.fromkeys((2, 3, 5, 6, 7), torch.int64),
    9: torch.bool,
}
"""By TensorProto.DataType."""


def _reduced(compute: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def run(call: Call) -> Tensor:
        tensor = call.tensor(0)
        axes = call.told("axes", 1) or list(range(tensor.ndim))
        return compute(tensor, axes, bool(call.attribute("keepdims", 1)))

    return run


OPERATORS: Mapping[str, Operator] = {
    "Conv": _convolution,
    "MaxPool": _largest,
    "AveragePool": _average,
    "GlobalAveragePool": lambda call: call.picture().mean((2, 3), keepdim=True),
    "BatchNormalization": _normalised,
    "MatMul": _of_two(torch.matmul),
    "Gemm": _matrix_layer,
    "Resize": _enlarged,
    "Upsample": _enlarged,
    "Relu": _of_one(torch.relu),
    "LeakyRelu": _leaky,
    "Sigmoid": _of_one(torch.sigmoid),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _of_one(functional.hardswish),
    "Tanh": _of_one(torch.tanh),
    "Softmax": _softmax,
    "Clip": _clipped,
    "Exp": _of_one(torch.exp),
    "Sqrt": _of_one(torch.sqrt),
    "Add": _of_two(operator.add),
    "Sub": _of_two(operator.sub),
    "Mul": _of_two(operator.mul),
    "Div": _of_two(_divided),
    "Pow": _of_two(torch.pow),
    "Max": lambda call: reduce(torch.maximum, [call.tensor(at) for at in range(len(call.tensors))]),
    "ReduceMean": _reduced(lambda tensor, axes, keep: tensor.mean(axes, keepdim=keep)),
    "ReduceSum": _reduced(lambda tensor, axes, keep: tensor.sum(axes, keepdim=keep)),
    "ReduceL2": _reduced(lambda tensor, axes, keep: torch.linalg.vector_norm(tensor, dim=axes, keepdim=keep)),
    "Concat": _joined,
    "Split": _split,
    "Slice": _sliced,
    "Gather": _gathered,
    "Reshape": _reshaped,
    "Flatten": _flat,
    "Transpose": _turned,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Shape": _shape,
    "Cast": _cast,
    "Identity": _of_one(lambda tensor: tensor),
    "Dropout": _of_one(lambda tensor: tensor),
}
"""By ONNX's names."""
