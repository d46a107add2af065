"""The stack in infotexts: ours comes back equal, that of others becomes entries, nothing goes in silence."""

import json
import random

import pytest

from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import (
    BlockWeights,
    ControlInput,
    ControlMode,
    HypernetworkInput,
    ImagePrompt,
    LoraInput,
)
from studio.core.geometry import Box, ResizeMode
from studio.core.inpaint import Inpaint
from studio.core.models import ModelKind
from studio.core.preprocess import Canny, ScribbleXdog
from studio.core.requests import GenerateRequest, SourceImage
from studio.storage.infotext import ModelFacts, format_infotext, parse_infotext, request_from_infotext
from studio.storage.stack_text import STACK_KINDS, NetworkFact
from tests.storage.test_infotext import random_text

BLOBS = ["ab" * 32, "cd" * 32]
KINDS = {
    "loras": ModelKind.LORA,
    "hypernetworks": ModelKind.HYPERNETWORK,
    "controls": ModelKind.CONTROLNET,
    "image_prompts": ModelKind.IP_ADAPTER,
}
NAMES = [
    "plain",
    "two words",
    "a, b",
    "a: b",
    "über (v2)",
    "<odd>",
    'q"uote',
    "back\\slash",
    " spaces ",
    "plain",
]
FACTS = {
    kind: [
        NetworkFact(id=f"{kind} {i}", kind=kind, name=name, hash=f"{kinds:04x}{i:04x}" * 8)
        for i, name in enumerate(NAMES)
    ]
    for kinds, kind in enumerate(KINDS.values())
}


def catalogue(*facts):
    """A resolver as the catalogue's: a hash goes before a name."""

    def resolve(name, digits, kind):
        own = [fact for fact in facts if fact.kind is kind]
        by_hash = [fact.id for fact in own if digits and fact.hash.startswith(digits)]
        return next(iter(by_hash + [fact.id for fact in own if fact.name == name]), None)

    return resolve


def read(text, *facts, known_blobs=BLOBS):
    return request_from_infotext(parse_infotext(text), catalogue(*facts), known_blobs)


def fact(kind, name, digits):
    return NetworkFact(id=f"id of {name}", kind=kind, name=name, hash=digits * 32)


WATER, NIGHT = fact(ModelKind.LORA, "water", "aa"), fact(ModelKind.LORA, "night, city", "bb")
CHALK, CAT = fact(ModelKind.HYPERNETWORK, "chalk", "cc"), fact(ModelKind.EMBEDDING, "cat", "dd")
EVERYTHING = (WATER, NIGHT, CHALK, CAT)


def written(**stack):
    request = GenerateRequest(prompt="a red ball", seed=1, **stack)
    return request, format_infotext(request, ModelFacts("toy", networks=EVERYTHING))


def test_the_stack_is_written_as_a1111_writes_it():
    _, text = written(
        loras=(LoraInput(model=WATER.id, weight=0.8), LoraInput(model=NIGHT.id, text_encoder_weight=0.5)),
        hypernetworks=(HypernetworkInput(model=CHALK.id, weight=0.6),),
    )
    assert text.startswith(
        "a red ball <lora:water:0.8> <lora:night, city:0.5:1> <hypernet:chalk:0.6>\nSteps: 20,"
    )
    fields = parse_infotext(text).fields
    assert fields["Lora hashes"] == "water: aaaaaaaaaaaa, night city: bbbbbbbbbbbb"
    assert fields["TI hashes"] == "cat: dddddddddddd"
    assert fields["Easel stack"] == '{"tags": ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"]}'


@pytest.mark.parametrize(
    "entry",
    [
        LoraInput(model=WATER.id, enabled=False),
        LoraInput(model=WATER.id, start=0.25),
        LoraInput(model=WATER.id, end=0.5, weight=-1),
        LoraInput(model=WATER.id, blocks=BlockWeights(mid=0)),
    ],
)
def test_what_no_tag_can_say_is_not_said_by_one(entry):
    request, text = written(loras=(entry,))
    assert "<lora" not in text
    assert read(text, *EVERYTHING).request == request


def test_a_text_without_a_stack_has_none_of_its_keys():
    text = format_infotext(GenerateRequest(prompt="a <lora:water:1>", seed=1), ModelFacts("toy"))
    assert "Easel stack" not in text
    assert read(text).request.prompt == "a <lora:water:1>"


