"""Components: the same modules that diffusers makes, from folders and single files, without a copy."""

from __future__ import annotations

import json
import random
import shutil
import struct
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from studio.core.errors import CorruptFile, EaselError, InvalidRequest, UnknownFile
from studio.core.models import Family, ModelInfo, ModelKind, PredictionType
from studio.core.settings import Settings
from studio.models import configs
from studio.models.catalogue import ModelCatalogue
from studio.models.components import Checkpoint, components_of
from studio.models.load import load_component
from tests import tiny
from tests.models.sparse import write_sparse
from tests.models.test_probe import FOLDERS, config_of, real_checkpoint

FORMS = ("", "-file", "-pickle")


def checkpoint_in(folder: Path, data: Path, name: str) -> Checkpoint:
    catalogue = ModelCatalogue(Settings(data_dir=data, models_dirs=(folder,)))
    return components_of(catalogue, catalogue.find(name))


def pipeline_class(name: str) -> Any:
    return StableDiffusionXLPipeline if name == "sdxl" else StableDiffusionPipeline


def test_what_was_built_for_a_look_is_loaded_once(tmp_path, models_dir):
    unet = checkpoint_in(models_dir, tmp_path, "sd1").components["unet"]
    one, two = (load_component(unet, torch.float32) for _ in range(2))
    assert one is not two
    kept = {name: value.clone() for name, value in two.state_dict().items()}
    for parameter in one.parameters():
        parameter.data = torch.zeros_like(parameter)
    assert all(torch.equal(value, kept[name]) for name, value in two.state_dict().items())


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("form", FORMS)
def test_modules_hold_what_diffusers_loads_from_the_folder(models_dir, catalogue, name, form):
    theirs = pipeline_class(name).from_pretrained(models_dir / name)
    ours = components_of(catalogue, catalogue.find(name + form))
    for ref in ours.modules:
        expected = getattr(theirs, ref.role).state_dict()
        module = load_component(ref, torch.float32)
        assert type(module) is type(getattr(theirs, ref.role))
        assert module.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in module.state_dict().items())


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_single_files_are_read_as_diffusers_reads_them(models_dir, catalogue, name):
    theirs = pipeline_class(name).from_single_file(
        models_dir / f"{name}-file.safetensors", config=str(models_dir / name), local_files_only=True
    )
    for ref in components_of(catalogue, catalogue.find(f"{name}-file")).modules:
        expected = getattr(theirs, ref.role).state_dict()
        tensors = load_component(ref, torch.float32).state_dict()
        assert all(torch.equal(tensors[key], tensor) for key, tensor in expected.items())


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_equal_parts_have_equal_digests_in_every_form(catalogue, name):
    digests = [
        {ref.role: ref.digest for ref in components_of(catalogue, catalogue.find(name + form)).modules}
        for form in FORMS
    ]
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests[0].values())) == len(digests[0])


def test_one_changed_number_changes_the_digest(tmp_path):
    tiny.make_sd1(tmp_path / "models" / "one")
    shutil.copytree(tmp_path / "models" / "one", tmp_path / "models" / "two")
    file = tmp_path / "models" / "two" / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["quant_conv.bias"][3] += 1
    save_file(tensors, file)
    one = checkpoint_in(tmp_path / "models", tmp_path, "one").components
    two = checkpoint_in(tmp_path / "models", tmp_path, "two").components
    assert one["vae"].digest != two["vae"].digest
    assert one["unet"].digest == two["unet"].digest


def test_a_different_scaling_factor_is_a_different_vae(tmp_path):
    for name, factor in {"one": 0.18215, "two": 0.13025}.items():
        tiny.make_vae(tmp_path / "models" / name, scaling_factor=factor)
    one, two = (
        checkpoint_in(tmp_path / "models", tmp_path, name).components["vae"] for name in ("one", "two")
    )
    assert one.digest != two.digest


@pytest.mark.parametrize("form", FORMS)
def test_modules_are_for_inference_and_in_the_type_asked_for(catalogue, form):
    for ref in components_of(catalogue, catalogue.find("sd1" + form)).modules:
        module = load_component(ref, torch.bfloat16)
        assert not module.training
        assert all(not p.requires_grad and p.dtype is torch.bfloat16 for p in module.parameters())
        assert not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))


def test_weights_of_the_right_type_stay_in_the_mapped_file(models_dir, catalogue):
    ref = components_of(catalogue, catalogue.find("sd1-file")).components["unet"]
    sizes = {p.untyped_storage().nbytes() for p in load_component(ref, torch.float32).parameters()}
    assert sizes == {(models_dir / "sd1-file.safetensors").stat().st_size}


