"""GLIGEN's layers go on any SD 1.x UNet, from files of either naming, and come off without a trace."""

from __future__ import annotations

import gc
import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from studio.adapters.gligen import BoxedObject, ObjectFeature, grafted, object_tokens
from studio.core.errors import InvalidRequest
from studio.core.geometry import Box
from studio.core.models import Family, PredictionType
from studio.models.cache import FileCache
from studio.models.configs import read_config
from studio.models.convert import unet_sources
from studio.models.describe import describe
from studio.models.gligen import GligenGraft
from studio.models.gligen_checks import graft_problem
from studio.models.gligen_files import (
    gligen_sources,
    lacks_projection,
    module_key,
    numbered_blocks,
    reads_pictures,
)
from studio.models.load import load_component
from studio.models.modules import empty_module
from studio.models.parts import part_of
from studio.models.scan import Found
from tests import tiny
from tests.tiny_gligen import gated_unet, graft_tensors, make_gated_folder, make_gligen, make_text_image

ROUNDS = 100


class _Shelf:
    """One model, as the catalogue knows it."""

    def __init__(self, path: Path, cache: FileCache) -> None:
        self.path = path
        self.cache = cache

    def path_of(self, _: str) -> Path:
        return self.path

    def tokenizer_folders(self) -> tuple[Path, ...]:
        return ()

    @property
    def info(self) -> Any:
        return describe(Found(self.path, None, "boxes"), self.cache, None).model_copy(update={"id": "boxes"})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_sd1(tmp_path_factory.mktemp("base") / "sd1")


def load(path: Path, tmp_path: Path) -> Any:
    shelf = _Shelf(path, FileCache(tmp_path / "cache.json"))
    ref = part_of(shelf, shelf.info)
    return ref, load_component(ref, torch.float32)