def random_lora(chance, model):
    start, end = sorted(chance.choice([(0, 1), (chance.random(), 1), (0, chance.uniform(0.1, 1))]))
    return LoraInput(
        model=model,
        enabled=chance.random() < 0.8,
        weight=chance.choice([1, 0.8, -1.5, chance.uniform(-10, 10), 1e-7]),
        text_encoder_weight=chance.choice([None, None, 1, 0.3, chance.uniform(-10, 10)]),
        start=start,
        end=end,
        blocks=chance.choice([BlockWeights(), BlockWeights(down=0, up=chance.uniform(-2, 2))]),
    )


def random_control(chance, model):
    return ControlInput(
        model=model,
        enabled=chance.random() < 0.8,
        image=chance.choice(BLOBS),
        preprocessor=chance.choice([None, Canny(), Canny(low=7), ScribbleXdog(threshold=3)]),
        weight=chance.uniform(0, 2),
        start=chance.choice([0, 0.25]),
        mode=chance.choice(list(ControlMode)),
        resize_mode=chance.choice(list(ResizeMode)),
        mask=chance.choice([None, *BLOBS]),
    )


RANDOM = {
    "loras": random_lora,
    "hypernetworks": lambda chance, model: HypernetworkInput(
        model=model, enabled=chance.random() < 0.8, weight=chance.uniform(-10, 10)
    ),
    "controls": random_control,
    "image_prompts": lambda chance, model: ImagePrompt(
        model=model, images=tuple(chance.choices(BLOBS, k=chance.randint(1, 3))), weight=chance.uniform(0, 2)
    ),
}


def random_stack(chance):
    return {
        field: tuple(
            RANDOM[field](chance, chance.choice(FACTS[kind]).id)
            for _ in range(chance.choice([0, 0, 1, 2, 5]))
        )
        for field, kind in KINDS.items()
    }


def test_500_random_stacks_come_back_exactly_as_they_were():
    chance = random.Random(11)
    facts = tuple(fact for facts in FACTS.values() for fact in facts)
    for _ in range(500):
        request = GenerateRequest(
            prompt=random_text(chance) if chance.random() < 0.8 else "",
            negative_prompt=random_text(chance) if chance.random() < 0.5 else "",
            seed=3,
            source=SourceImage(image=BLOBS[0]),
            inpaint=chance.choice([None, Inpaint(mask=BLOBS[1], grow=chance.randint(-128, 128))]),
            boxes=chance.choice([None, random_boxes(chance)]),
            **random_stack(chance),
        )
        settings = read(format_infotext(request, ModelFacts("", networks=facts)), *facts)
        assert settings.request == request
        assert settings.warnings == ()


def random_boxes(chance):
    box = Box(x0=0, y0=0, x1=chance.uniform(0.1, 1), y1=0.5)
    return Boxes(
        boxes=(BoxInput(box=box, phrase="a, ball: red"), BoxInput(box=box, image=BLOBS[1])),
        share=chance.random(),
    )


def test_boxes_and_masks_whose_pictures_are_not_here_are_left_out_with_a_word():
    request = GenerateRequest(
        seed=1,
        source=SourceImage(image=BLOBS[0]),
        inpaint=Inpaint(mask=BLOBS[1]),
        boxes=random_boxes(random.Random(1)),
    )
    settings = read(format_infotext(request, ModelFacts()), known_blobs=BLOBS[:1])
    assert settings.request == request.model_copy(update={"inpaint": None, "boxes": None})
    assert len(settings.warnings) == 2
    assert read(format_infotext(request, ModelFacts()), known_blobs=BLOBS[1:]).request.inpaint is None


def test_every_field_of_the_stack_is_tried():
    assert set(STACK_KINDS) == set(KINDS) == set(RANDOM)


A1111 = (
    "a ball, <lora:water:0.8>, on grass <lora:night, city:0.5:1> <hypernet:chalk:0.3>\n"
    "Negative prompt: blurry\n"
    'Steps: 20, Sampler: Euler a, Seed: 1, {key}: "water: aaaaaaaaaaaa, night city: bbbbbbbbbbbb",'
    " Version: v1.10.1"
)


@pytest.mark.parametrize("key", ["Lora hashes", "LoRA hashes"])
def test_tags_of_other_studios_become_entries(key):
    settings = read(A1111.replace("{key}", key), *EVERYTHING)
    assert settings.request.prompt == "a ball, , on grass"  # commas are words to the text encoder
    assert settings.request.loras == (
        LoraInput(model=WATER.id, weight=0.8),
        LoraInput(model=NIGHT.id, weight=1, text_encoder_weight=0.5),
    )
    assert settings.request.hypernetworks == (HypernetworkInput(model=CHALK.id, weight=0.3),)
    assert settings.warnings == ()


