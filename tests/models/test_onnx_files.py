"""Nets in ONNX files: told by what they answer; damaged and hostile files are refused with a sentence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.annotator_nets import Net
from studio.core.errors import CorruptFile, ModelFileError, UnknownFile
from studio.core.models import ModelKind
from studio.core.settings import Settings
from studio.models import onnx_ports
from studio.models.annotators import annotator_of, load_annotator
from studio.models.catalogue import ModelCatalogue
from studio.models.onnx_session import open_session, picture_port
from studio.models.probe import probe
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
    with pytest.raises(
        CorruptFile, match=r"dw-ll_ucoco_384\.onnx is no ONNX file, or it is damaged: .* again"
    ):
        probe(path)


@pytest.mark.parametrize(("content", "words"), [(b"", "0 bytes long"), (b"\x08\x08", "damaged")])
def test_an_empty_file_is_corrupt(content: bytes, words: str, tmp_path: Path):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=words):
        probe(path)


def test_any_wrong_byte_is_a_sentence_or_harmless(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """In this process: what ended it would end a studio whose file is damaged after the first look."""
    path = nets.make_yolox(tmp_path)
    whole_file = path.read_bytes()
    refused = 0
    for at in range(0, len(whole_file), 7):
        damaged = bytearray(whole_file)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            session = open_session(path, threads=1)
            name, dtype, size = picture_port(path.name, session)
        except ModelFileError:
            refused += 1
            continue
        with suppress(Exception):
            session.run(None, {name: np.zeros((1, 3, *size), dtype)})
    assert refused > 100
    assert capfd.readouterr() == ("", ""), "onnxruntime says nothing past us"


WEIGHT = np.ones(2, np.float32)


def with_weight(**lies: Any) -> dict[str, Any]:
    return {"more": field(5, tensor(WEIGHT, "w", **lies))}


def with_steps(*nodes: bytes, **tensors: np.ndarray) -> dict[str, Any]:
    return {"nodes": nodes, "tensors": tensors}


def with_inputs(**shapes: Any) -> dict[str, Any]:
    return {"inputs": shapes}


DOUBLED = [node("Concat", f"s{at} s{at}", f"s{at + 1}", axis=0) for at in range(40)]
ADDED = node("Add", "x w", "y")


def port(name: str, kind: int) -> bytes:
    """A number, of a type by its number among ONNX's."""
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, b"")))


BODY = [
    field(2, "body"),
    *(field(1, node("Identity", name, f"{name}2")) for name in ("going", "value")),
    *(field(11, port(name, kind)) for name, kind in (("turn", 7), ("going", 9), ("value", 1))),
    *(field(12, port(name, kind)) for name, kind in (("going2", 9), ("value2", 1))),
]
LOOP = node("Loop", "turns going0 value0", "z") + field(
    5, field(1, "body") + field(20, 5) + field(6, b"".join(BODY))
)


def outside(place: str, length: bytes = b"\x08") -> dict[str, Any]:
    """A net that adds a tensor of which it says that it lies in another file.

    Args:
        length: of the word `location`; it may be written in more bytes than it needs.
    """
    keys = {
        b"\n" + length + b"location": place,
        field(1, "offset"): "0",
        field(1, "length"): "768",
    }
    shape = b"".join(field(1, side) for side in (1, 3, 8, 8))
    told = b"".join(field(13, key + field(2, value)) for key, value in keys.items())
    return {
        "nodes": [ADDED],
        "more": field(5, shape + field(2, 1) + field(8, "w") + told + field(14, 1)),
    }


