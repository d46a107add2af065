"""The benchmark runs both sides on the same weights and reports a ratio for every figure."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from studio.adapters.lora import lora_targets
from studio.app.bench.control import bench_control
from studio.app.bench.generate import bench_generate
from studio.app.bench.load import LoadCase, bench_load
from studio.app.bench.sides import Case
from studio.app.bench.stack import StackCase, bench_stack
from studio.app.bench.weights import write_random_checkpoint, write_single_file
from studio.core.models import Family
from studio.core.settings import Precision
from studio.models.cache import FileCache
from studio.models.components import ComponentRef
from studio.models.fingerprint import identity
from tests import tiny
from tests.adapters import loras


def test_both_sides_make_pictures_and_every_figure_has_a_ratio(models: Path):
    case = Case("tiny", models, ("tiny", "other"), size=64, steps=2, precision=Precision.FP32)
    rows = {row.figure: row for row in bench_generate(case, repeats=(1, 2))}
    assert {"a picture, of 1", "a picture, of 2", "first preview", "peak main memory"} <= rows.keys()
    assert any(name.startswith("switch") for name in rows)
    assert all(row.ours > 0 and row.diffusers > 0 and row.ratio > 0 for row in rows.values())


def test_controlnets_are_timed_in_every_number_and_in_half_of_their_range(tmp_path: Path):
    base = tiny.make_sd1(tmp_path / "tiny")
    nets = [tiny.make_controlnet(tmp_path / f"net{seed}", base, seed=seed).name for seed in (1, 2)]
    case = Case("tiny", tmp_path, ("tiny",), size=64, steps=2, precision=Precision.FP32)
    rows = list(bench_control(case, nets, repeats=1))
    assert [row.figure for row in rows[:3]] == [f"loop with {count} ControlNets" for count in range(3)]
    assert all(row.ours > 0 and row.diffusers > 0 for row in rows[:3])
    assert rows[3].figure == "2 for half of the steps, of their full cost"


def test_the_bench_of_the_stack_measures_both_sides_with_loras_on(models: Path, tmp_path: Path):
    shutil.copytree(models / "tiny", tmp_path / "tiny")
    parts = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
    modules = {role: part.from_pretrained(tmp_path / "tiny" / role) for role, part in parts.items()}
    targets = loras.transformer_targets(lora_targets(modules))
    names = ("a", "b", "c")
    for seed, name in enumerate(names):
        loras.write(tmp_path / f"{name}.safetensors", loras.kohya(loras.random_pairs(targets, seed)))
    case = StackCase(tmp_path, "tiny", names, size=64, precision=Precision.FP32, switches=2, steps=1)
    rows = {row.figure: row for row in bench_stack(case)}
    assert {"switch to another LoRA", "3 LoRAs over none"} <= rows.keys()
    for way in ("to another LoRA", "back"):
        without = rows.pop(f"switch {way}, less a later step")
        assert without.ours < rows[f"switch {way}, and one step"].ours
    assert all(row.ours > 0 and row.diffusers > 0 for row in rows.values())


def test_loading_is_timed_at_the_first_look_and_later(models: Path, tmp_path: Path, monkeypatch):
    looked_at = []

    def counted(ref: ComponentRef, cache: FileCache) -> str:
        looked_at.append(ref.role)
        return identity(ref, cache)

    monkeypatch.setattr("studio.app.bench.load._new_process", lambda: ThreadPoolExecutor(1))
    monkeypatch.setattr("studio.models.components.identity", counted)
    file = write_single_file(models / "tiny", tmp_path / "file" / "single.safetensors")
    case = LoadCase(file, models / "tiny", Precision.FP32, rounds=1)
    rows = {row.figure: row for row in bench_load(case)}
    first, again = rows["load, first look at a file"], rows["load, a file seen before"]
    assert first.diffusers == again.diffusers > 0
    assert first.ours > 0 < again.ours
    assert sorted(looked_at) == ["text_encoder", "unet", "vae"], "the second load looks at nothing anew"
    assert rows["peak main memory"].ours > file.stat().st_size / 2**20


def test_random_checkpoints_of_real_shapes_are_built_from_the_shipped_configurations(
    tmp_path: Path, models: Path, monkeypatch
):
    """Real classes and layout, at a size that a test can take: one thin block instead of four wide ones."""
    from studio.app.bench import weights

    whole = weights._config

    def thin(family: Family, role: str) -> dict:
        config = whole(family, role)
        if role in ("unet", "vae"):
            config |= {"block_out_channels": [32] * len(config["block_out_channels"])}
        if role.startswith("text_encoder"):
            config |= {"num_hidden_layers": 1}
        return config

    monkeypatch.setattr(weights, "_config", thin)
    folder = write_random_checkpoint(
        Family.SD1, tmp_path / "sd1", models / "tiny" / "tokenizer", torch.float16
    )
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None)
    picture = pipeline("a ball", num_inference_steps=1, width=64, height=64, output_type="pt").images
    assert torch.isfinite(picture).all()
