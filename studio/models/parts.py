"""Models that are one component: ControlNets, T2I-Adapters, IP-Adapters, GLIGEN, encoders of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from studio.core.control_types import union_controls
from studio.core.errors import CorruptFile, InvalidRequest, ModelFileError
from studio.core.models import ModelInfo, ModelKind
from studio.models import configs_control as configs
from studio.models.components import ComponentRef, Shelf, fingerprinted
from studio.models.configs import Config, Shapes
from studio.models.convert_control import controlnet_sources
from studio.models.folders import component_class, component_config, is_pipeline, weight_files
from studio.models.gligen_files import GLIGEN, PIPELINE_IMAGE_PROJECTION, fit_gligen, graft_prefix, is_graft
from studio.models.safe import open_weights, read_header

ROLES: Mapping[ModelKind, str] = {
    ModelKind.CONTROLNET: "controlnet",
    ModelKind.T2I_ADAPTER: "t2i",
    ModelKind.IP_ADAPTER: "ip_adapter",
    ModelKind.CLIP_VISION: "image_encoder",
    ModelKind.GLIGEN: "gligen",
}
"""What the roles of these kinds begin with; the model's id follows."""

_CONTROL_PREFIX = "control_model."
_PLAIN_CLASS = "ControlNetModel"
_UNION_CLASS = "ControlNetUnionModel"

_File = tuple[str, str, str, Config]
"""Class, layout, prefix and configuration of the component in a single file."""


def part_role(info: ModelInfo) -> str:
    """The role of such a model in a lease: `controlnet:canny`."""
    return f"{ROLES[info.kind]}:{info.id}"


def part_of(shelf: Shelf, info: ModelInfo) -> ComponentRef:
    """The one component of a ControlNet, T2I-Adapter, IP-Adapter, GLIGEN model or image encoder.

    Raises:
        InvalidRequest: it cannot be used.
        ModelFileError: its files are broken.
    """
    if not info.usable:
        raise InvalidRequest(f"{info.name} cannot be used: {info.problem}")
    path = shelf.path_of(info.id)
    if info.kind is ModelKind.GLIGEN:
        return fingerprinted(_graft(info, path), shelf.cache)
    return fingerprinted(_folder(info, path) if path.is_dir() else _file(info, path), shelf.cache)


def picture_parts_of(
    shelf: Shelf, info: ModelInfo, encoders: Iterable[ModelInfo]
) -> tuple[ComponentRef, ComponentRef]:
    """What a GLIGEN model knows pictures by: an image encoder, and the projection to phrases.

    Both lie in the folder of its pipeline; another encoder of the same width does as well.

    Raises: InvalidRequest: one is missing.
    """
    folder = shelf.path_of(info.id)
    projection = folder / PIPELINE_IMAGE_PROJECTION
    if not projection.is_dir():
        raise InvalidRequest(
            f"{info.name} lacks the projection by which boxes take pictures.",
            "Install the whole folder of such a model, not its UNet alone, or take the pictures away.",
        )
    project = _component("image_project", info, projection)
    encoder = folder / "image_encoder"
    if encoder.is_dir():
        own = _component("image_encoder", info, encoder)
        return fingerprinted(own, shelf.cache), fingerprinted(project, shelf.cache)
    width = project.config["hidden_size"]
    for other in encoders:
        if other.usable and _vision_config(other, shelf.path_of(other.id)).get("projection_dim") == width:
            return part_of(shelf, other), fingerprinted(project, shelf.cache)
    raise InvalidRequest(
        f"{info.name} reads pictures through an image encoder that gives {width} channels, and none is here.",
        "Put it into the folder clip_vision; it comes with the model, as image_encoder.",
    )


def image_encoder_of(shelf: Shelf, adapter: ComponentRef, encoders: Iterable[ModelInfo]) -> ComponentRef:
    """The image encoder that an IP-Adapter was trained with, told by the width of what it gives.

    Args:
        encoders: the catalogue's models of the kind CLIP_VISION.

    Raises: InvalidRequest: none of them fits.
    """
    width = adapter.config["image_width"]
    output = "projection_dim" if adapter.config["projection"] == "plain" else "hidden_size"
    for info in encoders:
        if info.usable and _vision_config(info, shelf.path_of(info.id)).get(output) == width:
            return part_of(shelf, info)
    names = {1024: "CLIP ViT-H", 1280: "CLIP ViT-bigG" if output == "projection_dim" else "CLIP ViT-H"}
    raise InvalidRequest(
        f"{adapter.model} reads pictures through an image encoder that gives {width} channels"
        f"{f' ({names[width]})' if width in names else ''}, and none of those here does.",
        "Put it into the folder clip_vision; it comes with the IP-Adapter, as image_encoder.",
    )