def test_a_changed_module_leaves_its_file_alone(models_dir, catalogue):
    file = models_dir / "sd1-file.safetensors"
    before = file.read_bytes()
    module = load_component(
        components_of(catalogue, catalogue.find("sd1-file")).components["vae"], torch.float32
    )
    module.quant_conv.weight.zero_()
    assert file.read_bytes() == before


def test_a_text_encoder_runs_as_its_original(models_dir, catalogue):
    theirs = StableDiffusionPipeline.from_pretrained(models_dir / "sd2").text_encoder
    ours = load_component(
        components_of(catalogue, catalogue.find("sd2-file")).components["text_encoder"], torch.float32
    )
    ids = torch.tensor([[531, 5, 6, 532, 0, 0]])
    with torch.no_grad():
        assert torch.equal(ours(ids)[0], theirs(ids)[0])


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_a_single_file_has_the_noise_schedule_of_its_family(models_dir, catalogue, name):
    ours = components_of(catalogue, catalogue.find(f"{name}-file")).scheduler_config
    folder = components_of(catalogue, catalogue.find(name)).scheduler_config
    facts = (
        "beta_start",
        "beta_end",
        "beta_schedule",
        "num_train_timesteps",
        "prediction_type",
        "steps_offset",
    )
    assert {fact: ours[fact] for fact in facts} == {fact: folder[fact] for fact in facts}


def test_zero_snr_models_get_a_rescaled_schedule(tmp_path, models_dir):
    tensors = tiny.ldm_tensors(models_dir / "sdxl") | {"v_pred": torch.empty(0), "ztsnr": torch.empty(0)}
    (tmp_path / "models").mkdir()
    save_file(tensors, tmp_path / "models" / "noob.safetensors")
    config = checkpoint_in(tmp_path / "models", tmp_path, "noob").scheduler_config
    assert config["rescale_betas_zero_snr"] is True
    assert config["prediction_type"] == "v_prediction"


@pytest.mark.parametrize("told", [True, False, None])
def test_what_an_empty_negative_prompt_of_sdxl_is_stands_in_the_index(tmp_path, models_dir, told):
    folder = tmp_path / "models" / "xl"
    shutil.copytree(models_dir / "sdxl", folder)
    index = json.loads((folder / "model_index.json").read_text())
    del index["force_zeros_for_empty_prompt"]
    told_index = index if told is None else index | {"force_zeros_for_empty_prompt": told}
    (folder / "model_index.json").write_text(json.dumps(told_index))
    assert checkpoint_in(folder.parent, tmp_path, "xl").force_zeros_for_empty_prompt is (told is not False)


def test_single_files_of_sdxl_take_zeros_for_an_empty_negative_prompt_as_the_base_does(catalogue):
    assert components_of(catalogue, catalogue.find("sdxl-file")).force_zeros_for_empty_prompt


@pytest.mark.parametrize("family", FOLDERS)
def test_configurations_read_off_the_real_shapes_are_the_shipped_ones(tmp_path, family):
    write_sparse(tmp_path / "models" / "real.safetensors", real_checkpoint(family))
    checkpoint = checkpoint_in(tmp_path / "models", tmp_path, "real")
    for ref in checkpoint.modules:
        assert ref.config == config_of(family, ref.role)


def test_an_inpainting_file_shares_all_but_its_unet_with_the_base(tmp_path):
    models = tmp_path / "models"
    for name, inpaint in {"base": False, "inpaint": True}.items():
        folder = tiny.make_sd1(tmp_path / name, inpaint=inpaint)
        tensors = tiny.ldm_tensors(folder)
        if inpaint:
            base = tiny.ldm_tensors(tmp_path / "base")
            tensors |= {k: v for k, v in base.items() if not k.startswith("model.diffusion_model.")}
        models.mkdir(exist_ok=True)
        save_file(tensors, models / f"{name}.safetensors")
    base, inpaint = (checkpoint_in(models, tmp_path, name) for name in ("base", "inpaint"))
    same = {
        role for role in base.components if base.components[role].digest == inpaint.components[role].digest
    }
    assert same == {"vae", "text_encoder", "tokenizer"}
    assert load_component(inpaint.components["unet"], torch.float32).conv_in.in_channels == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("model.diffusion_model.time_embed.0.weight"), "lacks 1 of"),
        (
            lambda tensors: tensors.update({"model.diffusion_model.extra.weight": torch.ones(1)}),
            "without a place",
        ),
        (lambda tensors: tensors.pop("model.diffusion_model.out.2.weight"), "lacks or misshapes"),
        (
            lambda tensors: tensors.update({"model.diffusion_model.input_blocks.999999.0.x": torch.ones(1)}),
            "promise",
        ),
    ],
)
def test_missing_and_superfluous_tensors_are_corrupt(tmp_path, models_dir, change, message):
    tensors = tiny.ldm_tensors(models_dir / "sd1")
    change(tensors)
    (tmp_path / "models").mkdir()
    save_file(tensors, tmp_path / "models" / "broken.safetensors")
    with pytest.raises(CorruptFile, match=message):
        load_component(
            checkpoint_in(tmp_path / "models", tmp_path, "broken").components["unet"], torch.float32
        )


