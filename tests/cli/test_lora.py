"""`easel lora` as a person meets it: real files in, real files out, and a sentence where it cannot be."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from studio.adapters.lora import family_targets, read_lora
from studio.adapters.lora_tools import open_checkpoint
from studio.cli import app
from studio.core.errors import DiskFull
from studio.core.models import Family
from studio.models.safe import open_weights
from tests import tiny
from tests.adapters import loras
from tests.adapters.networks import write_embedding

ATTENTION = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints that the tests only read."""
    folder = tmp_path_factory.mktemp("models")
    tiny.make_sd1(folder / "tiny")
    tiny.to_single_file(folder / "tiny", folder / "tiny.safetensors")
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Two LoRAs of SD 1.5's own shapes, and one of SDXL's."""
    for seed, name in enumerate(("anna", "ink")):
        write(tmp_path / f"{name}.safetensors", {ATTENTION: (320, 768)}, seed)
    sdxl = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    write(tmp_path / "xl.safetensors", {sdxl: (640, 2048)}, 3)
    return tmp_path


def write(file: Path, targets: dict[str, tuple[int, ...]], seed: int, rank: int = 4) -> Path:
    tensors = loras.kohya(loras.random_pairs(targets, seed, rank=rank))
    return loras.write(file, tensors, {"modelspec.trigger_phrase": file.stem})


def easel(*words: object) -> Result:
    return CliRunner().invoke(app, ["lora", *map(str, words)], prog_name="easel")


def refusal(*words: object) -> str:
    answer = easel(*words)
    assert answer.exit_code != 0
    return str(answer.exception)


def made(*words: object) -> Path:
    answer = easel(*words)
    assert answer.exit_code == 0, answer.exception or answer.output
    return Path(answer.stdout.splitlines()[-1])


def delta(file: Path) -> torch.Tensor:
    weights = open_weights([file])
    network = read_lora(weights, family_targets(Family.SD1), file.name, weights.header.metadata)
    (layer,) = network.layers.values()
    return layer.delta(torch.zeros(320, 768), 1.0)


def near(have: torch.Tensor, want: torch.Tensor) -> bool:
    return bool((have - want).norm() <= 2e-3 * want.norm())


@pytest.mark.parametrize("command", ["info", "merge", "resize", "extract"])
def test_every_command_explains_itself(command: str):
    answer = easel(command, "--help")
    assert answer.exit_code == 0
    assert f"Usage: easel lora {command}" in answer.output
    assert "Example" in answer.output


def test_info_tells_what_a_file_changes(here: Path):
    answer = easel("info", here / "anna.safetensors")
    facts = dict(line.split("  ", 1) for line in answer.stdout.splitlines())
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["layers"] == "1 of the UNet"
    assert facts["rank"] == "4"
    assert facts["alpha"] == "2"
    assert facts["family"] == "SD 1.x"
    assert facts["trigger words"] == "anna"


def test_info_tells_why_a_file_fits_nothing(here: Path):
    write(here / "odd.safetensors", {ATTENTION: (32, 768)}, 1)
    answer = easel("info", here / "odd.safetensors")
    assert "made for another model" in answer.stdout


def test_merged_files_are_the_weighted_sum(here: Path):
    anna, ink = here / "anna.safetensors", here / "ink.safetensors"
    new = made("merge", f"{anna}@0.8", f"{ink}@-0.5")
    assert new == here / "anna-ink-merged.safetensors"
    assert near(delta(new), 0.8 * delta(anna) - 0.5 * delta(ink))
    assert open_weights([new]).header.metadata["ss_training_comment"] == "merged: anna (0.8), ink (-0.5)"


def test_words_that_stay_in_a_file_are_told(here: Path):
    weights = open_weights([here / "anna.safetensors"])
    tensors = {name: weights[name] for name in weights} | {"bundle_emb.zork.emb_params": torch.ones(2, 768)}
    file = loras.write(here / "bundle.safetensors", tensors)
    info = [line.split() for line in easel("info", file).stdout.splitlines()]
    assert ["bundled", "words", "zork"] in info
    for command in (("merge", file, here / "ink.safetensors"), ("resize", file, "--rank", 2)):
        answer = easel(*command)
        assert "Without the words that bundle.safetensors defines: zork" in answer.stderr
        assert not any("zork" in name for name in open_weights([Path(answer.stdout.strip())]))


def test_nothing_is_ever_overwritten(here: Path):
    anna = here / "anna.safetensors"
    before = anna.read_bytes()
    first, second, third = (made("resize", anna, "--rank", 2, "--out", here / "small") for _ in range(3))
    assert [file.name for file in (first, second, third)] == [
        "small.safetensors",
        "small-2.safetensors",
        "small-3.safetensors",
    ]
    kept = first.read_bytes()
    assert made("resize", anna, "--rank", 1, "--out", first, "--force") == first
    assert first.read_bytes() != kept
    assert made("resize", anna, "--rank", 2, "--out", anna) == here / "anna-2.safetensors"
    assert "it is a source" in refusal("resize", anna, "--rank", 2, "--out", anna, "--force")
    assert anna.read_bytes() == before


def test_resizing_by_energy_says_what_is_left(here: Path):
    answer = easel("resize", here / "anna.safetensors", "--energy", 0.5)
    assert "of the change" in answer.stderr
    assert Path(answer.stdout.strip()).name == "anna-energy0.5.safetensors"


def test_peft_names_when_asked_for(here: Path):
    new = made("resize", here / "anna.safetensors", "--rank", 4, "--format", "peft", "--precision", "fp32")
    assert {name.rsplit(".", 2)[1] for name in open_weights([new])} == {"lora_A", "lora_B"}
    assert near(delta(new), delta(here / "anna.safetensors"))


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny.safetensors"])
def test_into_a_checkpoint_and_out_of_it_again(models: Path, tmp_path: Path, checkpoint: str):
    base = open_checkpoint(models / checkpoint)
    targets = {ATTENTION: base.targets[ATTENTION]}
    lora = write(tmp_path / "anna.safetensors", targets, 1)
    tuned = made("merge", lora, "--into", models / checkpoint, "--out", tmp_path / f"tuned-{checkpoint}")
    assert tuned.name == f"tuned-{checkpoint}"
    assert not list(tmp_path.glob(".*"))
    found = made("extract", models / checkpoint, tuned, "--rank", 4, "--out", tmp_path / "found")
    weights = open_weights([found])
    (name,) = (network := read_lora(weights, base.targets, "found")).layers
    assert name == ATTENTION
    up, down = loras.random_pairs(targets, 1)[ATTENTION]
    assert near(network.layers[name].delta(torch.zeros(targets[name]), 1.0), up @ down * 0.5)


def test_a_checkpoint_is_found_by_its_id_too(models: Path, tmp_path: Path):
    base = open_checkpoint(models / "tiny")
    lora = write(tmp_path / "anna.safetensors", {ATTENTION: base.targets[ATTENTION]}, 1)
    folders = ["--models-dir", models, "--data-dir", tmp_path / "data"]
    made("resize", lora, "--rank", 2, "--base", "tiny", *folders)
    assert "no checkpoint named 'nothing'" in refusal(
        "resize", lora, "--rank", 2, "--base", "nothing", *folders
    )


def test_what_cannot_be_is_a_sentence(here: Path, models: Path):
    anna, xl = here / "anna.safetensors", here / "xl.safetensors"
    odd = write(here / "odd.safetensors", {ATTENTION: (32, 768)}, 1)
    broken = write(here / "broken.safetensors", {ATTENTION: (320, 768)}, 1)
    tensors = {name: tensor.clone() for name, tensor in open_weights([broken]).items()}
    next(iter(tensors.values())).fill_(torch.nan)
    loras.write(broken, tensors)
    write_embedding(here / "word.pt", torch.ones(2, 768))
    for words, sentence in (
        (["merge", anna, xl], "different families"),
        (["merge", anna, odd], "--base"),
        (["merge", anna, broken], "NaN"),
        (["merge", anna, here / "gone.safetensors"], "There is no file"),
        (["merge", anna, models / "tiny.safetensors"], "is a checkpoint, not a LoRA"),
        (["merge", anna, "--into", models / "tiny"], "another model"),
        (["merge", anna, "--into", models / "tiny", "--rank", 4], "--rank and --energy are for LoRAs"),
        (["merge", f"{anna}@0"], "change nothing"),
        (["merge", f"{anna}@0.5", f"{anna}@-0.5"], "change nothing"),
        (["merge", f"{anna}@0.3", f"{anna}@0.6", f"{anna}@-0.9"], "change nothing"),
        (["merge", f"{anna}@0.5", f"{anna}@-0.5", "--rank", 4], "change nothing"),
        (["info", here / "word.pt"], "word.pt is an embedding, not a LoRA"),
        (["resize", anna], "--rank 16, or --energy 0.95"),
        (["resize", anna, "--rank", 64], "at most rank 4"),
        (["resize", anna, "--rank", 2, "--out", here / "no folder" / "small"], "is not there"),
        (["resize", anna, "--rank", 2, "--out", here / "small.ckpt"], "ends in .safetensors"),
        (["extract", anna, models / "tiny", "--rank", 4], "not a checkpoint"),
        (["extract", models / "tiny", models / "tiny.safetensors", "--rank", 4], "in no layer"),
    ):
        assert sentence in refusal(*words), words
    assert len(list(here.iterdir())) == 6  # nothing was written


def test_a_full_disk_leaves_nothing_behind(here: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("studio.models.safetensors_write._header", full)
    files = set(here.iterdir())
    answer = easel("resize", here / "anna.safetensors", "--rank", 2)
    assert isinstance(answer.exception, DiskFull)
    assert set(here.iterdir()) == files
