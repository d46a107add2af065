"""Nets in ONNX files: told by what they answer; damaged and hostile files are refused with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.annotator_nets import Net
from studio.core.errors import CorruptFile, ModelFileError, UnknownFile
from studio.core.models import ModelKind
from studio.core.settings import Settings
from studio.models.annotators import annotator_of, load_annotator
from studio.models.catalogue import ModelCatalogue
from studio.models.onnx_file import read_graph
from studio.models.onnx_net import OnnxNet
from studio.models.probe import probe
from studio.models.safetensors_file import mapped_weights
from studio.models.weights import Header
from tests.control import nets
from tests.onnx_writer import field, model, node, tensor


def test_the_two_nets_of_dwpose_are_told_by_what_they_answer(tmp_path: Path):
    for make, net in ((nets.make_yolox, Net.YOLOX), (nets.make_dwpose, Net.DWPOSE)):
        path = make(tmp_path).rename(tmp_path / "anything.onnx")
        assert (probe(path).kind, probe(path).layout) == (ModelKind.ANNOTATOR, net)


def test_a_pose_net_with_other_points_is_another_net(tmp_path: Path):
    path = nets.make_dwpose(tmp_path, points=17)
    with pytest.raises(UnknownFile, match=r"another net than the two of DWPose.*safetensors"):
        probe(path)


def test_onnx_files_are_looked_for_among_annotators_and_by_their_names(tmp_path: Path):
    models = tmp_path / "models"
    for folder in ("annotators", "other"):
        nets.make_dwpose(models / folder).rename(models / folder / f"renamed in {folder}.onnx")
        nets.make_dwpose(models / folder)
    (models / "other" / "insightface.onnx").write_bytes(b"no net of ours")
    found = [
        info.name for info in ModelCatalogue(Settings(data_dir=tmp_path, models_dirs=(models,))).models()
    ]
    assert "renamed in annotators" in found
    assert found.count("dw-ll_ucoco_384") == 2
    assert not {"renamed in other", "insightface"} & {*found}


def test_the_digest_tells_graphs_with_equal_weights_apart(tmp_path: Path):
    models = tmp_path / "models" / "annotators"
    path = nets.make_yolox(models)
    (models / "copy.onnx").write_bytes(path.read_bytes())
    changed = path.read_bytes().replace(b"Sigmoid", b"Softmax")
    (models / "changed.onnx").write_bytes(changed)
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path, models_dirs=(models,)))
    digests = [
        annotator_of(catalogue, catalogue.find(name)).digest for name in ("yolox_l", "copy", "changed")
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_was_replaced_by_another_net_is_not_run(tmp_path: Path):
    models = tmp_path / "models" / "annotators"
    path = nets.make_yolox(models)
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path, models_dirs=(models,)))
    ref = annotator_of(catalogue, catalogue.find("yolox_l"))
    path.write_bytes(nets.make_dwpose(tmp_path).read_bytes())
    with pytest.raises(CorruptFile, match="holds another one"):
        load_annotator(ref)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_corrupt(share: float, tmp_path: Path):
    path = nets.make_dwpose(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CorruptFile, match=r"dw-ll_ucoco_384\.onnx .*bytes are promised .* again"):
        probe(path)


@pytest.mark.parametrize(("content", "words"), [(b"", "0 bytes long"), (b"\x08\x08", "holds no graph")])
def test_an_empty_file_is_corrupt(content: bytes, words: str, tmp_path: Path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=words):
        probe(path)


def test_any_wrong_byte_is_a_sentence_or_harmless(tmp_path: Path):
    path = nets.make_yolox(tmp_path)
    whole_file = path.read_bytes()
    refused = 0
    for at in range(0, len(whole_file), 7):
        damaged = bytearray(whole_file)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            graph = read_graph(path)
            net = OnnxNet(graph, mapped_weights(path, Header(graph.weights)))
            net(torch.zeros(1, 3, *net.ports.size))
        except ModelFileError:
            refused += 1
    assert refused > 100


WEIGHT = np.ones(2, np.float32)


def with_weight(**lies: Any) -> dict[str, Any]:
    return {"more": field(5, tensor(WEIGHT, "w", **lies))}


def with_steps(*nodes: bytes, **tensors: np.ndarray) -> dict[str, Any]:
    return {"nodes": nodes, "tensors": tensors}


def with_inputs(**shapes: Any) -> dict[str, Any]:
    return {"inputs": shapes}


DOUBLED = [node("Concat", f"s{at} s{at}", f"s{at + 1}", axis=0) for at in range(40)]

HOSTILE = {
    "weights in another file": (
        UnknownFile,
        "other files",
        with_weight(more=field(13, field(1, "location"))),
    ),
    "weights somewhere else": (UnknownFile, "other files", with_weight(more=field(14, 1))),
    "a tensor that is shorter than it says": (
        CorruptFile,
        "needs 4,000,000,000,000 bytes, but has 8",
        with_weight(dims=[10**6, 10**6]),
    ),
    "a tensor of negative size": (CorruptFile, "has the shape", with_weight(dims=[-1, -2])),
    "two tensors of one name": (
        CorruptFile,
        "two tensors are called 'w'",
        {"more": 2 * with_weight()["more"]},
    ),
    "numbers of a type that nobody has": (
        UnknownFile,
        "a type that Easel does not read",
        {"more": field(5, field(2, 99) + field(8, "w"))},
    ),
    "numbers without an end": (CorruptFile, "has no end", {"more": field(5, b"\xff" * 20)}),
    "more entries than a net has": (
        CorruptFile,
        "more than 1,000,000 entries",
        {"more": field(5, b"\x08\x01" * 600_000)},
    ),
    "a step of another program": (UnknownFile, r"lab\.NMS", with_steps(node("NMS", "x", "y", domain="lab"))),
    "a loop": (UnknownFile, "Loop", with_steps(node("Loop", "x", "y"))),
    "an answer from nowhere": (CorruptFile, "no step computes", with_steps()),
    "a step without input": (CorruptFile, "comes from nowhere", with_steps(node("Relu", "z", "y"))),
    "a picture of terabytes": (
        CorruptFile,
        "larger than any net needs",
        with_steps(node("Resize", "x - s", "y"), s=np.array([1, 1, 1e5, 1e5], np.float32)),
    ),
    "a padding of terabytes": (
        CorruptFile,
        "larger than any net needs",
        with_steps(node("MaxPool", "x", "y", kernel_shape=[1, 1], pads=[0, 0, 10**6, 10**6])),
    ),
    "whole numbers without end": (
        CorruptFile,
        "larger than any net needs",
        with_steps(node("Shape", "x", "s0"), *DOUBLED, node("Reshape", "x s40", "y")),
    ),
    "a size that depends on the picture": (
        CorruptFile,
        "depends on the picture",
        with_steps(node("Cast", "x", "i", to=7), node("Reshape", "x i", "y")),
    ),
    "an index beyond the end": (
        CorruptFile,
        "no axis 7",
        with_steps(node("Gather", "x i", "y", axis=1), i=np.array([7])),
    ),
    "strides of nothing": (
        CorruptFile,
        "at a step MaxPool",
        with_steps(node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[0, 0])),
    ),
    "two pictures": (UnknownFile, "one picture", with_inputs(x=[1, 3, 8, 8], z=[1, 3, 8, 8])),
    "a picture of any size": (UnknownFile, "one picture", with_inputs(x=[1, 3, "height", "width"])),
    "a giant picture": (UnknownFile, "one picture", with_inputs(x=[1, 3, 10**6, 10**6])),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_with_a_sentence(what: str, tmp_path: Path):
    error, words, parts = HOSTILE[what]
    given = {
        "nodes": [node("Relu", "x", "y")],
        "tensors": {},
        "inputs": {"x": [1, 3, 8, 8]},
        "outputs": ["y"],
    }
    (tmp_path / "annotators").mkdir()
    path = tmp_path / "annotators" / "net.onnx"
    path.write_bytes(model(**(given | parts)))
    with pytest.raises(error, match=words):
        probe(path)
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(path.parent,)))
    assert catalogue.find("net", ModelKind.ANNOTATOR).problem


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path):
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(CorruptFile, match=r"1,073,741,825 bytes"):
        probe(path)
