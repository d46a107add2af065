"""An image remembers the networks that made it, under the names and hashes that other studios know."""

from __future__ import annotations

import torch

from studio.adapters.lora import lora_targets
from studio.app.facts import model_facts
from studio.app.studio import build_studio
from studio.core.conditions import HypernetworkInput, LoraInput
from studio.core.events import Finished
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest
from studio.core.settings import Precision, Settings
from studio.diffusion.plan import plan
from studio.models.catalogue import ModelCatalogue
from studio.models.components import components_of
from studio.models.modules import empty_module
from studio.storage.infotext import format_infotext, parse_infotext
from tests.adapters import loras
from tests.adapters.networks import make_nets, write_hypernetwork
from tests.models.sparse import write_sparse

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
LORA = {f"{LAYER}.lora_down.weight": (4, 32), f"{LAYER}.lora_up.weight": (64, 4)}


def random_lora(models, path):
    catalogue = ModelCatalogue(Settings(data_dir=path.parent / ".data", models_dirs=(models,)))
    parts = components_of(catalogue, catalogue.find("tiny")).components
    modules = {role: empty_module(parts[role].class_name, parts[role].config) for role in ("unet",)}
    targets = loras.transformer_targets(lora_targets(modules))
    loras.write(path, loras.kohya(loras.random_pairs(targets, seed=1, size=0.5)))


def test_a_finished_image_restores_its_stack_from_file_and_text_and_by_retry(tmp_path, models):
    own = tmp_path / "own"
    own.mkdir()
    random_lora(models, own / "style.safetensors")
    studio = build_studio(
        Settings(
            data_dir=tmp_path / "data",
            models_dirs=(models, own),
            device="cpu",
            precision=Precision.FP32,
        )
    )
    entries = (
        LoraInput(model="style", weight=0.5),
        LoraInput(model="style", enabled=False, end=0.5),
    )
    request = GenerateRequest(model="tiny", prompt="a ball", width=64, height=64, steps=1, loras=entries)
    try:
        studio.start()
        job = studio.submit(request)
        finished = [*studio.events(job.id, timeout=60)][-1]
        assert isinstance(finished, Finished)
        image = studio.image(finished.images[0])
        assert image.request.loras == entries
        assert 'Lora hashes: "style: ' in image.infotext
        assert studio.read_settings(studio.image_path(image.id).read_bytes()).request == image.request
        pasted = studio.read_infotext(image.infotext)
        assert (pasted.request, pasted.warnings) == (image.request, ())
        assert studio.retry(job.id).request == job.request
    finally:
        studio.close()


def make_models(folder):
    for name, digits in {"water": "aa", "night": "bb", "off": "cc"}.items():
        write_sparse(folder / "loras" / f"{name}.safetensors", LORA, {"sshs_model_hash": digits * 32})
    (folder / "embeddings").mkdir()
    torch.save({"*": torch.ones(2, 768)}, folder / "embeddings" / "cat.pt")
    write_hypernetwork(folder / "hypernetworks" / "chalk.pt", make_nets((32,)))


def test_networks_of_the_stack_of_tags_and_of_words_are_named_with_their_hashes(tmp_path, models):
    make_models(tmp_path)
    catalogue = ModelCatalogue(Settings(data_dir=tmp_path / "data", models_dirs=(tmp_path, models)))
    request = GenerateRequest(
        model="tiny",
        seed=1,
        prompt="a ball <lora:night:0.5>",
        negative_prompt="cat",
        loras=(
            LoraInput(model="water"),
            LoraInput(model="off", enabled=False),
            LoraInput(model="x", enabled=False),
        ),
        hypernetworks=(HypernetworkInput(model="chalk"),),
    )
    facts = model_facts(plan(request, catalogue), catalogue)
    named = {(fact.kind, fact.name): bool(fact.hash) for fact in facts.networks}
    assert named == {
        (ModelKind.LORA, "water"): True,
        (ModelKind.LORA, "night"): True,
        (ModelKind.LORA, "off"): False,
        (ModelKind.EMBEDDING, "cat"): True,
        (ModelKind.HYPERNETWORK, "chalk"): True,
    }
    fields = parse_infotext(format_infotext(request, facts)).fields
    assert fields["Lora hashes"] == "water: aaaaaaaaaaaa, night: bbbbbbbbbbbb"
    assert fields["TI hashes"].startswith("cat: ")