def _vision_config(info: ModelInfo, path: Path) -> Config:
    """The encoder's configuration; empty where its files are not what they say."""
    try:
        return dict(component_config(path) if path.is_dir() else _file(info, path).config)
    except ModelFileError:
        return {}


def _folder(info: ModelInfo, folder: Path) -> ComponentRef:
    ref = _component(ROLES[info.kind], info, folder)
    if not union_controls(info.layout):
        return ref
    # Its authors' folders name a class of their own, and leave out what their code takes for granted.
    header = open_weights(weight_files(folder)).header
    with _whole(folder, "union ControlNet"):
        fitted = configs.fit_union({name: tensor.shape for name, tensor in header.tensors.items()})
    return replace(ref, class_name=_UNION_CLASS, config={**ref.config, **fitted})


def _component(kind: str, info: ModelInfo, folder: Path) -> ComponentRef:
    config = component_config(folder)
    size = sum(file.stat().st_size for file in weight_files(folder))
    name, role = component_class(config), f"{kind}:{info.id}"
    return ComponentRef(role, info.id, info.family, name, folder, "diffusers", size_bytes=size, config=config)


def _graft(info: ModelInfo, path: Path) -> ComponentRef:
    """What GLIGEN adds to a UNet, from a file or a folder that may hold the UNet as well."""
    if path.is_dir():
        path = path / "unet" if is_pipeline(path) else path
        header = open_weights(weight_files(path)).header
    else:
        header = read_header(path)
    graft = {name: tensor for name, tensor in header.tensors.items() if is_graft(name)}
    with _whole(path, "GLIGEN model"):
        prefix = graft_prefix(graft)
        config = fit_gligen({name.removeprefix(prefix): tensor.shape for name, tensor in graft.items()})
    size = sum(tensor.size_bytes for tensor in graft.values())
    role = part_role(info)
    return ComponentRef(role, info.id, info.family, "GligenGraft", path, GLIGEN, prefix, size, config=config)


def _file(info: ModelInfo, path: Path) -> ComponentRef:
    header = read_header(path)
    with _whole(path, info.kind.noun):
        class_name, layout, prefix, config = _READERS[info.kind](
            info, {name: tensor.shape for name, tensor in header.tensors.items()}
        )
    if class_name == _PLAIN_CLASS and configs.pools_globally(path):
        config = {**config, "global_pool_conditions": True}
    size = sum(tensor.size_bytes for name, tensor in header.tensors.items() if name.startswith(prefix))
    return ComponentRef(
        part_role(info), info.id, info.family, class_name, path, layout, prefix, size, config=config
    )


@contextmanager
def _whole(path: Path, kind: str) -> Iterator[None]:
    """Raises: CorruptFile: a tensor that the block looks for is missing or misshapen."""
    try:
        yield
    except (KeyError, IndexError, StopIteration, ValueError, TypeError) as error:
        raise CorruptFile(
            f"{path.name} lacks or misshapes a tensor that every {kind} has: {error}.",
            "Download it again, or choose another version.",
        ) from error


def _controlnet(info: ModelInfo, shapes: Shapes) -> _File:
    prefix = _CONTROL_PREFIX if any(name.startswith(_CONTROL_PREFIX) for name in shapes) else ""
    mine = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    if info.layout == "ldm":
        return _PLAIN_CLASS, "ldm-controlnet", prefix, configs.fit_controlnet(info.family, mine)
    plain = configs.in_original_names(configs.without_union(mine), controlnet_sources)
    config = configs.fit_controlnet(info.family, plain)
    if not union_controls(info.layout):
        return _PLAIN_CLASS, "diffusers", prefix, config
    del config["mid_block_type"]  # which these nets have no choice of
    return _UNION_CLASS, "diffusers", prefix, config | configs.fit_union(mine)


def _t2i_adapter(info: ModelInfo, shapes: Shapes) -> _File:
    if info.layout == "diffusers":
        return "T2IAdapter", "diffusers", "", configs.fit_t2i_adapter(shapes)
    return "T2IAdapter", "t2i-adapter", "", configs.fit_t2i_adapter(configs.t2i_names(shapes))


def _ip_adapter(info: ModelInfo, shapes: Shapes) -> _File:
    config = configs.fit_ip_adapter(shapes)
    layout = "ip-adapter-full" if config["projection"] == "full" else "ip-adapter"
    return "IPAdapter", layout, "", config


def _clip_vision(info: ModelInfo, shapes: Shapes) -> _File:
    return "CLIPVisionModelWithProjection", "diffusers", "", configs.fit_clip_vision(shapes)


_READERS: Mapping[ModelKind, Callable[[ModelInfo, Shapes], _File]] = {
    ModelKind.CONTROLNET: _controlnet,
    ModelKind.T2I_ADAPTER: _t2i_adapter,
    ModelKind.IP_ADAPTER: _ip_adapter,
    ModelKind.CLIP_VISION: _clip_vision,
}
