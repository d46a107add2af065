"""LoRAs merged, resized and extracted: the same differences, in files that other programs read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from studio.adapters.lora import LoraNetwork, family_targets, read_lora
from studio.adapters.lora_tools import (
    Base,
    Factored,
    Names,
    OpenCheckpoint,
    Truncation,
    Weighted,
    bake,
    extract,
    family_base,
    lora_metadata,
    merge,
    open_checkpoint,
    resize,
    write_lora,
)
from studio.adapters.lora_tools.factors import cut_matrix, cut_product
from studio.adapters.lora_tools.merge import delta
from studio.core.errors import EaselError, InvalidRequest, NumericalError
from studio.core.models import Family, ModelKind
from studio.models.probe import probe
from studio.models.safe import open_weights
from tests import tiny
from tests.adapters import loras

MAKERS = {"sd1": tiny.make_sd1, "sd2": tiny.make_sd2, "sdxl": tiny.make_sdxl}
FP32 = torch.float32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, make in MAKERS.items():
        make(folder / name)
        tiny.to_single_file(folder / name, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module", params=MAKERS)
def base(request: pytest.FixtureRequest, folder: Path) -> OpenCheckpoint:
    return open_checkpoint(folder / request.param)


@pytest.fixture(scope="module")
def sd1(folder: Path) -> OpenCheckpoint:
    return open_checkpoint(folder / "sd1")


def a_lora(base: Base, seed: int, rank: int = 4, alpha: float = 2.0, weight: float = 1.0) -> Weighted:
    pairs = loras.random_pairs(loras.transformer_targets(base.targets), seed, rank=rank, size=0.1)
    tensors = loras.kohya(pairs, alpha=alpha, family_two=base.family is Family.SDXL)
    return Weighted(f"lora {seed}", read_lora(tensors, base.targets, "mine"), weight)


def deltas_of(lora: Factored | LoraNetwork, base: Base, weight: float = 1.0) -> dict[str, Tensor]:
    if isinstance(lora, LoraNetwork):
        return {name: delta(layer, weight, name, base) for name, layer in lora.layers.items()}
    return {name: (up @ down).reshape(base.targets[name]) for name, (up, down) in lora.layers.items()}


def added(*parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part[name] for part in parts if name in part) for name in names}


def assert_near(have: Mapping[str, Tensor], want: Mapping[str, Tensor], rounding: float = 1e-5) -> None:
    assert have.keys() == want.keys()
    for name in want:
        assert (have[name] - want[name]).norm() <= rounding * want[name].norm(), name


# -- several into one --------------------------------------------------------------------------------


def test_merged_loras_are_the_weighted_sum_of_their_differences(base: OpenCheckpoint):
    a, b = a_lora(base, 1, weight=0.8), a_lora(base, 2, rank=3, alpha=1.0, weight=-0.5)
    want = added(deltas_of(a.network, base, 0.8), deltas_of(b.network, base, -0.5))
    merged = merge([a, b], base)
    assert set(merged.ranks) == {7}
    assert_near(deltas_of(merged, base), want)


def test_a_lora_of_the_unet_and_one_of_the_text_encoder_share_no_layer_and_merge(sd1: OpenCheckpoint):
    whole = a_lora(sd1, 1).network
    halves = [
        LoraNetwork({name: layer for name, layer in whole.layers.items() if name.startswith(role)})
        for role in ("unet.", "text_encoder.")
    ]
    merged = merge([Weighted(str(i), half) for i, half in enumerate(halves)], sd1)
    assert_near(deltas_of(merged, sd1), deltas_of(whole, sd1))


def test_ranks_never_exceed_the_layer(sd1: OpenCheckpoint):
    many = [a_lora(sd1, seed, rank=12) for seed in range(4)]
    merged = merge(many, sd1)
    assert all(down.shape[0] <= min(up.shape[0], down.shape[1]) for up, down in merged.layers.values())
    assert_near(deltas_of(merged, sd1), added(*(deltas_of(lora.network, sd1) for lora in many)))


def other_kinds(base: OpenCheckpoint) -> dict[str, Tensor]:
    """A LoHa, a LoKr, a DoRA, and a convolution with a core."""
    names = iter(loras.transformer_targets(base.targets).items())
    draw = torch.Generator().manual_seed(5)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw) * 0.2

    def next_square() -> tuple[str, int, int]:
        name, (rows, columns, *_) = next(item for item in names if len(item[1]) == 2)
        return loras.kohya_name(name), rows, columns

    stem, rows, columns = next_square()
    loha = {f"{stem}.hada_{h}_a": numbers(rows, 2) for h in ("w1", "w2")}
    loha |= {f"{stem}.hada_{h}_b": numbers(2, columns) for h in ("w1", "w2")}
    stem, rows, columns = next_square()
    lokr = {f"{stem}.lokr_w1": numbers(2, 2), f"{stem}.lokr_w2": numbers(rows // 2, columns // 2)}
    stem, rows, columns = next_square()
    dora = {f"{stem}.lora_up.weight": numbers(rows, 2), f"{stem}.lora_down.weight": numbers(2, columns)}
    dora |= {f"{stem}.dora_scale": numbers(rows, 1).abs() + 0.5}
    conv = "unet.down_blocks.0.resnets.0.conv1"
    rows, columns, *kernel = base.targets[conv]
    stem = loras.kohya_name(conv)
    core = {
        f"{stem}.lora_up.weight": numbers(rows, 2, 1, 1),
        f"{stem}.lora_down.weight": numbers(2, columns, 1, 1),
        f"{stem}.lora_mid.weight": numbers(2, 2, *kernel),
    }
    return loha | lokr | dora | core


def test_every_kind_becomes_a_plain_lora_of_the_same_difference(sd1: OpenCheckpoint, tmp_path: Path):
    odd = Weighted("odd", read_lora(other_kinds(sd1), sd1.targets, "odd"), 0.7)
    assert odd.network.kinds == {"LoHa", "LoKr", "DoRA", "LoRA"}
    want = deltas_of(odd.network, sd1, 0.7)
    assert_near(deltas_of(merge([odd], sd1), sd1), want, 1e-4)
    assert_near(deltas_of(written(tmp_path / "odd.safetensors", merge([odd], sd1), sd1), sd1), want, 1e-4)


def test_a_dora_needs_the_weights_that_it_was_trained_on(sd1: OpenCheckpoint):
    bare = Base(Family.SD1, sd1.targets)
    odd = Weighted("odd", read_lora(other_kinds(sd1), sd1.targets, "odd"))
    with pytest.raises(InvalidRequest, match="--base"):
        merge([odd], bare)


@pytest.mark.parametrize("to", [None, Truncation(rank=2)], ids=["exact", "cut"])
def test_what_cancels_is_no_change_and_is_not_written(sd1: OpenCheckpoint, to: Truncation | None):
    weights = (0.3, 0.6, -0.9)
    plain = a_lora(sd1, 1).network
    odd = read_lora(other_kinds(sd1), sd1.targets, "odd")
    for network in (plain, odd):
        with pytest.raises(InvalidRequest, match="change nothing"):
            merge([Weighted("mine", network, weight) for weight in weights], sd1, to)
    half = LoraNetwork(dict(list(plain.layers.items())[::2]))
    merged = merge([Weighted("whole", plain), Weighted("half", half, -1.0)], sd1, to)
    assert merged.layers.keys() == plain.layers.keys() - half.layers.keys()


def test_weights_of_zero_are_no_merge(sd1: OpenCheckpoint):
    with pytest.raises(InvalidRequest, match="change nothing"):
        merge([a_lora(sd1, 1, weight=0.0)], sd1)


# -- another rank ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 24), (24, 40)])
def test_the_best_approximation_leaves_what_eckart_and_young_say(shape: tuple[int, int]):
    up, down = torch.randn(shape[0], 10), torch.randn(10, shape[1])
    matrix = up @ down
    values = torch.linalg.svdvals(matrix.double())
    for cut in (cut_product((up, down), Truncation(rank=4)), cut_matrix(matrix, Truncation(rank=4))):
        near_up, near_down = cut.factors
        assert near_down.shape[0] == 4
        error = torch.linalg.matrix_norm((matrix - near_up @ near_down).double())
        assert float(error) == pytest.approx(float(values[4:].norm()), rel=1e-4)
        share = values[:4].square().sum() / values.square().sum()
        assert cut.kept / cut.whole == pytest.approx(float(share), rel=1e-6)


def test_a_share_of_the_energy_takes_the_smallest_rank_that_keeps_it():
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5]))  # squares: 9, 4, 1, 0.25 of 14.25
    assert [
        cut_matrix(matrix, Truncation(energy=share)).factors[1].shape[0] for share in (0.6, 0.7, 0.95, 1.0)
    ] == [1, 2, 3, 4]
    assert cut_matrix(matrix, Truncation(rank=2, energy=0.95)).factors[1].shape[0] == 2


def test_resizing_to_the_own_rank_changes_nothing(base: OpenCheckpoint):
    lora = a_lora(base, 1, rank=6)
    assert_near(deltas_of(resize(lora, base, Truncation(rank=6)), base), deltas_of(lora.network, base))


def test_resizing_to_a_smaller_rank_is_the_best_there_is(sd1: OpenCheckpoint):
    lora = a_lora(sd1, 1, rank=6)
    small = resize(lora, sd1, Truncation(rank=2))
    assert set(small.ranks) == {2}
    lost = whole = 0.0
    near = deltas_of(small, sd1)
    for name, change in deltas_of(lora.network, sd1).items():
        values = torch.linalg.svdvals(change.flatten(1).double()).square()
        error = (change - near[name]).double().square().sum()
        assert float(error) == pytest.approx(float(values[2:].sum()), rel=1e-3)
        lost, whole = lost + float(error), whole + float(values.sum())
    assert small.kept == pytest.approx(1 - lost / whole, rel=1e-4)


def test_a_larger_rank_is_refused(sd1: OpenCheckpoint):
    with pytest.raises(InvalidRequest, match="at most rank 6, so rank 64"):
        resize(a_lora(sd1, 1, rank=6), sd1, Truncation(rank=64))


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"energy": 0.0}, {"energy": 1.5}])
def test_limits_that_mean_nothing_are_refused(wrong: dict[str, float]):
    with pytest.raises(InvalidRequest, match="must"):
        Truncation(**wrong)


# -- files -------------------------------------------------------------------------------------------


def written(file: Path, lora: Factored, base: Base, names: Names = Names.KOHYA, dtype=FP32) -> LoraNetwork:
    write_lora(file, lora, base, lora_metadata(lora, base, file.stem, "a test"), names=names, dtype=dtype)
    weights = open_weights([file])
    return read_lora(weights, base.targets, file.name, weights.header.metadata)


@pytest.mark.parametrize("names", Names)
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
def test_a_file_holds_what_was_made(base, tmp_path: Path, names: Names, dtype: torch.dtype, rounding: float):
    merged = merge([a_lora(base, 1), a_lora(base, 2)], base)
    again = written(tmp_path / "new.safetensors", merged, base, names, dtype)
    assert again.strangers == ()
    assert_near(deltas_of(again, base), deltas_of(merged, base), rounding)


@pytest.mark.parametrize("family", [Family.SD1, Family.SD2, Family.SDXL])
def test_every_layer_of_a_family_is_found_by_its_kohya_name(family: Family, tmp_path: Path):
    base = family_base(family)
    layers = {
        name: (torch.ones(shape[0], 1), torch.ones(1, torch.Size(shape[1:]).numel()))
        for name, shape in family_targets(family).items()
    }
    again = written(tmp_path / "all.safetensors", Factored(layers), base, dtype=torch.float16)
    assert again.layers.keys() == layers.keys()


def test_names_are_those_that_kohyas_scripts_write(tmp_path: Path):
    def stems(family: Family, *targets: str) -> set[str]:
        base = family_base(family)
        layers = {
            target: (torch.ones(base.targets[target][0], 1), torch.ones(1, base.targets[target][1]))
            for target in targets
        }
        file = tmp_path / f"{family}.safetensors"
        written(file, Factored(layers), base)
        return {name.split(".")[0] for name in load_file(file)}

    query = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    text = "encoder.layers.3.self_attn.q_proj"
    assert stems(Family.SD1, query, f"text_encoder.{text}") == {
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_te_text_model_encoder_layers_3_self_attn_q_proj",
    }
    assert stems(Family.SDXL, query, f"text_encoder.{text}", f"text_encoder_2.text_model.{text}") == {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "lora_te1_text_model_encoder_layers_3_self_attn_q_proj",
        "lora_te2_text_model_encoder_layers_3_self_attn_q_proj",
    }


@pytest.mark.parametrize("names", Names)
@pytest.mark.parametrize("energy", [None, 0.7], ids=["one rank", "many ranks"])
def test_diffusers_loads_what_is_written(base: OpenCheckpoint, tmp_path: Path, names: Names, energy: float):
    """SDXL's own names say which block is meant only to those who know how many layers a block has."""
    merged = merge([a_lora(base, 1, rank=5), a_lora(base, 2, rank=3)], base, Truncation(energy=energy))
    assert (len(set(merged.ranks)) > 1) == (energy is not None)
    written(tmp_path / "new.safetensors", merged, base, names)
    pipeline_class = StableDiffusionXLPipeline if base.family is Family.SDXL else StableDiffusionPipeline
    pipeline = pipeline_class.from_pretrained(base.path)
    pipeline.load_lora_weights(tmp_path, weight_name="new.safetensors")
    pipeline.fuse_lora()
    want = added({name: base.weight(name) for name in merged.layers}, deltas_of(merged, base))
    have = {
        name: dict(getattr(pipeline, name.split(".")[0]).named_modules())[name.split(".", 1)[1]].weight
        for name in merged.layers
    }
    assert_near(have, want, 1e-5)


