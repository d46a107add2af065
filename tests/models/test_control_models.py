"""ControlNets, T2I-Adapters, IP-Adapters and image encoders: found, told apart, loaded, in every layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from shutil import copyfile, copytree

import pytest
import torch
from diffusers import (
    ControlNetModel,
    ControlNetUnionModel,
    StableDiffusionPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file

from studio.core.errors import CorruptFile, InvalidRequest
from studio.core.models import Family, ModelKind
from studio.core.settings import Settings
from studio.models import convert, convert_control
from studio.models.catalogue import ModelCatalogue
from studio.models.convert import Source
from studio.models.device import choose_device
from studio.models.load import load_component
from studio.models.manager import ModelManager
from studio.models.parts import image_encoder_of, part_of
from tests import tiny

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one of each."""
    folder = tmp_path_factory.mktemp("control-models")
    for name, make in (("sd1", tiny.make_sd1), ("sd2", tiny.make_sd2), ("sdxl", tiny.make_sdxl)):
        base = make(folder / "checkpoints" / name)
        net = tiny.make_controlnet(folder / "controlnet" / f"net-{name}", base)
        if name != "sdxl":  # a ControlNet alone does not tell how its size conditioning is divided
            renamed(net, folder / "controlnet" / f"net-{name}-ldm.pth", convert_control.controlnet_sources)
            save_file(load_file(net / WEIGHTS), folder / "controlnet" / f"net-{name}-file.safetensors")
    for tasks in (6, 8):
        tiny.make_union(folder / "unions" / str(tasks), folder / "checkpoints" / "sdxl", tasks=tasks)
    nets = folder / "controlnet"
    copytree(folder / "unions" / "6", nets / "union")
    as_its_authors_keep_it(folder / "unions" / "6", nets / "union-authors")
    save_file(load_file(folder / "unions" / "8" / WEIGHTS), nets / "union-promax-file.safetensors")
    for kind in ("full_adapter", "light_adapter", "full_adapter_xl"):
        tiny.make_t2i_adapter(folder / "t2i_adapter" / kind, adapter_type=kind)
    adapters = folder / "t2i_adapter"
    for kind in ("light_adapter", "full_adapter_xl"):
        save_file(load_file(adapters / kind / WEIGHTS), adapters / f"{kind}-file.safetensors")
    renamed(adapters / "light_adapter", adapters / "light-ldm.pth", convert_control.t2i_adapter_sources)
    real = four_level_adapter(folder / "real")
    renamed(real, adapters / "full-ldm.pth", convert_control.t2i_adapter_sources)
    tiny.make_image_encoder(folder / "clip_vision" / "vision")
    vision = load_file(folder / "clip_vision" / "vision" / "model.safetensors")
    save_file(vision, folder / "clip_vision" / "vision-file.safetensors")
    for projection in ("plain", "plus", "full"):
        for suffix in (".safetensors", ".bin"):
            file = folder / "ipadapter" / f"ip-{projection}{suffix.replace('.', '-')}{suffix}"
            tiny.make_ip_adapter(file, folder / "checkpoints" / "sd1", projection=projection)
    return folder


def as_its_authors_keep_it(folder: Path, other: Path) -> None:
    """With a class that diffusers does not know, and without what its code takes for granted."""
    copytree(folder, other)
    config = json.loads((folder / "config.json").read_text())
    config["_class_name"] = "ControlNetModel_Union"
    kept = {key: value for key, value in config.items() if not key.startswith("num_")}
    (other / "config.json").write_text(json.dumps(kept))


def four_level_adapter(path: Path) -> Path:
    """Four levels, as all real full adapters have."""
    torch.manual_seed(0)
    T2IAdapter(channels=[16, 32, 64, 64]).save_pretrained(path)
    return path


def renamed(folder: Path, file: Path, sources: Callable[[Iterable[str]], Mapping[str, Source]]) -> Path:
    """The diffusers folder as a pickle in the original names."""
    tensors = load_file(folder / WEIGHTS)
    prefix = "control_model." if "controlnet" in str(folder) else ""
    torch.save({prefix + k: v for k, v in convert.stored(tensors, sources(tensors)).items()}, file)
    return file


