"""Nets of ONNX files as modules: their numbers are torch's, and the manager counts what it cannot see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from studio.core.errors import CorruptFile
from studio.core.settings import Settings
from studio.models.annotators import annotator_of
from studio.models.catalogue import ModelCatalogue
from studio.models.device import Device
from studio.models.manager import ModelManager
from studio.models.onnx_net import OnnxNet
from tests.control import nets
from tests.onnx_writer import field, model, node

X = torch.randn((1, 3, 8, 10), generator=torch.Generator().manual_seed(0))
W = torch.randn((4, 3, 3, 3), generator=torch.Generator().manual_seed(1))
V = torch.randn((2, 160), generator=torch.Generator().manual_seed(2))

STEPS = [
    node("Conv", "x w", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]),
    node("Sigmoid", "c", "s"),
    node("Mul", "c s", "m"),
    node("MaxPool", "m", "p", kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[2, 1]),
    node("Flatten", "p", "f"),
    node("Gemm", "f v", "y", transB=1),
]


def test_a_net_answers_what_torch_does(tmp_path: Path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model(STEPS, {"w": W.numpy(), "v": V.numpy()}, {"x": ["batch", 3, 8, 10]}, ["y", "p"]))
    net = OnnxNet(path)
    assert net.ports.size == (8, 10)
    assert net.ports.shapes == {"y": (1, 2), "p": (1, 4, 4, 10)}
    assert net.bytes_outside_torch == path.stat().st_size
    pooled = functional.max_pool2d(functional.silu(functional.conv2d(X, W, None, 1, 1)), 5, (2, 1), 2)
    answers = net(X)
    assert torch.allclose(answers["p"], pooled, atol=1e-5)
    assert torch.allclose(answers["y"], pooled.reshape(1, 160) @ V.T, atol=1e-4)


def test_a_net_in_half_precision_reads_what_others_read(tmp_path: Path):
    half = field(11, field(1, "x") + field(2, field(1, field(1, 10) + field(2, _sides(1, 3, 8, 10)))))
    path = tmp_path / "net.onnx"
    factor = {"w": np.full(1, 0.5, np.float16)}
    path.write_bytes(model([node("Mul", "x w", "y")], factor, {}, ["y"], more=half))
    assert torch.allclose(OnnxNet(path)(X)["y"].float(), X / 2, atol=1e-3)


def _sides(*sides: int) -> bytes:
    return b"".join(field(1, field(1, side)) for side in sides)


def test_answers_whose_shape_depends_on_the_picture_are_refused(tmp_path: Path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model([node("NonZero", "x", "y")], {}, {"x": X.shape}, ["y"]))
    net = OnnxNet(path)
    with pytest.raises(CorruptFile, match="now this, now that"):
        net(X)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_manager_counts_a_net_in_main_memory_wherever_torch_computes(device: str, tmp_path: Path):
    """`meta` stands for a device with memory of its own, on which no number could be computed."""
    path = nets.make_dwpose(tmp_path / "annotators")
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path / "annotators",)))
    ref = annotator_of(catalogue, catalogue.find(path.stem))
    manager = ModelManager(
        Device(torch.device(device), "a device", torch.float32), ram_budget=2**30, device_budget=1
    )
    with manager.lease([ref]) as lease:
        lease.get(ref.role)(torch.zeros(1, 3, 64, 48))
        (loaded,) = manager.components()
        assert (loaded.size_bytes, loaded.device) == (path.stat().st_size, "cpu")
        assert manager.device_bytes == (path.stat().st_size if device == "cpu" else 0)
    manager.unload()
    assert not manager.components()