def test_a_wrong_shape_is_corrupt(tmp_path, models_dir):
    tensors = tiny.ldm_tensors(models_dir / "sd1")
    tensors["model.diffusion_model.time_embed.2.bias"] = torch.ones(3)
    (tmp_path / "models").mkdir()
    save_file(tensors, tmp_path / "models" / "broken.safetensors")
    ref = checkpoint_in(tmp_path / "models", tmp_path, "broken").components["unet"]
    with pytest.raises(CorruptFile, match=r"must have the shape \(128,\), but has \(3,\)"):
        load_component(ref, torch.float32)


def distorted(entries: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """A header with valid sizes whose names and shapes make no sense any more."""
    name = dice.choice([name for name in entries if name != "__metadata__"])
    entry = entries.pop(name)
    shape = entry["shape"]
    name = dice.choice([name, f"{name}.x", "model.diffusion_model.label_emb.0.0.weight", "v_pred"])
    entry["shape"] = dice.choice([shape, shape[::-1], [1, *shape], [prod(shape)], [*shape, 1, 1]])
    return entries | {name: entry}


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_a_dozen_files_of_senseless_names_and_shapes_crash_nothing(tmp_path, models_dir, name):
    intact, dice, refused = (models_dir / f"{name}-file.safetensors").read_bytes(), random.Random(name), 0
    length = struct.unpack("<Q", intact[:8])[0]
    file = tmp_path / "models" / "odd.safetensors"
    file.parent.mkdir()
    for i in range(12):
        header = json.dumps(distorted(json.loads(intact[8 : 8 + length]), dice)).encode()
        file.write_bytes(struct.pack("<Q", len(header)) + header + intact[8 + length :])
        try:
            for ref in checkpoint_in(file.parent, tmp_path / str(i), "odd").modules:
                load_component(ref, torch.float32)
        except EaselError:
            refused += 1
    assert refused > 4


def test_tensors_that_no_module_reads_do_no_harm(tmp_path, models_dir):
    tensors = tiny.ldm_tensors(models_dir / "sd1")
    tensors["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)
    tensors["model_ema.decay"] = torch.ones(())
    (tmp_path / "models").mkdir()
    save_file(tensors, tmp_path / "models" / "extras.safetensors")
    for ref in checkpoint_in(tmp_path / "models", tmp_path, "extras").modules:
        assert load_component(ref, torch.float32).dtype is torch.float32


OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def test_vaes_in_the_names_of_old_diffusers_versions_are_read(tmp_path):
    folder = tiny.make_vae(tmp_path / "models" / "vae")
    file = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    renamed = {}
    for name, tensor in tensors.items():
        for new, old in OLD_NAMES.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        renamed[name] = tensor
    save_file(renamed, file)
    vae = load_component(checkpoint_in(tmp_path / "models", tmp_path, "vae").components["vae"], torch.float32)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in vae.state_dict().items())


def test_text_encoders_are_read_with_and_without_the_prefix_of_older_versions(tmp_path):
    folder = tiny.make_sd1(tmp_path / "models" / "sd1")
    file = folder / "text_encoder" / "model.safetensors"
    tensors = {name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()}
    digests = set()
    for i, prefix in enumerate(("", "text_model.")):
        save_file({prefix + name: tensor for name, tensor in tensors.items()}, file)
        digests.add(
            checkpoint_in(tmp_path / "models", tmp_path / str(i), "sd1").components["text_encoder"].digest
        )
    assert len(digests) == 1


def test_pickled_folders_and_shards_are_read(tmp_path):
    folder = tiny.make_sd1(tmp_path / "models" / "sd1")
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(unet)
    names = sorted(tensors)
    shards = {f"diffusion_pytorch_model-0000{i}-of-00002.safetensors": names[i - 1 :: 2] for i in (1, 2)}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / "unet" / shard)
    index = {"weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    unet.unlink()
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(vae), vae.with_suffix(".bin"))
    vae.unlink()
    for ref in checkpoint_in(tmp_path / "models", tmp_path, "sd1").modules:
        assert load_component(ref, torch.float16).dtype is torch.float16