@pytest.fixture(scope="module")
def catalogue(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelCatalogue:
    return ModelCatalogue(Settings(data_dir=tmp_path_factory.mktemp("data"), models_dirs=(folder,)))


FAMILIES = {"sd1": Family.SD1, "sd2": Family.SD2, "sdxl": Family.SDXL}


@pytest.mark.parametrize(
    "name", ["net-sd1", "net-sd1-ldm", "net-sd1-file", "net-sd2", "net-sd2-ldm", "net-sd2-file", "net-sdxl"]
)
def test_controlnets_of_every_layout(folder: Path, catalogue: ModelCatalogue, name: str):
    family = name.split("-")[1]
    info = catalogue.find(name)
    assert (info.kind, info.family) == (ModelKind.CONTROLNET, FAMILIES[family])
    theirs = ControlNetModel.from_pretrained(folder / "controlnet" / f"net-{family}")
    ours = load_component(part_of(catalogue, info), torch.float32)
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", ["union", "union-authors", "union-promax-file"])
def test_union_controlnets_of_every_layout(folder: Path, catalogue: ModelCatalogue, name: str):
    info = catalogue.find(name)
    assert (info.kind, info.family, info.problem) == (ModelKind.CONTROLNET, Family.SDXL, "")
    tasks = 8 if "promax" in name else 6
    assert info.layout == f"union-{tasks}"
    theirs = ControlNetUnionModel.from_pretrained(folder / "unions" / str(tasks))
    ours = load_component(part_of(catalogue, info), torch.float32)
    assert_same(ours, theirs)
    assert ours.config.num_control_type == tasks
    given = {
        "sample": torch.rand(1, 4, 8, 8),
        "timestep": torch.tensor(7),
        "encoder_hidden_states": torch.rand(1, 5, ours.config.cross_attention_dim),
        "controlnet_cond": [torch.rand(1, 3, 64, 64)] * 2,
        "control_type": torch.ones(1, tasks),
        "control_type_idx": [0, 3],
        "added_cond_kwargs": {
            "text_embeds": torch.rand(1, 64),
            "time_ids": torch.ones(1, 6),
        },
    }
    assert torch.equal(ours(**given).mid_block_res_sample, theirs(**given).mid_block_res_sample)


def test_a_union_controlnet_that_lacks_a_part_says_so(folder: Path, tmp_path: Path):
    tensors = load_file(folder / "unions" / "6" / WEIGHTS)
    del tensors["control_add_embedding.linear_1.weight"]
    save_file(tensors, tmp_path / "broken.safetensors")
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path,)))
    with pytest.raises(CorruptFile, match="control_add_embedding"):
        part_of(catalogue, catalogue.find("broken"))


POOLS = "model:\n  target: cldm.cldm.ControlLDM\n  params:\n    global_average_pooling: {}\n"


@pytest.mark.parametrize(
    ("name", "yaml", "pools"),
    [
        ("control_v11e_sd15_shuffle.pth", None, True),
        ("control_v11e_sd15_Shuffle_fp16.safetensors", None, True),
        ("control_v11p_sd15_canny.pth", None, False),
        ("renamed.pth", POOLS.format("True"), True),
        ("my-shuffle.pth", POOLS.format("False"), False),
        ("other-shuffle.pth", "model:\n  params: {linear_start: 0.00085}\n", True),
        ("plain.pth", "model: [1, 2]\n", False),
        ("damaged-shuffle.pth", "model: [\n", True),
        ("deep-shuffle.pth", "[" * 20_000, True),
        ("code.pth", "model: !!python/object/apply:os.getcwd []\n", False),
        ("huge.pth", POOLS.format("True") + "#" * 300_000, False),
    ],
)
def test_whether_a_single_file_pools_is_told_by_its_yaml_or_else_by_its_name(
    folder: Path, tmp_path: Path, name: str, yaml: str | None, pools: bool
):
    file = tmp_path / name
    source = "net-sd1-ldm.pth" if file.suffix == ".pth" else "net-sd1-file.safetensors"
    copyfile(folder / "controlnet" / source, file)
    if yaml is not None:
        file.with_suffix(".yaml").write_text(yaml)
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path,)))
    ref = part_of(catalogue, catalogue.find(file.stem))
    net = load_component(ref, torch.float32)
    assert net.config.global_pool_conditions is pools
    given = torch.rand(1, 4, 8, 8), 7, torch.rand(1, 5, net.config.cross_attention_dim)
    middle = net(*given, controlnet_cond=torch.rand(1, 3, 64, 64)).mid_block_res_sample
    assert (middle.shape[-2:] == (1, 1)) is pools


def test_equal_controlnets_share_one_place_in_memory(catalogue: ModelCatalogue):
    folder, file = (part_of(catalogue, catalogue.find(name)) for name in ("net-sd1", "net-sd1-ldm"))
    assert folder.digest == file.digest
    other = part_of(catalogue, catalogue.find("net-sd2"))
    assert other.digest != folder.digest


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("full_adapter", "t2i_adapter/full_adapter"),
        ("light_adapter", "t2i_adapter/light_adapter"),
        ("light_adapter-file", "t2i_adapter/light_adapter"),
        ("light-ldm", "t2i_adapter/light_adapter"),
        ("full_adapter_xl", "t2i_adapter/full_adapter_xl"),
        ("full_adapter_xl-file", "t2i_adapter/full_adapter_xl"),
        ("full-ldm", "real"),
    ],
)
def test_t2i_adapters_of_every_layout(folder: Path, catalogue: ModelCatalogue, name: str, reference: str):
    info = catalogue.find(name)
    assert info.kind is ModelKind.T2I_ADAPTER
    assert info.family is (Family.SDXL if "xl" in name else Family.SD1)
    theirs = T2IAdapter.from_pretrained(folder / reference)
    ours = load_component(part_of(catalogue, info), torch.float32)
    assert_same(ours, theirs)
    picture = torch.rand(1, 3, 64, 64)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours(picture), theirs(picture), strict=True))


