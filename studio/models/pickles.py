"""Pickled weights (`.ckpt`, `.pt`, `.pth`, `.bin`), read by an unpickler that only builds containers."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import CorruptFile, UnknownFile, UnsafeFile
from studio.core.texts import storable
from studio.models.weights import CONVERT_IT, GET_IT_AGAIN, Header, TensorInfo, Weights, refuse_dunder_names

if TYPE_CHECKING:
    import torch

_MAX_TEXT = 1000
"""Characters of a value that is no tensor."""

_MAX_NAME = 1000

_MAX_WRAPPINGS = 8
"""Times that a `state_dict` may lie in another."""

_MAX_VISITED = 200_000
"""Containers and values; a checkpoint with all that a training program keeps has some ten thousand."""


def open_pickle(path: Path) -> Weights:
    """Tensors by their dotted names; what is no tensor becomes metadata.

    Raises: UnsafeFile, CorruptFile, UnknownFile (no tensors).
    """
    flattened = _Flattened()
    try:
        flattened.add(_unwrapped(load_pickle(path)), "")
    except RecursionError as error:
        raise CorruptFile(f"{path.name} holds containers that contain themselves.", GET_IT_AGAIN) from error
    except ValueError as error:
        raise CorruptFile(f"{path.name} holds numbers beyond reason: {error}.", GET_IT_AGAIN) from error
    tensors = flattened.tensors
    refuse_dunder_names(path, tensors)
    if not tensors:
        raise UnknownFile(f"{path.name} holds no tensors.")
    infos = {
        name: TensorInfo(str(t.dtype).removeprefix("torch."), tuple(t.shape), 0, t.numel() * t.element_size())
        for name, t in tensors.items()
    }
    return Weights(Header(infos, flattened.metadata), tensors.__getitem__)


def load_pickle(path: Path) -> Any:
    """The containers and tensors of a pickle; tensors are mapped where the file allows it.

    Raises:
        UnsafeFile: it names something to be called.
        CorruptFile: truncated or garbled.
    """
    import torch

    _refuse_compression(path)
    torch.serialization.add_safe_globals([(_ParameterDict, "torch.nn.modules.container.ParameterDict")])
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # what the unpickler raises on garbage is any exception at all
        raise _pickle_fault(path, error) from error


class _ParameterDict:
    """Stands in for torch's class, in which the first textual inversions keep their vectors.

    It only holds what it is given; torch's own would take over attributes from the file.
    """

    parameters: Mapping[str, Any]

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.parameters = state["_parameters"]


def _refuse_compression(path: Path) -> None:
    """Training programs do not compress; a compressed archive could unfold to more than memory holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise UnsafeFile(
            f"{path.name} is a compressed archive, which no training program writes.", CONVERT_IT
        )


def _pickle_fault(path: Path, error: Exception) -> UnsafeFile | CorruptFile:
    text = str(error)
    if any(word in text for word in ("GLOBAL", "unrecognized function", "Unsupported class", "allowlist")):
        return UnsafeFile(
            f"{path.name} would have to execute code to be read; nothing of it was executed.", CONVERT_IT
        )
    return CorruptFile(
        f"{path.name} is no model file, or it is damaged ({type(error).__name__}).", GET_IT_AGAIN
    )


def _unwrapped(content: Any) -> Any:
    for _ in range(_MAX_WRAPPINGS):
        if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
            break
        content = content["state_dict"]
    return content


class _Flattened:
    """Nested containers as dotted names: `{"ip_adapter": {"1.weight": ...}}` -> `ip_adapter.1.weight`."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.metadata: dict[str, str] = {}
        self._visited = 0

    def add(self, content: Any, name: str) -> None:
        """Raises: RecursionError: containers that contain themselves, or each other times without number."""
        import torch

        self._visited += 1
        if self._visited > _MAX_VISITED or len(name) > _MAX_NAME:
            raise RecursionError
        if isinstance(content, torch.Tensor):
            self.tensors[name] = content
        elif isinstance(content, _ParameterDict):
            self.add(content.parameters, name)
        elif isinstance(content, Mapping):
            for key, value in content.items():
                self.add(value, storable(f"{name}.{key}" if name else str(key)))
        elif isinstance(content, (list, tuple)) and any(
            isinstance(v, (Mapping, torch.Tensor)) for v in content
        ):
            for i, value in enumerate(content):
                self.add(value, f"{name}.{i}")
        elif isinstance(content, (str, int, float, bool)):
            self.metadata[name] = storable(str(content)[:_MAX_TEXT])
        elif isinstance(content, (list, tuple)) and all(isinstance(v, (str, int, float)) for v in content):
            few = [v[:_MAX_TEXT] if isinstance(v, str) else v for v in content[:_MAX_TEXT]]
            self.metadata[name] = storable(str(few)[:_MAX_TEXT])