@pytest.mark.parametrize("shard", ["../../../escape.safetensors", "/etc/passwd", "gone.safetensors"])
def test_an_index_cannot_name_files_elsewhere(tmp_path, shard):
    folder = tiny.make_sd1(tmp_path / "models" / "sd1")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    save_file({"w": torch.ones(1)}, tmp_path / "escape.safetensors")
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": shard}}))
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path, models_dirs=(tmp_path / "models",)))
    assert "which is not there" in catalogue.find("sd1").problem


def test_a_class_that_easel_does_not_know_is_not_looked_for(tmp_path):
    folder = tiny.make_sd1(tmp_path / "models" / "sd1")
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"_class_name": "os.system"}))
    unet = checkpoint_in(tmp_path / "models", tmp_path, "sd1").components["unet"]
    with pytest.raises(UnknownFile, match=r"os\.system"):
        load_component(unet, torch.float32)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("role", "key", "value"),
    [
        ("text_encoder", "num_hidden_layers", 2**31),
        ("unet", "layers_per_block", [1, 10**9]),
        ("unet", "transformer_layers_per_block", [[10**9], 1]),
        ("vae", "down_block_types", ["DownEncoderBlock2D"] * 100_000),
    ],
)
def test_a_configuration_of_billions_of_layers_is_refused_at_once(tmp_path, role, key, value):
    folder = tiny.make_sd1(tmp_path / "models" / "sd1")
    file = folder / role / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    ref = checkpoint_in(tmp_path / "models", tmp_path, "sd1").components[role]
    with pytest.raises(CorruptFile, match=f"more {key} than any model has"):
        load_component(ref, torch.float32)


def test_a_standalone_vae_is_taken_apart_too(tmp_path, models_dir):
    (tmp_path / "models").mkdir()
    save_file(tiny.ldm_vae_tensors(models_dir / "sd1" / "vae"), tmp_path / "models" / "vae.safetensors")
    alone = checkpoint_in(tmp_path / "models", tmp_path, "vae").components["vae"]
    assert alone.digest == checkpoint_in(models_dir, tmp_path, "sd1").components["vae"].digest


def test_taesd_loads(tmp_path):
    tiny.make_taesd(tmp_path / "models" / "taesd")
    module = load_component(
        checkpoint_in(tmp_path / "models", tmp_path, "taesd").components["vae"], torch.float32
    )
    assert module.decode(torch.zeros(1, 4, 8, 8)).sample.shape == (1, 3, 64, 64)


def test_only_the_vae_of_sdxl_overflows_in_float16(catalogue):
    overflowing = {
        (name, ref.role)
        for name in ("sd1", "sd2", "sdxl", "sdxl-file")
        for ref in components_of(catalogue, catalogue.find(name)).modules
        if ref.overflows_in_fp16
    }
    assert overflowing == {("sdxl", "vae"), ("sdxl-file", "vae")}


def test_a_title_is_for_people(catalogue):
    assert components_of(catalogue, catalogue.find("sdxl")).components["unet"].title == "UNet of sdxl"


def test_a_lora_is_no_checkpoint(catalogue):
    lora = ModelInfo(id="style", name="style", kind=ModelKind.LORA, family=Family.SD1)
    with pytest.raises(InvalidRequest):
        components_of(catalogue, lora.model_copy(update={"id": "sd1"}))


def test_unusable_models_say_why(catalogue):
    broken = ModelInfo(id="x", name="x", kind=ModelKind.CHECKPOINT, problem="It is cut off.")
    with pytest.raises(InvalidRequest, match="cut off"):
        components_of(catalogue, broken)


def test_every_family_has_its_configurations():
    for folder in ("sd1", "sd2", "sd2-v", "sdxl"):
        names = {file.stem for file in (configs.ASSETS / folder).glob("*.json")}
        assert {"unet", "vae", "text_encoder", "scheduler"} <= names
    assert configs.family_folder(Family.SD2, PredictionType.V_PREDICTION) == "sd2-v"
