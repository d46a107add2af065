"""The header of a hypernetwork's file: which layers its networks have, as AUTOMATIC1111 writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from studio.core.errors import CorruptFile
from studio.models.weights import Header

_NAME = re.compile(r"(?P<width>\d+)\.(?P<side>[01])\.linear\.?(?P<index>\d+)\.(?P<part>weight|bias)")

ACTIVATIONS = frozenset(
    (
        *("celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leakyrelu"),
        *("logsigmoid", "mish", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus"),
        *("softshrink", "softsign", "swish", "tanh", "tanhshrink"),
        *("softmax", "softmin", "softmax2d", "logsoftmax"),
    )
)
"""What may follow a layer, by AUTOMATIC1111's names: torch's in lower case, and `swish`.

Not those that it lists too, but cannot build or run: `threshold` and `multiheadattention` need arguments, and
`glu` halves the width.
"""

_LEARNED = "prelu"
"""The one activation with a parameter of its own."""


@dataclass(frozen=True)
class NetLayer:
    """One linear layer and what follows it; the names are the file's."""

    linear: str
    activation: str = ""
    """One of `ACTIVATIONS`; for PReLU the tensor with its slope."""
    norm: str = ""


Net = tuple[NetLayer, ...]


@dataclass(frozen=True)
class HypernetworkLayers:
    """What a file's header tells: the layers of both networks for each width."""

    pairs: Mapping[int, tuple[Net, Net]]
    """By width; first for keys, then for values."""

    @property
    def widths(self) -> frozenset[int]:
        return frozenset(self.pairs)


@dataclass(frozen=True)
class _Options:
    """How the file says that its networks are built. Older files leave out what was not an option then."""

    structure: tuple[float, ...] | None
    """Width of each layer, as a multiple of the first."""
    activation: str
    has_norm: bool
    activates_output: bool

    @classmethod
    def of(cls, metadata: Mapping[str, str], name: str) -> _Options:
        activation = metadata.get("activation_func", "linear").lower()
        if activation not in {*ACTIVATIONS, _LEARNED, "linear", "none"}:
            raise broken(name, f"its activation {activation[:40]!r} is none that hypernetworks have")
        return cls(
            _structure(metadata.get("layer_structure", ""), name),
            "" if activation in ("linear", "none") else activation,
            metadata.get("is_layer_norm") == "True",
            metadata.get("activate_output", "True") == "True",
        )


def _structure(text: str, name: str) -> tuple[float, ...] | None:
    if not text or text == "None":
        return None
    try:
        return tuple(float(factor) for factor in json.loads(text.replace("(", "[").replace(")", "]")))
    except (ValueError, TypeError) as error:
        raise broken(name, f"its layer structure {text[:40]!r} is no list of numbers") from error


def hypernetwork_layers(header: Header, name: str) -> HypernetworkLayers:
    """The networks of a file, checked by the shapes of their tensors.

    Args:
        name: of the file, for errors.

    Raises: CorruptFile.
    """
    options = _Options.of(header.metadata, name)
    found: dict[tuple[int, int], dict[int, str]] = {}
    for key in header.tensors:
        if match := _NAME.fullmatch(key):
            place = int(match["width"]), int(match["side"])
            found.setdefault(place, {})[int(match["index"])] = key.rpartition(".")[0]
    shapes = {key: info.shape for key, info in header.tensors.items()}
    nets = {
        place: _net([places[i] for i in sorted(places)], place[0], options, shapes, name)
        for place, places in found.items()
    }
    widths = sorted({width for width, _ in nets})
    if not widths or any((width, side) not in nets for width in widths for side in (0, 1)):
        raise broken(name, "it lacks one of the two networks that each width needs")
    return HypernetworkLayers({width: (nets[width, 0], nets[width, 1]) for width in widths})


def _net(
    parts: Sequence[str], width: int, options: _Options, shapes: Mapping[str, tuple[int, ...]], name: str
) -> Net:
    """The layers of one network from the names of its parts, in order."""
    layers: list[NetLayer] = []
    for part in parts:
        shape = shapes.get(f"{part}.weight", ())
        if len(shape) == 2 and shapes.get(f"{part}.bias") == shape[:1]:
            layers.append(NetLayer(part, options.activation))
        elif layers and options.activation == _LEARNED and shape == (1,):
            layers[-1] = replace(layers[-1], activation=f"{part}.weight")
        elif layers and options.has_norm and shape == shapes.get(f"{part}.bias"):
            layers[-1] = replace(layers[-1], norm=part)
        else:
            raise broken(name, f"its part {part} has the shape {shape}, which fits no layer")
    if layers and not options.activates_output:
        layers[-1] = replace(layers[-1], activation="")
    _check_widths(layers, width, options, shapes, name)
    return tuple(layers)


def _check_widths(
    layers: Sequence[NetLayer],
    width: int,
    options: _Options,
    shapes: Mapping[str, tuple[int, ...]],
    name: str,
) -> None:
    matrices = [shapes[f"{layer.linear}.weight"] for layer in layers]
    has = [width, *(rows for rows, _ in matrices)]
    wanted = has if options.structure is None else [int(width * factor) for factor in options.structure]
    is_chain = [columns for _, columns in matrices] == has[:-1] and has[-1] == width
    norms_fit = all(
        not layer.norm or shapes[f"{layer.norm}.weight"] == (rows,)
        for layer, (rows, _) in zip(layers, matrices, strict=True)
    )
    if not layers or not is_chain or not norms_fit or has != wanted:
        raise broken(name, f"its layers for the width {width} are {has} wide, but should be {wanted}")


def broken(name: str, why: str) -> CorruptFile:
    """The error of a file whose layers cannot be computed, with the reason."""
    return CorruptFile(
        f"The hypernetwork {name} cannot be used: {why}.", "Download it again, or choose another version."
    )
