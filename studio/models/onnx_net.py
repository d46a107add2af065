"""Nets of ONNX files as modules of torch, run by onnxruntime on the processor, wherever torch computes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from studio.core.errors import CorruptFile
from studio.models.onnx_ports import ports_of
from studio.models.onnx_session import fault, open_session, picture_port
from studio.models.weights import GET_IT_AGAIN


class OnnxNet(torch.nn.Module):
    """The net of an ONNX file.

    Raises: as `ports_of`, which runs it elsewhere first.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ports = ports_of(path)
        self.bytes_outside_torch = path.stat().st_size
        """Main memory that its weights take: for the manager, which sees no tensor of them."""
        self._file = path.name
        # As many threads as torch has now: the two never compute at once.
        self._session = open_session(path, torch.get_num_threads())
        self._input, self._dtype, _ = picture_port(path.name, self._session)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """(1, 3, H, W) as the net was trained -> its answers by name, on the CPU.

        Raises: CorruptFile, where it stumbles over a picture or answers in other shapes than it did before.
        """
        pixels = picture.detach().cpu().numpy().astype(self._dtype)
        try:
            answers = self._session.run(None, {self._input: pixels})
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise fault(self._file, error) from error
        found = {name: torch.from_numpy(each) for name, each in zip(self.ports.shapes, answers, strict=True)}
        if {name: tuple(each.shape) for name, each in found.items()} != self.ports.shapes:
            raise CorruptFile(f"The net of {self._file} answers now this, now that.", GET_IT_AGAIN)
        return found
