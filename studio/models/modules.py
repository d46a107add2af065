"""Empty modules of the classes that Easel knows, and where each of their tensors lies in a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studio.core.errors import CorruptFile, UnknownFile
from studio.models.configs import MAX_COUNT
from studio.models.convert import (
    Source,
    clip_sources,
    open_clip_layer,
    open_clip_pieces,
    open_clip_sources,
    other_names,
    unet_sources,
    vae_sources,
)
from studio.models.convert_control import (
    controlnet_sources,
    full_ip_adapter_sources,
    ip_adapter_sources,
    t2i_adapter_sources,
)
from studio.models.gligen_files import GLIGEN, gligen_sources, is_graft

if TYPE_CHECKING:
    import torch
    from torch.overrides import TorchFunctionMode

_DIFFUSERS_CLASSES = frozenset(
    {
        "UNet2DConditionModel",
        "AutoencoderKL",
        "AutoencoderTiny",
        "ControlNetModel",
        "ControlNetUnionModel",
        "T2IAdapter",
    }
)
_CLIP_CLASSES = frozenset({"CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection"})

_LEGACY_END_TOKEN = 2
"""A placeholder in old CLIP configurations, which makes transformers pool at the largest id instead."""

LAYOUTS: Mapping[str, Callable[[Iterable[str]], dict[str, Source]]] = {
    "ldm-unet": unet_sources,
    "ldm-vae": vae_sources,
    "ldm-clip": clip_sources,
    "open-clip": open_clip_sources,
    "ldm-controlnet": controlnet_sources,
    "t2i-adapter": t2i_adapter_sources,
    "ip-adapter": ip_adapter_sources,
    "ip-adapter-full": full_ip_adapter_sources,
    GLIGEN: gligen_sources,
}
"""How a file names the tensors of one component; "diffusers" names them as the module does."""

_HARMLESS = re.compile(r"(^|\.)(position_ids|attn_mask|logit_scale)$|^(model_ema|loss)\.")
"""Tensors that files carry and no module of ours reads."""


def import_classes() -> None:
    """Import the classes that every picture needs: seconds, which the first one would wait for.

    Once, and before threads use them: the lazy imports of both libraries are full of circles, and two threads
    may meet in one.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
    from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401


def empty_module(class_name: str, config: Mapping[str, Any]) -> torch.nn.Module:
    """A module of the class without memory for its weights (device `meta`).

    Raises:
        UnknownFile: a class that Easel does not know.
        CorruptFile: a configuration that describes no module.
    """
    spare = _spares.pop(_kind_of(class_name, config), None)
    return _built(class_name, config) if spare is None else spare


