"""Which tensors of a LoRA's file make up which layer, and whether their shapes fit together.

A header is enough for that: a file whose halves do not fit is refused before it is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from studio.core.errors import CorruptFile, UnknownFile
from studio.models.bundled_words import BUNDLED
from studio.models.weights import Header

_PARAMETER = re.compile(
    r"(?P<layer>.+?)(?:"
    r"\.lora_(?P<kohya>down|up|mid)\.weight"
    r"|\.lora_(?P<peft>[AB])(?:\.\w+)?\.weight"
    r"|(?:\.lora|\.lora_linear_layer|_lora)\.(?P<diffusers>down|up)\.weight"
    r"|\.(?P<lycoris>alpha|dora_scale|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))"
    r"|\.lora_magnitude_vector(?P<magnitude>(?:\.\w+)?(?:\.weight)?)"
    r")"
)
_PEFT_PARTS = {"A": "down", "B": "up"}

_GET_IT_AGAIN = "The file is damaged; download or copy it again."

Shapes = Mapping[str, tuple[int, ...]]
"""Of a layer's parts: `down`, `up`, `alpha`, `hada_w1_a`, ..."""


def lora_layers(tensors: Iterable[str], name: str) -> dict[str, dict[str, str]]:
    """The layers as the file calls them, each with its parts and the tensors that hold these.

    Args:
        tensors: names of all tensors of the file.
        name: of the LoRA, for sentences.

    Raises:
        UnknownFile: a tensor belongs to no kind of LoRA that Easel knows.
        CorruptFile: there is no layer.
    """
    layers: dict[str, dict[str, str]] = {}
    for key in tensors:
        if key.startswith(BUNDLED):
            continue
        match = _PARAMETER.fullmatch(key)
        if match is None:
            raise UnknownFile(
                f"{name} holds the tensor {key[:120]}, which belongs to no kind of LoRA that Easel applies.",
                "Easel applies LoRA, LoCon, LoHa, LoKr and DoRA.",
            )
        part = match["kohya"] or _PEFT_PARTS.get(match["peft"]) or match["diffusers"] or match["lycoris"]
        layers.setdefault(match["layer"], {})[part or "magnitude"] = key
    if not layers:
        raise CorruptFile(f"{name} holds no layers at all.", "Download or copy it again.")
    return layers


def check_lora(header: Header, name: str) -> None:
    """Raises: UnknownFile, CorruptFile: with a sentence about the first layer that is none."""
    for spelling, parts in lora_layers(header.tensors, name).items():
        shapes = {part: header.tensors[key].shape for part, key in parts.items()}
        check_layer(shapes, f"{spelling} of {name}")


def check_layer(shapes: Shapes, what: str) -> None:
    """Whether the parts of a layer are all there, and of the shapes that its formula takes.

    Args:
        what: the layer, for sentences.

    Raises: CorruptFile.
    """
    if prod(shapes.get("alpha", ())) != 1:
        raise CorruptFile(f"alpha of the layer {what} must be one number, but is a table.", _GET_IT_AGAIN)
    for lengths in sorted({"dora_scale", "magnitude"} & shapes.keys()):
        _check_lengths(shapes[lengths], lengths, what)
    if any(part.startswith("hada_") for part in shapes):
        _check_hadamard(shapes, what)
    elif any(part.startswith("lokr_") for part in shapes):
        _check_kronecker(shapes, what)
    else:
        _check_low_rank(shapes, what)


def _check_low_rank(shapes: Shapes, what: str) -> None:
    _need(shapes, ("up", "down"), what)
    cores = _cores(shapes, ("mid",) if "mid" in shapes else (), what)
    up, down = _matrix(shapes, "up", what), _matrix(shapes, "down", what, kernel=not cores)
    _check_ranks([up[1], down[0], *_ranks_of(cores)], what)