def call(unet: Any, objs: torch.Tensor | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    channels = unet.config.in_channels
    sample, text = torch.randn(2, channels, 8, 8), torch.randn(2, 77, unet.config.cross_attention_dim)
    extra = {"cross_attention_kwargs": {"gligen": {"objs": objs}}} if objs is not None else {}
    with torch.inference_mode():
        result: torch.Tensor = unet(sample, torch.tensor([500, 500]), text, **extra).sample
    return result


def tokens_of(graft: Any) -> torch.Tensor:
    torch.manual_seed(1)
    one = BoxedObject(Box(x0=0.1, y0=0.2, x1=0.6, y1=0.9), ObjectFeature(torch.randn(1, 32)))
    return torch.cat(object_tokens(graft, [one]))


def whole_file(path: Path, base: Path) -> Path:
    """A checkpoint in the original names that was trained with GLIGEN in it."""
    tensors = {
        f"model.diffusion_model.{name}": t for name, t in graft_tensors(gated_unet(base), ldm=True).items()
    }
    save_file(tiny.ldm_tensors(base) | tensors, path)
    return path


def make(kind: str, folder: Path, base: Path) -> Path:
    made = {
        "diffusers": lambda: make_gligen(folder / "boxes.safetensors", base),
        "ldm": lambda: make_gligen(folder / "boxes.safetensors", base, ldm=True),
        "folder": lambda: make_gated_folder(folder / "boxes", base),
        "checkpoint": lambda: whole_file(folder / "boxes.safetensors", base),
        "pictures": lambda: make_text_image(folder / "boxes", base),
    }
    return made[kind]()


@pytest.mark.parametrize("kind", ["diffusers", "ldm", "folder", "checkpoint"])
def test_grafts_of_all_layouts_are_one(base: Path, tmp_path: Path, kind: str) -> None:
    path = make(kind, tmp_path, base)
    ref, graft = load(path, tmp_path)
    reference, _ = load(make_gligen(tmp_path / "reference.safetensors", base), tmp_path)
    assert (ref.role, ref.digest) == ("gligen:boxes", reference.digest)

    unet = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    objs = tokens_of(graft)
    gated = gated_unet(base)
    gated.position_net = torch.nn.Identity()
    gated.position_net.forward = lambda objs: objs
    with grafted(unet, graft):
        difference = (call(unet, objs) - call(gated, objs)).abs().max()
    assert difference < 1e-5
    assert (call(unet) - call(gated, objs)).abs().max() > 1e-3


def test_blocks_of_a_real_unet_have_the_same_numbers_in_both_namings() -> None:
    config = read_config(Family.SD1, PredictionType.EPSILON, "unet")
    sources = unet_sources(empty_module("UNet2DConditionModel", config).state_dict())
    ends = ".attn1.to_q.weight"
    places = {
        name.removesuffix(ends): source.name.removesuffix(ends)
        for name, source in sources.items()
        if name.endswith(ends)
    }
    assert len(places) == 16
    ours, theirs = (
        numbered_blocks(f"fusers.{module_key(place)}.x" for place in naming)
        for naming in (places, reversed(list(places.values())))
    )
    for place, other in places.items():
        assert ours[f"fusers.{module_key(place)}.x"] == theirs[f"fusers.{module_key(other)}.x"]
    assert sorted(set(ours.values())) == sorted(f"fusers.{number}.x" for number in range(16))


def test_on_and_off_again_leaves_no_trace(base: Path, tmp_path: Path) -> None:
    _, graft = load(make_gligen(tmp_path / "boxes.safetensors", base), tmp_path)
    unet = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    before = call(unet)
    parts = [dict(vars(module)) for module in unet.modules()]
    objs = tokens_of(graft)
    memory = 0
    for number in range(ROUNDS):
        with grafted(unet, graft, strength=1 + number / ROUNDS):
            boxed = call(unet, objs)
        if number == ROUNDS // 10:
            gc.collect()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not torch.equal(boxed, before)
    assert torch.equal(call(unet), before)
    assert [dict(vars(module)) for module in unet.modules()] == parts
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 8 * 1024  # KiB


def test_while_it_is_on_the_unet_owns_no_more_than_before(base: Path, tmp_path: Path) -> None:
    _, graft = load(make_gligen(tmp_path / "boxes.safetensors", base), tmp_path)
    unet = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    names, modules = list(unet.state_dict()), list(unet.modules())
    with grafted(unet, graft):
        assert (list(unet.state_dict()), list(unet.modules())) == (names, modules)
        assert torch.equal(call(unet), call(unet)), "without boxes the layers are passed by"


def test_a_failed_pass_takes_the_graft_off(base: Path, tmp_path: Path) -> None:
    _, graft = load(make_gligen(tmp_path / "boxes.safetensors", base), tmp_path)
    unet = UNet2DConditionModel.from_pretrained(base / "unet").eval()
    with pytest.raises(RuntimeError), grafted(unet, graft):
        raise RuntimeError
    assert not any("fuser" in vars(module) for module in unet.modules())
    assert not hasattr(unet, "position_net")


def test_grafts_of_other_unets_are_refused(base: Path, tmp_path: Path) -> None:
    _, graft = load(make_gligen(tmp_path / "boxes.safetensors", base), tmp_path)
    config = dict(UNet2DConditionModel.load_config(base / "unet"))
    for change in ({"cross_attention_dim": 48}, {"block_out_channels": (64, 64)}, {"layers_per_block": 2}):
        with (
            pytest.raises(InvalidRequest) as refused,
            grafted(UNet2DConditionModel(**config | change), graft),
        ):
            pass
        assert refused.value.field == "boxes.model"


def probed(path: Path) -> Any:
    return _Shelf(path, FileCache()).info


def test_models_that_read_pictures_are_known_by_their_layout(base: Path, tmp_path: Path) -> None:
    info = probed(make_text_image(tmp_path / "both", base))
    assert (info.kind, info.layout, info.context_width) == ("gligen", "diffusers-text-image", 32)
    info = probed(make_gligen(tmp_path / "a.safetensors", base, ldm=True))
    assert (info.kind, info.layout, info.context_width) == ("gligen", "ldm", 32)
    shutil.rmtree(tmp_path / "both" / "image_project")
    alone = probed(tmp_path / "both").layout
    assert (reads_pictures(alone), lacks_projection(alone)) == (False, True)


def test_half_a_graft_says_so(base: Path, tmp_path: Path) -> None:
    tensors = graft_tensors(gated_unet(base))
    save_file({k: v for k, v in tensors.items() if "position_net" not in k}, tmp_path / "half.safetensors")
    info = probed(tmp_path / "half.safetensors")
    assert info.kind == "gligen"
    assert "lacks" in info.problem


@pytest.mark.parametrize("kind", ["diffusers", "ldm", "folder", "checkpoint", "pictures"])
def test_whole_grafts_of_all_layouts_can_be_used(base: Path, tmp_path: Path, kind: str) -> None:
    assert probed(make(kind, tmp_path, base)).problem == ""


@pytest.mark.parametrize("reads_pictures", [False, True])
def test_a_graft_is_looked_through_for_every_tensor_that_it_needs(reads_pictures: bool) -> None:
    graft = GligenGraft(8, 8, reads_pictures, dict.fromkeys(PLACES["diffusers"], 8))
    names = list(graft.state_dict())
    stored = [source.name for source in gligen_sources(names).values()]
    assert graft_problem(stored) == ""
    for name in stored:
        assert "lacks" in graft_problem({*stored} - {name}), name


PLACES = {
    "diffusers": [
        *(f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)),
        "mid_block.attentions.0",
        *(f"up_blocks.{i}.attentions.{j}" for i in range(1, 4) for j in range(3)),
    ],
    "ldm": [
        *(f"input_blocks.{i}.1" for i in (1, 2, 4, 5, 7, 8)),
        "middle_block.1",
        *(f"output_blocks.{i}.1" for i in range(3, 12)),
    ],
    "shallow": ["input_blocks.1.1", "middle_block.1", "output_blocks.2.1", "output_blocks.3.1"],
}
"""Of the transformer blocks of SD 1.x, in both namings, and of a UNet with one layer a level."""
PLACES = {kind: [f"{place}.transformer_blocks.0" for place in places] for kind, places in PLACES.items()}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_graft_that_lacks_the_layers_of_one_block_says_so(kind: str, prefix: str) -> None:
    def problem(places: list[str]) -> str:
        with torch.device("meta"):
            graft = GligenGraft(8, 8, False, dict.fromkeys(places, 8))
        return graft_problem(prefix + source.name for source in gligen_sources(graft.state_dict()).values())

    assert problem(PLACES[kind]) == ""
    for lost in PLACES[kind]:
        rest = [place for place in PLACES[kind] if place != lost]
        assert f"for {len(rest)} transformer blocks of a UNet, but lacks those" in problem(rest), lost


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_whole_level_is_missed_where_the_file_holds_the_unet_as_well(prefix: str) -> None:
    level = ("down_blocks.2.", "up_blocks.1.")
    rest = [place for place in PLACES["diffusers"] if not place.startswith(level)]
    with torch.device("meta"):
        graft = GligenGraft(8, 8, False, dict.fromkeys(rest, 8))
    names = [prefix + source.name for source in gligen_sources(graft.state_dict()).values()]
    assert graft_problem(names) == ""
    unet = [f"{prefix}{place}.attn1.to_q.weight" for place in PLACES["diffusers"]]
    assert "for 11 transformer blocks of a UNet, but lacks those" in graft_problem([*names, *unet])