def test_alpha_is_exact_in_every_precision(tmp_path: Path):
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    lora = Factored({name: (torch.ones(640, 257), torch.ones(257, 640))})
    again = written(tmp_path / "new.safetensors", lora, family_base(Family.SD1), dtype=torch.bfloat16)
    assert again.layers[name].alpha == 257


def test_metadata_tells_what_the_file_is(sd1: OpenCheckpoint, tmp_path: Path):
    merged = merge([a_lora(sd1, 1), a_lora(sd1, 2)], sd1)
    sources = (
        {"modelspec.trigger_phrase": "toyart", "ss_tag_frequency": '{"a": {"cat": 2}}', "ss_lr": "1"},
        {"modelspec.trigger_phrase": "snowy", "ss_tag_frequency": '{"a": {"dog": 1}}', "ss_lr": "2"},
    )
    write_lora(tmp_path / "new.safetensors", merged, sd1, lora_metadata(merged, sd1, "new", "both", sources))
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_dim"] == "8"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["modelspec.trigger_phrase"] == "toyart, snowy"
    assert metadata["ss_tag_frequency"] == '{"a": {"cat": 2}, "a (2)": {"dog": 1}}'
    assert "ss_lr" not in metadata
    probed = probe(tmp_path / "new.safetensors")
    assert (probed.kind, probed.family) == (ModelKind.LORA, Family.SD1)


