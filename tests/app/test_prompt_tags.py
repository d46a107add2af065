"""Tags of a prompt as entries of the stack."""

import time

import pytest

from studio.app.prompt_tags import networks_in
from studio.app.studio import LocalStudio
from studio.core.conditions import HypernetworkInput, LoraInput
from studio.core.errors import NotFound
from studio.core.models import ModelInfo, ModelKind

KNOWN = {
    ("ink", ModelKind.LORA): "id-of-ink",
    ("chalk", ModelKind.LORA): "id-of-chalk",
    ("ink", ModelKind.HYPERNETWORK): "id-of-hyper-ink",
}


def find(name, kind):
    if (name, kind) not in KNOWN:
        raise NotFound(f"There is no {kind} named {name!r} here.")
    return ModelInfo(id=KNOWN[name, kind], name=name, kind=kind)


def test_tags_become_entries_in_the_order_in_which_they_were_written():
    found = networks_in("<lora:chalk:0.5:1> a cat <hypernet:ink:0.3> <lora:ink:0.8>", find)
    assert found.prompt == "a cat"
    assert found.loras == (
        LoraInput(model="id-of-chalk", weight=1.0, text_encoder_weight=0.5),
        LoraInput(model="id-of-ink", weight=0.8),
    )
    assert found.hypernetworks == (HypernetworkInput(model="id-of-hyper-ink", weight=0.3),)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("a cat", "a cat"),
        ("a cat,  on a mat ", "a cat,  on a mat "),
        ("a cat, <lora:ink:1>, on a mat", "a cat, on a mat"),
        ("a cat <lora:ink:1> on a mat", "a cat on a mat"),
        ("a cat, <lora:ink:1>", "a cat"),
        ("<lora:ink:1>, a cat", "a cat"),
        ("a cat <lora:ink:1><lora:chalk:1>, on a mat", "a cat, on a mat"),
        ("<lora:ink:1>", ""),
        ("(a <lora:ink:1> cat:1.2", "(a cat:1.2"),
    ],
)
def test_what_stood_around_a_tag_is_joined_again(prompt, left):
    assert networks_in(prompt, find).prompt == left


def test_a_lyco_becomes_a_lora_and_a_tag_of_no_kind_stays_with_a_sentence():
    found = networks_in("<lyco:ink:0.5> a cat <LORA:chalk:1>", find)
    assert found.prompt == "a cat <LORA:chalk:1>"
    assert found.loras == (LoraInput(model="id-of-ink", weight=0.5),)
    (problem,) = found.problems
    assert problem.startswith("The tag <LORA:chalk:1> calls nothing")


@pytest.mark.parametrize("tag", ["<lora:nobody:1>", "<lora:ink:much>", "<lora:ink:11>", "<hypernet::1>"])
def test_a_tag_that_says_nothing_stays_with_a_sentence(tag):
    found = networks_in(f"a cat {tag} <lora:chalk:1>", find)
    assert found.prompt == f"a cat {tag}"
    assert len(found.problems) == 1
    assert found.loras == (LoraInput(model="id-of-chalk"),)


def test_a_studio_looks_the_names_up_as_a_plan_does(studio: LocalStudio):
    found = studio.network_tags("a cat <lora:nobody:1>")
    [problem] = found.problems
    assert problem.startswith("There is no LoRA named 'nobody' here.")


def test_long_runs_of_spaces_and_commas_are_looked_through_once():
    begun = time.process_time()
    assert networks_in(f"a{', ' * 100_000}cat <lora:ink:1>", find).prompt.endswith(" cat")
    assert time.process_time() - begun < 5