def test_a_renamed_file_is_found_by_its_hash():
    renamed = WATER.model_copy(update={"name": "renamed"})
    loras = read(A1111.replace("{key}", "Lora hashes"), renamed, CHALK).request.loras
    assert [entry.model for entry in loras] == [WATER.id]


def test_networks_that_are_not_here_are_named_and_left_out():
    settings = read(A1111.replace("{key}", "Lora hashes"), WATER)
    assert len(settings.request.loras) == 1
    assert settings.warnings == (
        "The LoRA 'night, city' is not here; it was left out.",
        "The hypernetwork 'chalk' is not here; it was left out.",
    )


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:water>", {}),
        ("<lyco:water:0.5>", {"weight": 0.5}),
        ("<lora:water:te=0.2:unet=0.7>", {"weight": 0.7, "text_encoder_weight": 0.2}),
        ("<lora:water:0.2:unet=0.7>", {"weight": 0.7, "text_encoder_weight": 0.2}),
        ("<lora:water:te=0.2>", {"weight": 0.2}),
        ("<lora:water:99>", {"weight": 10}),
        ("<lora:water:many>", {}),
        ("<lora:water:nan>", {}),
    ],
)
def test_all_spellings_of_a_tag_are_read(tag, expected):
    request = read(f"x {tag}\nSteps: 20, Sampler: Euler, Seed: 1", WATER).request
    assert request.loras == (LoraInput(model=WATER.id, **expected),)


def test_a_tag_in_the_negative_prompt_goes_with_a_word_about_it():
    settings = read("x\nNegative prompt: y <lora:water:1>\nSteps: 20, Sampler: Euler, Seed: 1", WATER)
    assert (settings.request.negative_prompt, settings.request.loras) == ("y", ())
    assert "negative prompt" in settings.warnings[0]


def test_fooocus_writes_the_weight_behind_the_hash():
    text = (
        'x\nSteps: 20, Sampler: Euler, Seed: 1, Lora hashes: "water: aaaaaaaaaaaa: 0.4", Version: Fooocus v2'
    )
    assert read(text, WATER).request.loras == (LoraInput(model=WATER.id, weight=0.4),)


def test_the_old_way_to_say_a_hypernetwork_is_read():
    text = "x\nSteps: 20, Sampler: Euler, Seed: 1, Hypernet: chalk(01234567), Hypernet strength: 0.4"
    assert read(text, CHALK).request.hypernetworks == (HypernetworkInput(model=CHALK.id, weight=0.4),)


def test_an_embedding_that_is_not_here_is_named():
    text = 'x\nSteps: 20, Sampler: Euler, Seed: 1, TI hashes: "cat: dddddddddddd, dog: 0123456789ab"'
    assert read(text, CAT).warnings == ("The embedding 'dog' is not here; its name is read as plain words.",)


def test_a_control_whose_picture_is_not_here_is_left_out_with_a_word():
    control = ControlInput(model="canny", image=BLOBS[0])
    text = format_infotext(GenerateRequest(seed=1, controls=(control,)), ModelFacts())
    canny = NetworkFact(id="canny", kind=ModelKind.CONTROLNET, name="canny")
    assert read(text, canny).request.controls == (control,)
    settings = read(text, canny, known_blobs=())
    assert settings.request.controls == ()
    assert "its picture is not here" in settings.warnings[0]


@pytest.mark.parametrize(
    "stack",
    [
        "{", "[]", "3", "[" * 9999, '{"tags": 3}', '{"tags": [1, 2, 3, 4]}', '{"loras": 3}', '{"loras": [3]}',
        '{"loras": [{}]}', '{"loras": [{"model": "water", "weight": "x"}]}', '{"loras": [{"model": ["x"]}]}',
        '{"loras": [{"model": "water", "evil": 1}]}', '{"controls": [{"model": "water", "image": "../x"}]}',
    ],
)  # fmt: skip
def test_a_damaged_stack_is_read_as_far_as_it_goes(stack):
    stack = json.dumps(stack)
    text = f"x <lora:water:1>\nSteps: 20, Sampler: Euler, Seed: 1, Easel stack: {stack}, Version: Easel"
    assert read(text, *EVERYTHING).request.steps == 20


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["<lora:" * 100_000, "<lora:a:1>" * 60_000, "<lora:a" + ":" * 500_000 + ">"])
def test_prompts_full_of_tags_are_read_in_linear_time(text):
    settings = read(f"{text}\nSteps: 20, Sampler: Euler, Seed: 1")
    assert len(settings.warnings) < 100


def test_halves_of_letters_are_dropped():
    assert read("a\udc80 ball\nSteps: 20, Sampler: Euler, Seed: 1").request.prompt == "a ball"
