"""From a file to a module: built without weights, then given the file's own tensors, mapped, not copied."""

from __future__ import annotations

from typing import Any

import torch

from studio.core.errors import CorruptFile
from studio.models.annotators import load_annotator
from studio.models.components import ComponentRef
from studio.models.modules import empty_module, find_sources
from studio.models.safe import open_weights
from studio.models.tensor_file import TENSOR_FILE, TensorFile
from studio.models.tokenizers import CLIP_VOCABULARY, load_tokenizer


def load_component(ref: ComponentRef, dtype: torch.dtype) -> Any:
    """The module, file of tensors or tokenizer that `ref` names, on the CPU, for inference only.

    Tensors that have `dtype` already stay views of the mapped file: they take no memory of their own and are
    read when first used. A file that is replaced goes on being used as it was; one that is cut off in place
    while it is mapped would end the process, as with every program that maps files.

    Args:
        dtype: of the weights; tensors of integers keep theirs, and so do all of a `TensorFile`. Annotators
            are always float32.

    Raises:
        CorruptFile: a tensor is missing, superfluous or of the wrong shape.
        UnsafeFile: it would have to execute code to be read.
        Offline: a tokenizer that is on no disk, and no network.
    """
    if ref.is_tokenizer:
        vocabulary = ref.config.get("vocab_size", CLIP_VOCABULARY)
        return load_tokenizer(ref.path, ref.config.get("pad_token", ""), vocabulary)
    if ref.is_annotator:
        return load_annotator(ref)
    if ref.class_name == TENSOR_FILE:
        return TensorFile(open_weights(ref.files)).requires_grad_(False)
    module = empty_module(ref.class_name, ref.config)
    wanted = module.state_dict()
    weights = open_weights(ref.files)
    sources = find_sources(wanted, ref.layout, ref.prefix, weights, ref.path.name)
    tensors = {
        name: _fitted(source.read(weights), wanted[name].shape, dtype, f"{name} of {ref.title}")
        for name, source in sources.items()
    }
    module.load_state_dict(tensors, assign=True)
    _fill_buffers(module)
    return module.eval().requires_grad_(False)


def _fitted(tensor: torch.Tensor, shape: torch.Size, dtype: torch.dtype, what: str) -> torch.Tensor:
    """`tensor` in the module's shape (older files write matrices as 1x1 convolutions) and type."""
    if tensor.shape != shape:
        if _without_ones(tensor.shape) != _without_ones(shape):
            raise CorruptFile(
                f"The tensor {what} must have the shape {tuple(shape)}, but has {tuple(tensor.shape)}.",
                "Its configuration belongs to another model; download both again.",
            )
        tensor = tensor.reshape(shape)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _without_ones(shape: torch.Size) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _fill_buffers(module: torch.nn.Module) -> None:
    """Give memory to the buffers that no file holds: CLIP numbers its positions."""
    for part in module.modules():
        for name, buffer in list(part.named_buffers(recurse=False)):
            if not buffer.is_meta:
                continue
            if name != "position_ids":
                raise CorruptFile(f"The file holds no {name}, which a {type(module).__name__} needs.")
            part.register_buffer(name, torch.arange(buffer.shape[-1]).expand(buffer.shape), persistent=False)