def assert_same(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    state, expected = ours.state_dict(), theirs.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize("projection", ["plain", "plus", "full"])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_ip_adapters_project_as_diffusers_reads_them(
    folder: Path, catalogue: ModelCatalogue, projection: str, suffix: str
):
    info = catalogue.find(f"ip-{projection}-{suffix}")
    assert info.kind is ModelKind.IP_ADAPTER
    ours = load_component(part_of(catalogue, info), torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "checkpoints" / "sd1", safety_checker=None)
    name = f"ip-{projection}-{suffix}.{suffix}"
    pipeline.load_ip_adapter(str(folder), "ipadapter", name, image_encoder_folder=None)
    (projected,) = pipeline.unet.encoder_hid_proj.image_projection_layers
    given = torch.rand(2, 24) if projection == "plain" else torch.rand(2, 17, 32)
    assert torch.allclose(ours.image_proj(given), projected(given), atol=1e-6)
    processors = [p for key, p in pipeline.unet.attn_processors.items() if "attn2" in key]
    for layer, processor in enumerate(processors):
        assert torch.equal(ours.keys_values(layer)[0].weight, processor.to_k_ip[0].weight)


@pytest.mark.parametrize("projection", ["plain", "plus"])
def test_the_image_encoder_is_told_by_its_width(catalogue: ModelCatalogue, projection: str):
    adapter = part_of(catalogue, catalogue.find(f"ip-{projection}-bin"))
    encoder = image_encoder_of(catalogue, adapter, catalogue.models(ModelKind.CLIP_VISION))
    module = load_component(encoder, torch.float32)
    pixels = torch.rand(1, 3, 32, 32)
    assert module(pixels).image_embeds.shape[-1] == tiny.IMAGE_EMBEDS_WIDTH
    with pytest.raises(InvalidRequest, match="image encoder that gives"):
        image_encoder_of(catalogue, adapter, ())


def test_an_image_encoder_file_needs_no_configuration(folder: Path, catalogue: ModelCatalogue):
    info = catalogue.find("vision-file")
    assert info.kind is ModelKind.CLIP_VISION
    module = load_component(part_of(catalogue, info), torch.float32)
    assert module.config.num_hidden_layers == 3
    assert module.config.image_size == 32


def test_what_is_known_but_not_run_is_refused_with_its_reason(tmp_path: Path):
    base = tiny.make_sd1(tmp_path / "checkpoints" / "sd1")
    adapter = load_file(tiny.make_ip_adapter(tmp_path / "ip.safetensors", base))
    faces = {"image_proj.norm.weight": torch.zeros(32), "image_proj.proj.0.weight": torch.zeros(64, 512)}
    kept = {name: tensor for name, tensor in adapter.items() if name.startswith("ip_adapter.")}
    lora = {"ip_adapter.0.to_k_lora.down.weight": torch.zeros(4, 32)}
    save_file(kept | faces | lora, tmp_path / "faceid.safetensors")
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path,)))
    faceid = catalogue.find("faceid")
    assert faceid.kind is ModelKind.IP_ADAPTER
    assert "FaceID" in faceid.problem
    with pytest.raises(InvalidRequest, match="FaceID"):
        part_of(catalogue, faceid)


def test_a_lease_lends_and_counts_them(catalogue: ModelCatalogue, tmp_path: Path):
    names = ("net-sd1", "full_adapter", "ip-plain-bin", "vision")
    refs = [part_of(catalogue, catalogue.find(name)) for name in names]
    device = choose_device(Settings(data_dir=tmp_path, device="cpu"))
    manager = ModelManager(device, ram_budget=2**30, device_budget=2**30)
    with manager.lease(refs) as lease:
        assert lease.roles == {
            "controlnet:net-sd1",
            "t2i:full_adapter",
            "ip_adapter:ip-plain-bin",
            "image_encoder:vision",
        }
        assert isinstance(lease.get("controlnet:net-sd1"), ControlNetModel)
        assert "ControlNet of net-sd1" in refs[0].title
    assert len(manager.components()) == len(refs)
    manager.unload()
    assert not manager.components()


def test_the_conditioned_unet_is_the_one_that_the_nets_were_made_of(folder: Path):
    """Guards `tiny`: nets that fit no UNet would make the tests above meaningless."""
    unet = UNet2DConditionModel.from_pretrained(folder / "checkpoints" / "sd1" / "unet")
    net = ControlNetModel.from_pretrained(folder / "controlnet" / "net-sd1")
    assert net.config["block_out_channels"] == unet.config["block_out_channels"]
