"""Which tensors of a LoRA's file make up which layer, and whether their shapes fit together.

A header is enough for that: a file whose halves do not fit is refused before it is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from studio.core.errors import CorruptFile, UnknownFile
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
_BUNDLED = "bundle_emb."
"""Before the names of embeddings that lie in a LoRA's file."""

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
        if key.startswith(_BUNDLED):
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
    """Whether the parts of a layer are all there and of one rank.

    Args:
        what: the layer, for sentences.

    Raises: CorruptFile.
    """
    if prod(shapes.get("alpha", ())) != 1:
        raise CorruptFile(f"alpha of the layer {what} must be one number, but is a table.", _GET_IT_AGAIN)
    if any(part.startswith("hada_") for part in shapes):
        _check_hadamard(shapes, what)
    elif any(part.startswith("lokr_") for part in shapes):
        _check_kronecker(shapes, what)
    else:
        up, down = _need(shapes, ("up", "down"), what)
        _check_ranks([up[1], down[0], *_core_ranks(shapes.get("mid"))], what)


def _check_hadamard(shapes: Shapes, what: str) -> None:
    halves = [f"hada_{half}" for half in ("w1_a", "w1_b", "w2_a", "w2_b")]
    w1_a, w1_b, w2_a, w2_b = _need(shapes, halves, what)
    has_cores = "hada_t1" in shapes or "hada_t2" in shapes
    cores = _need(shapes, ("hada_t1", "hada_t2"), what) if has_cores else []
    side = 0 if has_cores else 1
    _check_ranks([w1_a[side], w1_b[0], *_core_ranks(*cores)], what)
    _check_ranks([w2_a[side], w2_b[0]], what)
    if w1_a != w2_a or w1_b != w2_b:
        raise CorruptFile(f"The two products of the layer {what} differ in shape.", _GET_IT_AGAIN)


def _check_kronecker(shapes: Shapes, what: str) -> None:
    core = shapes.get("lokr_t2")
    _check_half(shapes, "lokr_w1", 1, what)
    rank = _check_half(shapes, "lokr_w2", 1 if core is None else 0, what)
    if core is not None:
        _check_ranks([rank, *_core_ranks(core)], what)


def _check_half(shapes: Shapes, half: str, side: int, what: str) -> int:
    """Of a Kronecker product: a matrix, or two factors of one. Returns the rows of the last."""
    if half in shapes:
        return _need(shapes, (half,), what)[0][0]
    a, b = _need(shapes, (f"{half}_a", f"{half}_b"), what)
    _check_ranks([a[side], b[0]], what)
    return b[0]


def _need(shapes: Shapes, names: Sequence[str], what: str) -> list[tuple[int, ...]]:
    missing = [name for name in names if name not in shapes]
    if missing:
        raise CorruptFile(
            f"The layer {what} needs {' and '.join(names)}, but lacks {' and '.join(missing)}.", _GET_IT_AGAIN
        )
    flat = [name for name in names if len(shapes[name]) < 2]
    if flat:
        raise CorruptFile(f"{flat[0]} of the layer {what} must be a matrix, but is none.", _GET_IT_AGAIN)
    return [shapes[name] for name in names]


def _core_ranks(*cores: tuple[int, ...] | None) -> list[int]:
    """Both ranks of every core; 0, which fits nothing, for one that is no core."""
    return [rank for core in cores if core is not None for rank in (core[:2] if len(core) == 4 else (0,))]


def _check_ranks(ranks: Sequence[int], what: str) -> None:
    if len(set(ranks)) > 1 or 0 in ranks:
        told = " and ".join(map(str, sorted(set(ranks))))
        raise CorruptFile(
            f"The parts of the layer {what} must have one rank, but have {told}.", _GET_IT_AGAIN
        )
