"""What tells a component from others: its weights, by the names that its module has for them.

Where the bytes lie, how the file calls them and what else it holds makes no difference. Reading gigabytes
takes longer than loading, which maps them. So a component is looked at: names, shapes, and both ends of every
tensor. What was not seen before by that outline is something new, and needs no more. Only where two have one
outline every byte of both counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studio.core.errors import EaselError, ModelFileError
from studio.models.cache import Claim, FileCache
from studio.models.convert import Source
from studio.models.gligen_files import GLIGEN, numbered_blocks
from studio.models.modules import find_sources, shapes_of
from studio.models.safe import open_weights
from studio.models.weights import Weights, tensor_bytes

if TYPE_CHECKING:
    from studio.models.components import ComponentRef

VERSION = 3
"""Of what is hashed; a change here makes every file be read again."""

_END_BYTES = 64
"""Of a tensor's beginning, and of its end, that belong to its outline."""

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
        wanted = shapes_of(class_name, config)
        sources = find_sources(wanted, layout, prefix, weights, file)
        told = numbered_blocks(wanted) if layout == GLIGEN else {name: name for name in wanted}
        return {told[name]: (source, wanted[name]) for name, source in sources.items()}
    except ModelFileError:  # a class of transformers; or loading will say what is wrong
        mine = (name for name in weights if name.startswith(prefix))
        return {name: (Source(name), weights.header.tensors[name].shape) for name in mine}


def identity(ref: ComponentRef, cache: FileCache) -> str:
    """The outline of the weights, if no others have it or those that have it are equal; else their hash.

    Raises: ModelFileError: its files are broken.
    """
    weights, pieces = _weights_of(ref)
    outline = outline_digest(weights, pieces)
    part = json.dumps([ref.layout, ref.prefix, dict(ref.config)], sort_keys=True)
    first = cache.claim(f"{VERSION} {outline}", ref.path, part)
    if first is not None and first.is_current and (first.path, first.part) == (ref.path, part):
        return outline
    exact = weights_digest(weights, pieces)
    return outline if first is not None and exact == _exact_digest(first, ref, cache) else exact


def _exact_digest(first: Claim, like: ComponentRef, cache: FileCache) -> str:
    """Of what has the same outline as `like`, so the same class; empty where it is gone."""
    if not first.is_current:
        return ""
    layout, prefix, config = json.loads(first.part)
    ref = replace(like, path=first.path, layout=layout, prefix=prefix, config=config)
    fact = f"exact {VERSION} {layout} {prefix}"
    try:
        return cache.remember(ref.path, fact, lambda: weights_digest(*_weights_of(ref)))
    except (EaselError, OSError):
        return ""


def _weights_of(ref: ComponentRef) -> tuple[Weights, Pieces]:
    weights = open_weights(ref.files)
    return weights, pieces_of(weights, ref.class_name, ref.config, ref.layout, ref.prefix, ref.path.name)


def outline_digest(weights: Weights, pieces: Pieces) -> str:
    """sha256 in hex over names, shapes and the ends of all pieces: a few kilobytes of any file.

    Raises: CorruptFile: a file was cut off meanwhile.
    """
    lines = (_line(name, weights, *piece, _ends) for name, piece in pieces.items())
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def weights_digest(weights: Weights, pieces: Pieces) -> str:
    """sha256 in hex over names, shapes and every byte of all pieces.

    Raises: CorruptFile: a file was cut off meanwhile.
    """
    names = sorted(pieces, key=lambda name: weights.header.tensors[pieces[name][0].name].offset)
    return hashlib.sha256("\n".join(sorted(_lines(weights, pieces, names))).encode()).hexdigest()


def _lines(weights: Weights, pieces: Pieces, names: Sequence[str]) -> Iterator[str]:
    """Name and hash of each piece; read in the order of the file, as disks like it."""
    if not weights.is_read_by_any_thread:
        yield from (_line(name, weights, *pieces[name], _all) for name in names)
        return
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        plain = [name for name in names if not pieces[name][0].transposed]
        yield from pool.map(lambda name: _line(name, weights, *pieces[name], _all), plain)
    yield from (_line(name, weights, *pieces[name], _all) for name in names if pieces[name][0].transposed)


Parts = Callable[[int], Sequence[tuple[int, int]]]
"""Of a size in bytes: first byte and length of each part that counts."""


def _all(size: int) -> Sequence[tuple[int, int]]:
    return [(0, size)]


def _ends(size: int) -> Sequence[tuple[int, int]]:
    if size <= 2 * _END_BYTES:
        return [(0, size)]
    return [(0, _END_BYTES), (size - _END_BYTES, _END_BYTES)]


def _line(name: str, weights: Weights, source: Source, shape: tuple[int, ...], parts: Parts) -> str:
    info = weights.header.tensors[source.name]
    size = info.size_bytes if source.third is None else info.size_bytes // source.of
    digest = hashlib.sha256(f"{info.dtype} {shape}".encode())
    content = tensor_bytes(source.read(weights)) if source.transposed else None
    for start, length in parts(size):
        if content is not None:
            digest.update(content[start : start + length])
            continue
        for block in weights.blocks(source.name, size * (source.third or 0) + start, length):
            digest.update(block)
    return f"{name} {digest.hexdigest()}"