def shapes_of(class_name: str, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of the tensors that such a module wants, by their names in its state dict.

    Raises: as `empty_module`.
    """
    module = empty_module(class_name, config)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if len(_spares) >= _MOST_SPARES:
        _spares.clear()
    _spares[_kind_of(class_name, config)] = module
    return shapes


_MOST_SPARES = 4
_spares: dict[str, torch.nn.Module] = {}
"""Built to be looked at, a twentieth of a second for a UNet; who loads one next takes it."""


def _kind_of(class_name: str, config: Mapping[str, Any]) -> str:
    return json.dumps([class_name, dict(config)], sort_keys=True, default=str)


def _built(class_name: str, config: Mapping[str, Any]) -> torch.nn.Module:
    import torch

    build = _builder(class_name)
    refuse_endless(class_name, config)
    try:
        with torch.device("meta"), _initialisers_skipped():
            return build({key: value for key, value in config.items() if not key.startswith("_")})
    except Exception as error:  # a configuration from a file can make a constructor raise anything
        raise CorruptFile(
            f"The configuration of a {class_name} describes no module: {error}.", "Download the model again."
        ) from error


def refuse_endless(class_name: str, config: Mapping[str, Any]) -> None:
    """A module of billions of layers takes for ever to build, even without weights.

    Raises: CorruptFile.
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            refuse_endless(class_name, value)
        is_long = isinstance(value, (list, tuple)) and len(value) > MAX_COUNT
        if is_long or (key in _COUNTS and any(number > MAX_COUNT for number in _numbers(value))):
            raise CorruptFile(
                f"The configuration of a {class_name} tells of more {key} than any model has.",
                "Download the model again.",
            )


_COUNTS = frozenset(
    {
        *("num_hidden_layers", "layers_per_block", "num_encoder_blocks", "num_decoder_blocks"),
        *("transformer_layers_per_block", "reverse_transformer_layers_per_block", "num_trans_layer", "depth"),
        *("depths", "encoder_layers", "decoder_layers", "num_res_blocks"),
    }
)
"""How often a part is repeated, in the words of diffusers and transformers."""


def _numbers(value: object) -> Iterator[float]:
    """The numbers in lists of lists."""
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _numbers(each)


def _initialisers_skipped() -> TorchFunctionMode:
    """Random numbers for weights that are about to be replaced cost half of the time that building takes."""
    from torch.overrides import TorchFunctionMode

    class Skip(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            named = kwargs or {}
            if getattr(func, "__name__", "") in _INITIALISERS:
                return args[0] if args else named["tensor"]
            return func(*args, **named)

    return Skip()


_INITIALISERS = frozenset(
    {
        "uniform_",
        "normal_",
        "trunc_normal_",
        "kaiming_uniform_",
        "xavier_uniform_",
        "zeros_",
        "ones_",
        "zero_",
        "fill_",
    }
)


def _builder(class_name: str) -> Callable[[dict[str, Any]], torch.nn.Module]:
    if class_name in _DIFFUSERS_CLASSES:
        import diffusers

        from_config: Callable[[dict[str, Any]], torch.nn.Module] = getattr(diffusers, class_name).from_config
        return from_config
    if class_name in _CLIP_CLASSES:
        return lambda config: _clip(class_name, config)
    if class_name == "IPAdapter":
        from studio.models.ip_adapter import IPAdapter

        return lambda config: IPAdapter(**config)
    if class_name == "GligenGraft":
        from studio.models.gligen import GligenGraft

        return lambda config: GligenGraft(**config)
    if class_name == "CLIPImageProjection":
        from diffusers.pipelines.stable_diffusion import CLIPImageProjection

        projection: Callable[[dict[str, Any]], torch.nn.Module] = CLIPImageProjection.from_config
        return projection
    raise UnknownFile(f"The class {class_name} is none of those that Easel runs.")


def _clip(class_name: str, config: dict[str, Any]) -> torch.nn.Module:
    import transformers

    model_class = getattr(transformers, class_name)
    clip_config = model_class.config_class(**config)
    if getattr(clip_config, "eos_token_id", None) == _LEGACY_END_TOKEN:
        clip_config.eos_token_id = clip_config.vocab_size - 1
    module: torch.nn.Module = model_class(clip_config)
    return module


def find_sources(
    wanted: Collection[str], layout: str, prefix: str, available: Collection[str], file: str
) -> dict[str, Source]:
    """For each tensor that a module wants, where it lies in its file.

    Args:
        wanted: names in the module's state dict.
        available: all names in the file.
        prefix: what the file puts before the names of this component.

    Raises:
        CorruptFile: one is missing, or the file holds one that the module has no place for.
    """
    mine = {name.removeprefix(prefix) for name in _of_component(available, layout, prefix)}
    sources = LAYOUTS[layout](wanted) if layout in LAYOUTS else {name: Source(name) for name in wanted}
    found = {name: _find(source, mine) for name, source in sources.items()}
    missing = [name for name, source in found.items() if source is None]
    if missing:
        raise CorruptFile(
            f"{file} lacks {len(missing)} of {len(wanted)} tensors, the first is {missing[0]}.",
            "Download it again, or choose another version.",
        )
    located = {name: source for name, source in found.items() if source is not None}
    _refuse_leftovers(mine - {source.name for source in located.values()}, layout, located, file)
    return {name: replace(s, name=prefix + s.name) for name, s in located.items()}


def _of_component(names: Iterable[str], layout: str, prefix: str) -> Iterator[str]:
    """The names of a component; what a graft comes with beside itself belongs to none."""
    return (name for name in names if name.startswith(prefix) and (layout != GLIGEN or is_graft(name)))


def _find(source: Source, available: Collection[str]) -> Source | None:
    if source.name in available:
        return source
    other = next((name for name in other_names(source.name) if name in available), None)
    return replace(source, name=other) if other else None


def _refuse_leftovers(names: set[str], layout: str, used: Mapping[str, Source], file: str) -> None:
    unknown = sorted(name for name in names if not _HARMLESS.search(name))
    if layout == "open-clip":
        layers = 1 + max(open_clip_layer(source.name) for source in used.values())
        unknown = [piece.name for piece in open_clip_pieces(unknown, layers) if not piece.transposed]
    if unknown:
        raise CorruptFile(
            f"{file} holds {len(unknown)} tensors without a place in the model, the first is {unknown[0]}.",
            "It may be made for another program; choose another version.",
        )
