"""Hypernetworks and textual inversions of a request, resolved and checked before any file is opened."""

from __future__ import annotations

from typing import Any

import pytest

from studio.core.conditions import HypernetworkInput
from studio.core.errors import InvalidRequest, NotFound, PromptError
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest, HiresPass
from studio.diffusion.plan import GeneratePlan, plan


def network(model_id: str, family: Family = Family.SD1, **changes: Any) -> ModelInfo:
    facts = {"id": model_id, "name": model_id, "kind": ModelKind.HYPERNETWORK, "family": family}
    return ModelInfo(**(facts | changes))


def embedding(model_id: str, family: Family = Family.SD1, **changes: Any) -> ModelInfo:
    return network(model_id, family, **({"kind": ModelKind.EMBEDDING} | changes))


MODELS = (
    ModelInfo(id="base", name="Base", kind=ModelKind.CHECKPOINT, family=Family.SD1),
    network("ink"),
    network("oil", Family.UNKNOWN),
    network("two", Family.SD2),
    network("bad", problem="it is cut off."),
    network("twin", location="/a/twin.pt"),
    network("twin (hypernetwork)", name="twin", location="/b/twin.pt"),
    embedding("Cat"),
    embedding("black cat", Family.SDXL),
    embedding("shape", Family.UNKNOWN),
    embedding("xl", Family.SDXL),
    embedding("hostile", Family.UNKNOWN, problem="it would have to execute code."),
    embedding("pair", location="/a/pair.pt"),
    embedding("pair (embedding)", name="pair", location="/b/pair.safetensors"),
    embedding("both"),
    embedding("both (embedding)", Family.SDXL, name="both"),
)


class Shelf:
    def find(self, name: str) -> ModelInfo:
        for info in MODELS:
            if info.id == name:
                return info
        raise NotFound(f"There is no model {name}.")

    def named(self, name: str, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return tuple(info for info in self.models(kind) if info.name == name)

    def models(self, kind: ModelKind) -> tuple[ModelInfo, ...]:
        return tuple(info for info in MODELS if info.kind is kind)


def planned(prompt: str = "", **fields: Any) -> GeneratePlan:
    return plan(GenerateRequest(model="base", prompt=prompt, **fields), Shelf())


def test_entries_go_before_tags_each_with_its_weight():
    stack = (
        HypernetworkInput(model="oil", weight=-0.5),
        HypernetworkInput(model="two", enabled=False),
    )
    made = planned("a <hypernet:ink:0.7> cat <hypernet:oil:2>", hypernetworks=stack).hypernetworks
    assert [(one.model.id, one.entry.weight, one.field) for one in made] == [
        ("oil", -0.5, "hypernetworks.0.model"),
        ("ink", 0.7, "prompt"),
        ("oil", 2.0, "prompt"),
    ]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nothing", "no model nothing"),
        ("base", "Base is a checkpoint"),
        ("Cat", "Cat is an embedding"),
        ("two", "SD 2.x.*SD 1.x"),
        ("bad", "cut off"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_at_its_field(model: str, says: str):
    stack = (HypernetworkInput(model="ink"), HypernetworkInput(model=model))
    with pytest.raises(InvalidRequest, match=says) as refused:
        planned(hypernetworks=stack)
    assert refused.value.field == "hypernetworks.1.model"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "no hypernetwork named 'nothing'"),
        ("two", "SD 2.x.*SD 1.x"),
        ("bad", "cut off"),
        ("twin", "/a/twin.pt and /b/twin.pt"),
    ],
)
def test_a_tag_that_cannot_be_used_is_refused_at_its_character(name: str, says: str):
    with pytest.raises(PromptError, match=says) as refused:
        planned(f"red (ball) <hypernet:{name}:1>")
    assert (refused.value.field, refused.value.position) == ("prompt", 11)


@pytest.mark.parametrize("weight", ["nan", "inf", "11", "-10.5", "x"])
def test_a_weight_that_is_none_is_refused_at_its_character(weight: str):
    with pytest.raises(PromptError, match="from -10 to 10") as refused:
        planned(f"a <hypernet:ink:{weight}>")
    assert refused.value.position == 2


def test_a_tag_in_the_negative_prompt_is_refused():
    with pytest.raises(PromptError) as refused:
        planned(negative_prompt="a <hypernet:ink:1>")
    assert (refused.value.field, refused.value.position) == ("negative_prompt", 2)


def used(prompt: str, **fields: Any) -> dict[str, str]:
    return {one.model.id: one.field for one in planned(prompt, **fields).words.embeddings}


@pytest.mark.parametrize(
    "prompt",
    ["a CAT", "a (cat:1.2)", "[red:cat:19]", "[a|b|cat]", "red AND cat", "red BREAK cat", r"\(cat\)"],
)
def test_a_name_is_found_wherever_a_prompt_says_it(prompt: str):
    assert used(prompt) == {"Cat": "prompt"}


@pytest.mark.parametrize("prompt", ["concat", "cats", "cat2", "[red:cat:20]", "<hypernet:ink:1>"])
def test_a_name_that_is_never_said_is_not_used(prompt: str):
    assert used(prompt) == {}


def test_what_only_the_hires_pass_says_is_used():
    hires = HiresPass(scale=2, steps=10)
    assert used("[red:cat:25]", steps=20, hires=hires) == {"Cat": "prompt"}


def test_the_first_prompt_that_says_a_name_is_told():
    assert used("shape", negative_prompt="cat, shape") == {"shape": "prompt", "Cat": "negative_prompt"}


def test_a_name_of_another_family_is_plain_text_with_a_note():
    words = planned("xl, black cat").words
    assert [one.model.id for one in words.embeddings] == ["Cat"]
    assert len(words.notes) == 2
    assert all("SDXL" in note and "SD 1.x" in note and "plain text" in note for note in words.notes)


def test_a_tag_of_no_kind_that_there_is_gets_a_note():
    notes = planned("a <HYPERNET:ink:1> ball", negative_prompt="<HYPERNET:ink:1> <LORA:x>").words.notes
    assert [note.split(" calls")[0] for note in notes] == ["The tag <HYPERNET:ink:1>", "The tag <LORA:x>"]


def test_of_two_files_of_one_name_the_one_of_the_family_is_used():
    made = planned("both").words
    assert [one.model.id for one in made.embeddings] == ["both"]
    assert made.notes == ()


@pytest.mark.parametrize(
    ("name", "says"), [("pair", "/a/pair.pt and /b/pair.safetensors"), ("hostile", "execute code")]
)
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_name_that_cannot_be_used_is_refused_at_its_prompt(name: str, says: str, field: str):
    with pytest.raises(InvalidRequest, match=says) as refused:
        plan(GenerateRequest(**{"model": "base", field: f"a {name} ball"}), Shelf())
    assert refused.value.field == field