HOSTILE = {
    "weights in another file": (UnknownFile, "other files", outside("secret.bin")),
    "weights in a file above": (UnknownFile, "other files", outside("../secret.bin")),
    "weights in a file of the system": (UnknownFile, "other files", outside("/etc/hostname")),
    "weights in another file, in a roundabout way": (
        UnknownFile,
        "other files",
        outside("secret.bin", b"\x88\x80\x00"),
    ),
    "weights in memory": (UnknownFile, "other files", outside("*/_ORT_MEM_ADDR_/*")),
    "weights somewhere else": (
        CorruptFile,
        "damaged",
        {"nodes": [ADDED], **with_weight(more=field(14, 1))},
    ),
    "a tensor that is shorter than it says": (
        CorruptFile,
        "damaged",
        {"nodes": [ADDED], **with_weight(dims=[10**6, 10**6])},
    ),
    "a tensor of negative size": (CorruptFile, "damaged", {"nodes": [ADDED], **with_weight(dims=[-1, -2])}),
    "numbers of a type that nobody has": (
        CorruptFile,
        "damaged",
        {"more": field(5, field(2, 99) + field(8, "w"))},
    ),
    "numbers without an end": (CorruptFile, "damaged", {"more": field(5, b"\xff" * 20)}),
    "a step of another program": (
        UnknownFile,
        r"steps .*lab",
        with_steps(node("NMS", "x", "y", domain="lab")),
    ),
    "a step that nobody knows": (UnknownFile, r"steps .* Nonsense", with_steps(node("Nonsense", "x", "y"))),
    "an answer from nowhere": (CorruptFile, "damaged", with_steps()),
    "a step without input": (CorruptFile, "damaged", with_steps(node("Relu", "z", "y"))),
    "a picture of terabytes": (
        CorruptFile,
        "damaged",
        with_steps(node("Resize", "x - s", "y"), s=np.array([1, 1, 1e6, 1e6], np.float32)),
    ),
    "a picture of gigabytes": (
        CorruptFile,
        "of memory",
        with_steps(node("Resize", "x - s", "y"), s=np.array([1, 1, 2e3, 2e3], np.float32)),
    ),
    "whole numbers without end": (
        CorruptFile,
        "of memory",
        with_steps(node("Shape", "x", "s0"), *DOUBLED, node("Reshape", "x s40", "y")),
    ),
    "a loop without end": (
        CorruptFile,
        "has not answered",
        with_steps(
            LOOP,
            node("Add", "x z", "y"),
            turns=np.array(2**62),
            going0=np.array(True),
            value0=np.array(1, np.float32),
        ),
    ),
    "an index beyond the end": (
        CorruptFile,
        "damaged",
        with_steps(node("Gather", "x i", "y", axis=1), i=np.array([7])),
    ),
    "strides of nothing": (
        CorruptFile,
        "damaged|ends the process",
        with_steps(node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[0, 0])),
    ),
    "two pictures": (UnknownFile, "one picture", with_inputs(x=[1, 3, 8, 8], z=[1, 3, 8, 8])),
    "a picture of any size": (UnknownFile, "one picture", with_inputs(x=[1, 3, "height", "width"])),
    "a giant picture": (UnknownFile, "one picture", with_inputs(x=[1, 3, 10**6, 10**6])),
}


def net_of(path: Path, **parts: Any) -> Path:
    """A net of one step, but for what it is told."""
    given = {
        "nodes": [node("Relu", "x", "y")],
        "tensors": {},
        "inputs": {"x": [1, 3, 8, 8]},
        "outputs": ["y"],
    }
    path.write_bytes(model(**(given | parts)))
    return path


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_with_a_sentence(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(onnx_ports, "_MOST_SECONDS", 5.0)
    monkeypatch.setattr(onnx_ports, "_MOST_BYTES", 2**29)
    (tmp_path / "secret.bin").write_bytes(bytes(768))
    error, words, parts = HOSTILE[what]
    with pytest.raises(error, match=words):
        probe(net_of(tmp_path / "net.onnx", **parts))


def test_a_step_may_be_called_after_its_location(tmp_path: Path):
    path = net_of(
        tmp_path / "net.onnx", nodes=[node("Relu", "x", "/location/y"), node("Relu", "/location/y", "y")]
    )
    assert open_session(path, threads=1).get_outputs()[0].name == "y"


def test_a_file_that_ends_the_process_that_runs_it_is_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(onnx_ports, "_PROGRAM", ("-c", "import os; os.abort()"))
    with pytest.raises(CorruptFile, match=r"yolox_l\.onnx ends the process"):
        probe(nets.make_yolox(tmp_path))


def test_the_catalogue_tells_what_is_wrong_with_a_file(tmp_path: Path):
    (tmp_path / "annotators").mkdir()
    net_of(tmp_path / "annotators" / "net.onnx", **outside("/etc/hostname"))
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path / "annotators",)))
    assert "other files" in catalogue.find("net", ModelKind.ANNOTATOR).problem


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path):
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(CorruptFile, match=r"1,073,741,825 bytes"):
        probe(path)
