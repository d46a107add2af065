"""Nets of ONNX files in onnxruntime; as a program, what such a net reads and answers, in a line of JSON.

The program is for `onnx_ports`: what a file does to it ends a process that nobody misses.
"""

from __future__ import annotations

import json
import mmap
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.errors import CorruptFile, EaselError, ModelFileError, NotFound, UnknownFile
from studio.models.weights import GET_IT_AGAIN

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ONNX = ".onnx"

MAX_BYTES = 2**30
"""Five times the largest net that comes in such a file."""

PICTURES = {"tensor(float)": "float32", "tensor(float16)": "float16"}
"""Types of the picture that a net may read: numpy's by onnxruntime's."""

_LONGEST_SIDE = 2048
"""Of that picture, px."""

_OUTSIDE = re.compile(rb"(?:\x08|\x88[\x80-\xff]{0,8}[\x00-\x7f])location")
"""The key without which no tensor of an ONNX file can lie in another file, behind its length, in however many
bytes that is written. onnxruntime reads such files: from the model's folder, and the version for Python 3.10
from any."""

_FOREIGN = re.compile(
    "not a registered function|No opset import|No Op registered|find an implementation|guarantees"
    "|Unsupported model IR"
)
"""In what onnxruntime says of a file that is whole, but holds what it does not know."""

_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:\s*)?", re.DOTALL)
"""Of what it says, before what a person can use."""

_FATAL = 4
"""onnxruntime's highest level of messages: what it has to say comes as an exception."""


def open_session(path: Path, threads: int) -> InferenceSession:
    """The net of a file. It computes on as many threads as it is told, which sleep between two pictures.

    Raises:
        CorruptFile: truncated, garbled, or larger than any net that Easel runs from such a file.
        UnknownFile: it keeps weights in other files, or has steps that onnxruntime does not know.
        NotFound: no such file.
    """
    _look_at(path)
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # The level above packs convolutions a second time: a tenth faster, for twice the memory.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    # The arena would keep what the largest step took for as long as the net is in memory.
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's own, and Unicode's, have no common base
        raise fault(path.name, error) from error


def _look_at(path: Path) -> None:
    if not path.is_file():
        raise NotFound(f"The model file {path.name} is not there.", "Refresh the list of models.")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise CorruptFile(f"{path.name} is {size:,} bytes long, as no net is that Easel runs.", GET_IT_AGAIN)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if _OUTSIDE.search(content):
            raise UnknownFile(
                f"{path.name} keeps its weights in other files.", "Choose a version that is a single file."
            )


def fault(file: str, error: Exception) -> ModelFileError:
    """The sentence for what onnxruntime says of a file."""
    why = _PREFIX.sub("", str(error))[:300].strip(" .")
    if _FOREIGN.search(str(error)):
        return UnknownFile(f"{file} is a net with steps that Easel does not know: {why}.")
    return CorruptFile(f"{file} is no ONNX file, or it is damaged: {why}.", GET_IT_AGAIN)


def picture_port(file: str, session: InferenceSession) -> tuple[str, str, tuple[int, int]]:
    """The one picture that a net reads: its name, numpy's type, height and width in px.

    Raises: UnknownFile; CorruptFile, where a name is no text.
    """
    try:
        ports = [(each.name, PICTURES.get(each.type), each.shape) for each in session.get_inputs()]
    except UnicodeDecodeError as error:
        raise fault(file, error) from error
    match ports:
        case [(str(name), str(dtype), [1 | str() | None, 3, int(height), int(width)])] if (
            0 < min(height, width) <= max(height, width) <= _LONGEST_SIDE
        ):
            return name, dtype, (height, width)
    raise UnknownFile(f"{file} is a net that reads something else than one picture of a fixed size.")


def _told(path: Path) -> dict[str, object]:
    """What `onnx_ports` wants to know: by running the net once, for its file need not tell the shapes."""
    import numpy as np

    session = open_session(path, threads=1)
    name, dtype, size = picture_port(path.name, session)
    try:
        answers = session.run(None, {name: np.zeros((1, 3, *size), dtype)})
        names = [each.name for each in session.get_outputs()]
    except Exception as error:  # as above
        raise fault(path.name, error) from error
    shapes = map(np.shape, answers)
    return {"size": size, "shapes": dict(zip(names, shapes, strict=True))}


def main(path: Path) -> None:
    try:
        told = _told(path)
    except EaselError as error:
        told = {"error": type(error).__name__, "problem": error.problem, "remedy": error.remedy}
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