def _check_hadamard(shapes: Shapes, what: str) -> None:
    _need(shapes, [f"hada_{half}" for half in ("w1_a", "w1_b", "w2_a", "w2_b")], what)
    has_cores = "hada_t1" in shapes or "hada_t2" in shapes
    cores = _cores(shapes, ("hada_t1", "hada_t2") if has_cores else (), what)
    side = 0 if has_cores else 1
    for half in ("hada_w1", "hada_w2"):
        a = _matrix(shapes, f"{half}_a", what)
        b = _matrix(shapes, f"{half}_b", what, kernel=not has_cores)
        _check_ranks([a[side], b[0], *_ranks_of(cores)], what)
    pairs = (("hada_w1_a", "hada_w2_a"), ("hada_w1_b", "hada_w2_b"))
    if len(set(cores)) > 1 or any(shapes[one] != shapes[other] for one, other in pairs):
        raise CorruptFile(f"The two products of the layer {what} differ in shape.", _GET_IT_AGAIN)


def _check_kronecker(shapes: Shapes, what: str) -> None:
    has_core = "lokr_t2" in shapes
    _check_half(shapes, "lokr_w1", what)
    if has_core and "lokr_w2" in shapes:
        raise CorruptFile(
            f"The layer {what} has lokr_t2, which joins two factors, but a whole lokr_w2.", _GET_IT_AGAIN
        )
    cores = _cores(shapes, ("lokr_t2",) if has_core else (), what)
    _check_half(shapes, "lokr_w2", what, kernel=not has_core, side=0 if has_core else 1, cores=cores)


def _check_half(
    shapes: Shapes,
    half: str,
    what: str,
    *,
    kernel: bool = False,
    side: int = 1,
    cores: Sequence[tuple[int, ...]] = (),
) -> None:
    """Of a Kronecker product: a matrix, or two factors of one."""
    if half in shapes:
        _matrix(shapes, half, what, kernel=kernel)
        return
    _need(shapes, (f"{half}_a", f"{half}_b"), what)
    a, b = _matrix(shapes, f"{half}_a", what), _matrix(shapes, f"{half}_b", what, kernel=kernel)
    _check_ranks([a[side], b[0], *_ranks_of(cores)], what)


def _need(shapes: Shapes, names: Sequence[str], what: str) -> None:
    missing = [name for name in names if name not in shapes]
    if missing:
        raise CorruptFile(
            f"The layer {what} needs {' and '.join(names)}, but lacks {' and '.join(missing)}.", _GET_IT_AGAIN
        )


def _matrix(shapes: Shapes, name: str, what: str, *, kernel: bool = False) -> tuple[int, ...]:
    """The shape of a part that is a matrix: (rows, columns), or the same as (rows, columns, 1, 1).

    Args:
        kernel: it may also be the weight of a convolution, (rows, columns, k, k).
    """
    shape = shapes[name]
    if len(shape) in (2, 4) and 0 not in shape[2:] and (kernel or prod(shape[2:]) == 1):
        return shape
    raise CorruptFile(
        f"{name} of the layer {what} must be a matrix, but has the shape {_told(shape)}.", _GET_IT_AGAIN
    )


def _cores(shapes: Shapes, names: Sequence[str], what: str) -> list[tuple[int, ...]]:
    """The shapes of cores, each (r, r, k, k)."""
    _need(shapes, names, what)
    for name in names:
        if len(shapes[name]) != 4 or 0 in shapes[name]:
            raise CorruptFile(
                f"{name} of the layer {what} must be the core of a convolution, of a shape like "
                f"4 x 4 x 3 x 3, but has the shape {_told(shapes[name])}.",
                _GET_IT_AGAIN,
            )
    return [shapes[name] for name in names]


def _check_lengths(shape: tuple[int, ...], name: str, what: str) -> None:
    """Of a DoRA: one for each row or each column of the weight, along a single dimension."""
    if not shape or 0 in shape or sum(size != 1 for size in shape) > 1:
        raise CorruptFile(
            f"{name} of the layer {what} must be one row of numbers, but has the shape {_told(shape)}.",
            _GET_IT_AGAIN,
        )


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"


def _ranks_of(cores: Sequence[tuple[int, ...]]) -> list[int]:
    return [rank for core in cores for rank in core[:2]]


def _check_ranks(ranks: Sequence[int], what: str) -> None:
    if len(set(ranks)) > 1 or 0 in ranks:
        told = " and ".join(map(str, sorted(set(ranks))))
        raise CorruptFile(
            f"The parts of the layer {what} must have one rank, but have {told}.", _GET_IT_AGAIN
        )