def test_hashes_and_alphas_of_the_source_are_not_copied(sd1: OpenCheckpoint):
    small = resize(a_lora(sd1, 1), sd1, Truncation(rank=2))
    stale = {"sshs_model_hash": "0" * 64, "lora_adapter_metadata": "{}", "ss_network_alpha": "9"}
    metadata = lora_metadata(small, sd1, "small", "", [stale | {"ss_lr": "1"}])
    assert metadata["ss_lr"] == "1"
    assert metadata["ss_network_alpha"] == "2.0"
    assert not {"sshs_model_hash", "lora_adapter_metadata"} & metadata.keys()


def test_the_hash_is_that_of_the_content(sd1: OpenCheckpoint, tmp_path: Path):
    from studio.models.describe import hash_of_network

    written(tmp_path / "new.safetensors", merge([a_lora(sd1, 1)], sd1), sd1)
    told = open_weights([tmp_path / "new.safetensors"]).header.metadata["sshs_model_hash"]
    assert told == hash_of_network(tmp_path / "new.safetensors")


def test_numbers_too_large_for_the_precision_are_refused(sd1: OpenCheckpoint, tmp_path: Path):
    huge = merge([a_lora(sd1, 1, weight=1e12)], sd1)
    with pytest.raises(NumericalError, match="--precision fp32"):
        written(tmp_path / "huge.safetensors", huge, sd1, dtype=torch.float16)
    written(tmp_path / "huge.safetensors", huge, sd1)


