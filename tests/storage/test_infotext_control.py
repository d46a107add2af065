"""Controls and image prompts in infotexts, as the ControlNet extension writes them."""

from __future__ import annotations

import json
import time

import pytest

from studio.core.annotators import FACTS
from studio.core.conditions import ControlInput, ControlMode, ImagePrompt
from studio.core.control_units import UnitModule, preprocessor_of, unit_of
from studio.core.errors import InvalidRequest
from studio.core.geometry import ResizeMode
from studio.core.preprocess import PREPROCESSORS, Canny, Options, PoseOpenpose, SoftEdgeHed, StraightLines
from studio.core.requests import GenerateRequest
from studio.storage.infotext import ModelFacts, format_infotext, parse_infotext
from studio.storage.infotext_control import control_fields, take_control_fields

A, B = "0" * 64, "1" * 64
REQUEST = GenerateRequest(
    controls=(
        ControlInput(model="canny", image=A, weight=0.75, start=0.1, preprocessor=Canny(low=50, high=120)),
        ControlInput(model="off", image=B, enabled=False),
        ControlInput(
            model="sketch",
            image=B,
            mode=ControlMode.PROMPT,
            resize_mode=ResizeMode.PAD,
            preprocessor=SoftEdgeHed(safe=True),
        ),
    ),
    image_prompts=(ImagePrompt(model="look", images=(A, B), weight=0.5, end=0.8),),
)
TITLES = {"canny": "control_canny, fp16 [0a1b2c3d]"}


def test_a_unit_is_written_as_the_extension_writes_it():
    fields = dict(control_fields(REQUEST, TITLES))
    assert fields["ControlNet 0"] == (
        "Module: canny, Model: control_canny  fp16 [0a1b2c3d], Weight: 0.75, Resize Mode: Crop and Resize, "
        "Processor Res: 512, Threshold A: 50.0, Threshold B: 120.0, Guidance Start: 0.1, Guidance End: 1.0, "
        "Pixel Perfect: True, Control Mode: Balanced"
    )
    assert fields["ControlNet 1"].startswith("Module: softedge_hedsafe, Model: sketch, ")
    assert "Resize Mode: Resize and Fill" in fields["ControlNet 1"]
    assert "My prompt is more important" in fields["ControlNet 1"]
    assert fields["ControlNet 2"].startswith("Module: ip-adapter-auto, Model: look, Weight: 0.5, ")
    assert len(fields) == 3


def test_units_in_a_line_of_parameters_become_sentences_and_leave_the_rest():
    line = ", ".join(f"{key}: {json.dumps(value)}" for key, value in control_fields(REQUEST, TITLES))
    parsed = parse_infotext(f"{format_infotext(GenerateRequest(), ModelFacts(), '1.0')}, {line}")
    fields = dict(parsed.fields)
    first, *others = take_control_fields(fields)
    assert (
        "control_canny  fp16 [0a1b2c3d], canny, weight 0.75, control mode Balanced, from 0.1 to 1.0" in first
    )
    assert len(others) == 2
    assert "Steps" in fields
    assert not any(key.startswith("ControlNet") for key in fields)


def test_garbage_in_a_unit_is_a_sentence_too():
    fields = {"ControlNet 0": "what is this", "ControlNet of mine": "kept", "ControlNet 1": "Model: x" * 999}
    sentences = take_control_fields(fields)
    assert "an unnamed model" in sentences[0]
    assert all(len(sentence) < 300 for sentence in sentences)
    assert fields == {"ControlNet of mine": "kept"}


@pytest.mark.parametrize(
    "options", [each() for each in PREPROCESSORS.values()], ids=lambda o: type(o).__name__
)
def test_every_preprocessor_that_a1111_knows_comes_back(options: Options):
    unit = unit_of(options)
    if unit.module != "none":
        assert unit_of(preprocessor_of(unit)) == unit


@pytest.mark.parametrize(
    "options",
    [Canny(low=50, high=120, resolution=768), StraightLines(score=0.5), PoseOpenpose(hands=True, face=True)],
)
def test_options_that_a_unit_can_say_survive(options: Options):
    assert preprocessor_of(unit_of(options)) == options


def test_thresholds_are_moved_into_their_range_and_left_out_ones_are_the_usual():
    assert preprocessor_of(UnitModule(module="canny", threshold_a=-1, threshold_b=900)) == Canny(
        high=255, resolution=512
    )
    assert preprocessor_of(UnitModule(module="canny", processor_res=5000)) == Canny(resolution=4096)
    assert preprocessor_of(UnitModule(module="hed", processor_res=5000)) == SoftEdgeHed(resolution=2048)
    assert preprocessor_of(UnitModule(module="None")) is None
    with pytest.raises(InvalidRequest, match="no preprocessor called 'telepathy'"):
        preprocessor_of(UnitModule(module="telepathy"))


def test_a_unit_that_leaves_its_thresholds_open_means_what_page_and_command_line_mean():
    modules = [module for facts in FACTS.values() for module in facts.modules]
    assert len(modules) > 30
    for module in modules:
        options = preprocessor_of(UnitModule(module=module.name))
        assert options is not None
        usual = type(options)(**module.options)
        for slider in filter(None, (module.threshold_a, module.threshold_b)):
            assert getattr(options, slider.field) == getattr(usual, slider.field), module.name


def test_a_unit_of_nothing_but_letters_is_read_in_moments():
    begun = time.process_time()
    (told,) = take_control_fields({"ControlNet 0": "a" * 200_000})
    assert time.process_time() - begun < 5
    assert "unnamed model" in told