@pytest.mark.parametrize(
    ("part", "word"),
    [("null_person_feature", "joints of persons"), ("convnext_tiny_backbone.features.0.0.bias", "maps of")],
)
def test_models_of_another_kind_say_what_they_are(base: Path, tmp_path: Path, part: str, word: str) -> None:
    tensors = graft_tensors(gated_unet(base), ldm=True)
    layers = {k: v for k, v in tensors.items() if ".fuser." in k}
    save_file(layers | {f"position_net.{part}": torch.zeros(4)}, tmp_path / "other.safetensors")
    info = probed(tmp_path / "other.safetensors")
    assert (info.kind, info.usable) == ("gligen", False)
    assert re.search(f"goes by .*{word}", info.problem)


def test_the_blocks_of_a_real_unet_are_found_in_the_original_names(tmp_path: Path) -> None:
    """The graft of a pruned file of SD 1.x: six blocks on the way down, one in the middle, nine up."""
    down = [f"input_blocks.{i}.1" for i in (1, 2, 4, 5, 7, 8)]
    up = [f"output_blocks.{i}.1" for i in range(3, 12)]
    widths = [320, 320, 640, 640, 1280, 1280, 1280, *[1280] * 3, *[640] * 3, *[320] * 3]
    places = [f"{place}.transformer_blocks.0" for place in (*down, "middle_block.1", *up)]
    with torch.device("meta"):
        unet = UNet2DConditionModel(**read_config(Family.SD1, PredictionType.EPSILON, "unet"))
        graft = GligenGraft(768, 768, False, dict(zip(places, widths, strict=True)))
    with grafted(unet, graft):
        fusers = [vars(module)["fuser"] for module in unet.modules() if "fuser" in vars(module)]
    assert len(fusers) == 16
    assert {fuser.attn.heads for fuser in fusers} == {8}
