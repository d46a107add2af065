"""Hypernetworks: every way in which AUTOMATIC1111 builds them, and hooks that leave no trace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from studio.adapters.hypernetwork import Hypernetwork, hypernetworks_on
from studio.core.errors import CorruptFile, EaselError, UnsafeFile
from studio.core.models import Family, ModelKind
from studio.diffusion.attention import cached_cross_attention
from studio.models.hypernetwork_file import hypernetwork_layers
from studio.models.probe import probe
from studio.models.safe import open_weights
from tests import tiny
from tests.adapters.networks import ReferenceAttention, make_nets, write_hypernetwork

WIDTHS = (32, 64)
"""Of the tiny SD 1.x model: text and the first level; the second level and the middle."""

PLAIN = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU),
    *(nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU, nn.Sigmoid),
    *(nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink),
)
ACTIVATIONS = {cls.__name__.lower(): cls for cls in PLAIN} | {"swish": nn.Hardswish}


def read(file: Path) -> Hypernetwork:
    weights = open_weights([file])
    return Hypernetwork(hypernetwork_layers(weights.header, file.stem), dict(weights), file.stem)


def assert_same_function(network: Hypernetwork, nets: Any) -> None:
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    for side in (0, 1):
        function = network.function(32, side, x)
        assert function
        assert torch.allclose(function(x), nets[32][side](x), atol=1e-6)
    assert network.function(48, 0, x) is None


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activate_output", [False, True])
@pytest.mark.parametrize("structure", [(1, 1), (1, 2, 1), (1, 1.5, 1.5, 1), (1, 2, 4, 0.5, 1)])
def test_every_structure(tmp_path: Path, structure: tuple[float, ...], activate_output: bool, norm: bool):
    built: dict[str, Any] = {"structure": structure, "norm": norm, "activate_output": activate_output}
    nets = make_nets(WIDTHS, activation=nn.ReLU, **built)
    file = write_hypernetwork(
        tmp_path / "style.pt",
        nets,
        layer_structure=list(structure),
        activation_func="relu",
        is_layer_norm=norm,
        activate_output=activate_output,
        weight_initialization="Normal",
        use_dropout=False,
    )
    assert_same_function(read(file), nets)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(tmp_path: Path, name: str):
    nets = make_nets(WIDTHS, activation=ACTIVATIONS[name], norm=True)
    file = write_hypernetwork(
        tmp_path / "style.pt",
        nets,
        layer_structure=[1, 2, 1],
        activation_func=name,
        is_layer_norm=True,
        activate_output=False,
    )
    assert_same_function(read(file), nets)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("activation", [nn.Softmax, nn.Softmin, nn.Softmax2d, nn.LogSoftmax])
def test_what_acts_along_the_batch_treats_every_picture_as_if_it_were_alone(
    tmp_path: Path, activation: type[nn.Module]
):
    nets = make_nets(WIDTHS, structure=(1, 2, 2, 1), activation=activation)
    options = {"layer_structure": [1, 2, 2, 1], "activate_output": False}
    name = activation.__name__.lower()
    network = read(write_hypernetwork(tmp_path / "style.pt", nets, activation_func=name, **options))
    x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(1))
    function = network.function(32, 0, x)
    assert function
    alone = torch.cat([nets[32][0](row) for row in x.split(1)])
    assert torch.allclose(function(x), alone, atol=1e-6)
    assert not torch.allclose(nets[32][0](x), alone, atol=1e-3)


def test_dropout_only_shifts_the_numbers_of_the_layers(tmp_path: Path):
    nets = make_nets(WIDTHS, structure=(1, 2, 2, 1), activation=nn.Tanh, dropout=True)
    options = {"use_dropout": True, "last_layer_dropout": True, "dropout_structure": [0, 0.3, 0.3, 0]}
    file = write_hypernetwork(
        tmp_path / "style.pt",
        nets,
        layer_structure=[1, 2, 2, 1],
        activation_func="tanh",
        activate_output=False,
        **options,
    )
    assert_same_function(read(file), nets)


def test_files_of_the_first_months_say_nothing_of_how_they_are_built(tmp_path: Path):
    nets = make_nets(WIDTHS)
    assert_same_function(read(write_hypernetwork(tmp_path / "old.pt", nets)), nets)
    first = {
        width: tuple(
            {f"linear{i + 1}.{part}": getattr(net[i], part) for i in (0, 1) for part in ("weight", "bias")}
            for net in pair
        )
        for width, pair in nets.items()
    }
    torch.save(first, tmp_path / "oldest.pt")
    assert probe(tmp_path / "oldest.pt").kind is ModelKind.HYPERNETWORK
    assert_same_function(read(tmp_path / "oldest.pt"), nets)


@pytest.mark.parametrize(
    ("widths", "family"),
    [((320, 768), Family.SD1), ((320, 1024), Family.SD2), ((320, 640, 1280), Family.UNKNOWN)],
)
def test_the_width_of_the_text_tells_the_family(tmp_path: Path, widths: tuple[int, ...], family: Family):
    file = write_hypernetwork(tmp_path / "style.pt", make_nets(widths, structure=(1, 0.01, 1)))
    told = probe(file)
    assert (told.kind, told.family) == (ModelKind.HYPERNETWORK, family)


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> UNet2DConditionModel:
    folder = tiny.make_sd1(tmp_path_factory.mktemp("hypernetworks") / "tiny")
    return UNet2DConditionModel.from_pretrained(folder / "unet").eval().requires_grad_(False)


def predict(unet: UNet2DConditionModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    text = torch.randn(2, 77, 32, generator=generator)
    with torch.inference_mode():
        return unet(latents, 500, text).sample


def reference(unet: UNet2DConditionModel, *stack: Any) -> torch.Tensor:
    plain = dict(unet.attn_processors)
    unet.set_attn_processor(ReferenceAttention(*stack))
    try:
        return predict(unet)
    finally:
        unet.set_attn_processor(plain)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, Hypernetwork]]:
    """Three hypernetworks; each has networks for other widths, large enough to be seen."""
    folder = tmp_path_factory.mktemp("stack")
    nets = [
        make_nets(widths, activation=nn.Tanh, seed=i) for i, widths in enumerate([(32, 64), (32,), (64,)])
    ]
    options: dict[str, Any] = {"activation_func": "tanh", "activate_output": False}
    return [(n, read(write_hypernetwork(folder / f"{i}.pt", n, **options))) for i, n in enumerate(nets)]


@pytest.mark.parametrize("strengths", [(1.0, 0, 0), (0.5, 0.8, -0.7), (-1.0, 2.0, 0.3)])
def test_any_number_acts_in_order_as_the_reference(
    unet: UNet2DConditionModel, stack: list[tuple[Any, Hypernetwork]], strengths: tuple[float, ...]
):
    with hypernetworks_on(unet, [(network, s) for (_, network), s in zip(stack, strengths, strict=True)]):
        ours = predict(unet)
    theirs = reference(unet, *((nets, s) for (nets, _), s in zip(stack, strengths, strict=True)))
    assert (ours - theirs).abs().max() < 1e-5
    assert (ours - predict(unet)).abs().max() > 1e-3


def test_the_order_matters(unet: UNet2DConditionModel, stack: list[tuple[Any, Hypernetwork]]):
    both = [(network, 2.0) for _, network in stack[:2]]
    with hypernetworks_on(unet, both):
        one = predict(unet)
    with hypernetworks_on(unet, both[::-1]):
        other = predict(unet)
    assert not torch.equal(one, other)


def test_off_again_nothing_is_left(unet: UNet2DConditionModel, stack: list[tuple[Any, Hypernetwork]]):
    before = predict(unet)
    for _ in range(5):
        with hypernetworks_on(unet, [(network, 1.0) for _, network in stack]):
            predict(unet)
    with pytest.raises(ZeroDivisionError), hypernetworks_on(unet, [(stack[0][1], 1.0)]):
        raise ZeroDivisionError
    assert torch.equal(predict(unet), before)
    assert not any(module._forward_pre_hooks for module in unet.modules())


def test_strength_zero_has_no_effect(unet: UNet2DConditionModel, stack: list[tuple[Any, Hypernetwork]]):
    before = predict(unet)
    with hypernetworks_on(unet, [(stack[0][1], 0.0)]):
        assert torch.equal(predict(unet), before)


def test_remembered_keys_and_values_are_those_of_the_hypernetworks(
    unet: UNet2DConditionModel, stack: list[tuple[Any, Hypernetwork]]
):
    text = torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(4))
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        with hypernetworks_on(unet, [(stack[0][1], 1.0)]), cached_cross_attention(unet):
            first, second = unet(latents, 500, text).sample, unet(latents, 500, text).sample
        with cached_cross_attention(unet):
            without = unet(latents, 500, text).sample
    assert torch.equal(first, second)
    assert (first - without).abs().max() > 1e-3


def test_a_compiled_unet_runs_uncompiled_meanwhile(
    unet: UNet2DConditionModel, stack: list[tuple[Any, Hypernetwork]], monkeypatch: pytest.MonkeyPatch
):
    compiled = lambda *_, **__: pytest.fail("compiled code knows no hooks")  # noqa: E731
    monkeypatch.setattr(unet, "_compiled_call_impl", compiled)
    with hypernetworks_on(unet, [(stack[0][1], 1.0)]):
        predict(unet)
    assert unet._compiled_call_impl is compiled


LAYER = {"linear.0.weight": torch.ones(32, 32), "linear.0.bias": torch.ones(32)}
NORM = {"linear.1.weight": torch.ones(32), "linear.1.bias": torch.ones(32)}
NAN = {"linear.0.weight": torch.full((32, 32), torch.nan), "linear.0.bias": torch.ones(32)}
BROKEN: dict[str, tuple[dict[Any, Any], str]] = {
    "activation that needs arguments": ({"activation_func": "threshold"}, "activation 'threshold' is none"),
    "activation that halves the width": ({"activation_func": "glu"}, "activation 'glu' is none"),
    "unknown activation": ({"activation_func": "os.system"}, "activation"),
    "structure of another file": ({"layer_structure": [1, 2, 1]}, "32 wide|should be"),
    "structure of words": ({"layer_structure": ["a", 1]}, "no list of numbers"),
    "one side missing": ({32: (LAYER,)}, "lacks one of the two"),
    "not as wide as it says": ({64: (LAYER, LAYER)}, "width 64"),
    "wrong rank": ({32: (LAYER, {"linear.0.weight": torch.ones(2, 2, 2)})}, "fits no layer"),
    "bias missing": ({32: (LAYER, {"linear.0.weight": torch.ones(32, 32)})}, "fits no layer"),
    "norm that it does not have": ({32: (LAYER, LAYER | NORM)}, "fits no layer"),
    "NaN": ({32: (LAYER, NAN)}, "NaN"),
}


@pytest.mark.parametrize(("changes", "says"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_refused_with_a_reason(tmp_path: Path, changes: dict[Any, Any], says: str):
    torch.save({32: (LAYER, LAYER), "layer_structure": [1, 1]} | changes, tmp_path / "bad.pt")
    with pytest.raises(CorruptFile, match=says) as refused:
        read(tmp_path / "bad.pt")
    assert "bad" in str(refused.value)


def test_a_hostile_pickle_is_never_run(tmp_path: Path):
    class Hostile:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({32: (LAYER, LAYER), "optimizer": Hostile()}, tmp_path / "bad.pt")
    for look in (probe, read):
        with pytest.raises(UnsafeFile):
            look(tmp_path / "bad.pt")
    assert not (tmp_path / "executed").exists()
    assert issubclass(UnsafeFile, EaselError)
