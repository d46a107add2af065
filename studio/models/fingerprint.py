"""What tells a component from others: a hash of its weights, by the names that its module has for them.

Where the bytes lie, how the file calls them and what else it holds makes no difference. Every byte counts,
but for the large tensors of UNets, VAEs and the like: of those, 64 bytes of each 576 do. That is a part of
every row of every matrix; and as the samples of one row lie elsewhere than those of the next, of nearly every
column.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from studio.core.errors import ModelFileError
from studio.models.convert import Source
from studio.models.gligen_files import LAYOUT as GLIGEN
from studio.models.gligen_files import numbered_blocks
from studio.models.modules import empty_module, find_sources
from studio.models.weights import Weights, tensor_bytes

VERSION = 2
"""Of what is hashed; a change here makes every file be read again."""

_WHOLE_BYTES = 2 * 2**20
"""Size up to which every byte of a tensor counts."""

_WINDOW_BYTES, _MOST_WINDOWS = 64, 9
"""The first of so many windows is taken; an odd number, so that rows of 2^n bytes differ in place."""

_MOST_THREADS = 4
"""sha256 takes 0.5 to 2 GB/s a thread; with four of them the disk is what one waits for."""

_BEHAVIOUR: Mapping[str, Any] = {
    "attention_head_dim": None,
    "num_attention_heads": None,
    "hidden_act": None,
    "act_fn": "silu",
    "norm_num_groups": None,
    "scaling_factor": None,
    "upcast_attention": False,
    "class_embed_type": None,
    "addition_time_embed_dim": None,
    "global_pool_conditions": False,
    "controlnet_conditioning_channel_order": "rgb",
    "num_trans_head": 8,
}
"""What a configuration changes without changing a shape, with the defaults of the classes."""

Pieces = Mapping[str, tuple[Source, tuple[int, ...]]]
"""By a tensor's name, the same in every layout: where it lies in the file, and its shape in the module."""


def behaviour_digest(class_name: str, config: Mapping[str, Any]) -> str:
    """Tells modules of equal weights apart that compute different things with them."""
    told = {key: config.get(key, default) for key, default in _BEHAVIOUR.items()}
    return hashlib.sha256(json.dumps([class_name, told]).encode()).hexdigest()[:16]


def pieces_of(
    weights: Weights, class_name: str, config: Mapping[str, Any], layout: str, prefix: str, file: str
) -> Pieces:
    """All that a module takes from its file; all of it where Easel does not build the module."""
    try:
        wanted = empty_module(class_name, config).state_dict()
        sources = find_sources(wanted, layout, prefix, weights, file)
        told = numbered_blocks(wanted) if layout == GLIGEN else {name: name for name in wanted}
        return {told[name]: (source, tuple(wanted[name].shape)) for name, source in sources.items()}
    except ModelFileError:  # a class of transformers; or loading will say what is wrong
        mine = (name for name in weights if name.startswith(prefix))
        return {name: (Source(name), weights.header.tensors[name].shape) for name in mine}


def weights_digest(weights: Weights, pieces: Pieces, *, whole: bool) -> str:
    """sha256 in hex over all pieces.

    Args:
        whole: every byte counts in large tensors, too.

    Raises: CorruptFile: a file was cut off meanwhile.
    """
    names = sorted(pieces, key=lambda name: weights.header.tensors[pieces[name][0].name].offset)
    lines = _lines(weights, pieces, names, whole)
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _lines(weights: Weights, pieces: Pieces, names: Sequence[str], whole: bool) -> Iterator[str]:
    """Name and hash of each piece; read in the order of the file, as disks like it."""
    if not weights.is_read_by_any_thread:
        yield from (_line(name, weights, *pieces[name], whole) for name in names)
        return
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        plain = [name for name in names if not pieces[name][0].transposed]
        yield from pool.map(lambda name: _line(name, weights, *pieces[name], whole), plain)
    yield from (_line(name, weights, *pieces[name], whole) for name in names if pieces[name][0].transposed)


def _line(name: str, weights: Weights, source: Source, shape: tuple[int, ...], whole: bool) -> str:
    info = weights.header.tensors[source.name]
    size = info.size_bytes if source.third is None else info.size_bytes // source.of
    digest = hashlib.sha256(f"{info.dtype} {shape}".encode())
    if source.transposed:
        blocks: Iterable[memoryview] = [tensor_bytes(source.read(weights))]
    else:
        blocks = weights.blocks(source.name, size * (source.third or 0), size)
    for block in blocks if whole or size <= _WHOLE_BYTES else _sampled(blocks, _stride(size, shape)):
        digest.update(block)
    return f"{name} {digest.hexdigest()}"


def _stride(size: int, shape: tuple[int, ...]) -> int:
    """Bytes from the beginning of one sample to that of the next, at most those of a row."""
    windows = min(_MOST_WINDOWS, size // max(1, shape[0]) // _WINDOW_BYTES) if shape else 1
    return _WINDOW_BYTES * max(1, windows - 1 + windows % 2)


def _sampled(blocks: Iterable[memoryview], stride: int) -> Iterator[memoryview]:
    """The first bytes of each `stride`, wherever one block ends and the next begins."""
    done = 0
    for block in blocks:
        data = np.frombuffer(block, np.uint8)
        begun = done % stride
        if 0 < begun < _WINDOW_BYTES:
            yield data[: _WINDOW_BYTES - begun].data
        rest = data[-done % stride :]
        rows = rest[: len(rest) // stride * stride].reshape(-1, stride)
        yield np.ascontiguousarray(rows[:, :_WINDOW_BYTES]).data
        yield rest[rows.size :][:_WINDOW_BYTES].data
        done += len(data)