# -- into and out of checkpoints ---------------------------------------------------------------------


def changed_weights(base: OpenCheckpoint, *applied: Weighted) -> dict[str, Tensor]:
    changes = added(*(deltas_of(lora.network, base, lora.weight) for lora in applied))
    return {name: base.weight(name).float() + changes.get(name, 0) for name in base.targets}


@pytest.mark.parametrize("name", [*MAKERS, *(f"{name}.safetensors" for name in MAKERS)])
def test_a_checkpoint_holds_the_loras_and_is_otherwise_the_same(folder: Path, tmp_path: Path, name: str):
    base = open_checkpoint(folder / name)
    applied = [a_lora(base, 1, weight=0.8), a_lora(base, 2, weight=-0.3)]
    bake(base, applied, tmp_path / name)
    baked = open_checkpoint(tmp_path / name)
    assert baked.prediction_type is base.prediction_type
    want = changed_weights(base, *applied)
    assert_near({target: baked.weight(target) for target in want}, want, 1e-6)
    assert untouched(base) == untouched(baked)


def untouched(checkpoint: OpenCheckpoint) -> dict[str, bytes]:
    """All tensors that no LoRA here reaches, and all other files."""
    reached = [part.source(t).name for part in checkpoint.parts.values() for t in part.targets]
    tensors = {
        f"{role} {name}": part.weights[name].numpy().tobytes()
        for role, part in checkpoint.parts.items()
        for name in part.weights
        if name not in reached
    }
    if not checkpoint.path.is_dir():
        return tensors
    files = {file for file in checkpoint.path.rglob("*") if file.is_file()} - set(checkpoint.files)
    return tensors | {str(file.relative_to(checkpoint.path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("name", MAKERS)
def test_the_difference_of_two_checkpoints_is_the_lora_between_them(folder: Path, tmp_path: Path, name: str):
    base = open_checkpoint(folder / name)
    lora = a_lora(base, 3, rank=4)
    bake(base, [lora], tmp_path / "tuned")
    single_file, tuned = open_checkpoint(folder / f"{name}.safetensors"), open_checkpoint(tmp_path / "tuned")
    found = extract(single_file, tuned, Truncation(rank=4))
    assert_near(deltas_of(found, base), deltas_of(lora.network, base), 1e-4)
    assert found.kept > 0.9999


def test_convolutions_are_extracted_when_asked_for(sd1: OpenCheckpoint, tmp_path: Path):
    names = ("unet.down_blocks.0.resnets.0.conv1", "unet.mid_block.attentions.0.proj_in")
    tensors = loras.kohya(loras.random_pairs({name: sd1.targets[name] for name in names}, 1))
    lora = Weighted("conv", read_lora(tensors, sd1.targets, "conv"))
    bake(sd1, [lora], tmp_path / "tuned")
    tuned = open_checkpoint(tmp_path / "tuned")
    assert len(extract(sd1, tuned, Truncation(rank=4)).layers) == 1
    both = extract(sd1, tuned, Truncation(rank=4), convolutions=True)
    assert_near(deltas_of(both, sd1), deltas_of(lora.network, sd1), 1e-4)


def test_pickles_become_safetensors(sd1: OpenCheckpoint, folder: Path, tmp_path: Path):
    tiny.to_single_file(folder / "sd1", tmp_path / "old.ckpt")
    bake(open_checkpoint(tmp_path / "old.ckpt"), [a_lora(sd1, 1)], tmp_path / "new.safetensors")
    baked = open_checkpoint(tmp_path / "new.safetensors")
    want = changed_weights(sd1, a_lora(sd1, 1))
    assert_near({target: baked.weight(target) for target in want}, want, 1e-6)


@pytest.mark.parametrize(
    ("base", "tuned", "rank", "words"),
    [
        ("sd1", "sd2", 4, "SD 1.x, but sd2 is SD 2.x"),
        ("sd1", "sd1.safetensors", 4, "differs from sd1 in no layer"),
        ("sd1", "sd1", 5000, "rank 5000 is larger than the largest layer"),
    ],
)
def test_checkpoints_without_a_usable_difference_are_refused(
    folder: Path, base: str, tuned: str, rank: int, words: str
):
    with pytest.raises(InvalidRequest, match=words):
        extract(open_checkpoint(folder / base), open_checkpoint(folder / tuned), Truncation(rank=rank))


def test_only_checkpoints_are_opened_as_such(folder: Path, tmp_path: Path):
    with pytest.raises(EaselError, match=r"not a checkpoint|cannot be used"):
        open_checkpoint(folder / "sd1" / "vae")


def test_progress_goes_through_every_tensor(sd1: OpenCheckpoint, tmp_path: Path):
    seen: list[str] = []

    def each(names: Iterable[str]) -> Iterable[str]:
        for name in names:
            seen.append(name)
            yield name

    bake(sd1, [a_lora(sd1, 1)], tmp_path / "new", each)
    assert len(seen) == sum(len(open_weights([file])) for file in sd1.files)
