"""The Control tab without a browser: options as controls, models to offer, units to entries and back."""

import io
import json
import re

import pytest
from PIL import Image, PngImagePlugin

from studio.core.annotators import FACTS
from studio.core.conditions import ControlInput, ImagePrompt
from studio.core.control_types import ControlType
from studio.core.errors import InvalidRequest
from studio.core.models import CatalogueRow, Family, ModelInfo, ModelKind
from studio.core.pose import JOINT_COLOURS, JOINTS, LIMBS, MIRRORED, PARTS
from studio.core.preprocess import PREPROCESSORS, Canny, Map
from studio.core.requests import GenerateRequest, InstallRequest
from tests.fake_controls import CONTROLS
from tests.fakes import MODELS
from ui.components.options import options_html
from ui.components.picker import lacking, picker_html, suited
from ui.components.pose import mirrored_points, pose_presets
from ui.control_units import (
    UnitSettings,
    check_told,
    drawn_unit,
    entry_for,
    options_message,
    people_finder,
    replaced,
    settings_of,
    source_of,
    weight_for,
)
from ui.entry_list import with_entry
from ui.form import stacked_text

BLOB, OTHER = "a" * 64, "b" * 64
TOYTOWN = next(model for model in MODELS if model.id == "fake/toytown")
LARGE = next(model for model in MODELS if model.id == "fake/large")
CONTROL_MODELS = [model for model in CONTROLS if model.kind.value in ("controlnet", "t2i_adapter")]
SETTINGS = UnitSettings(model="fake/town-canny", weight=0.7, start=0.1, end=0.8)


def fieldset(kind):
    return re.search(rf'<fieldset data-kind="{kind}".*?</fieldset>', options_html(), re.DOTALL)[0]


@pytest.mark.parametrize("kind", PREPROCESSORS)
def test_every_option_of_every_preprocessor_has_a_control(kind):
    names = set(PREPROCESSORS[kind].model_fields) - {"kind"}
    assert set(re.findall(r'name="(\w+)"', fieldset(kind))) == names
    assert f'<option value="{kind}">{FACTS[kind].title}' in options_html()


def test_a_slider_has_the_bounds_and_the_default_of_its_field():
    assert 'data-for="low" min="1" max="255" step="1" value="100"' in fieldset("canny")


def test_a_net_that_is_to_be_downloaded_says_how_much():
    assert "HED is downloaded on first use (29.4 MB)." in fieldset("softedge_hed")


@pytest.mark.parametrize(
    ("map_kind", "expected"),
    [
        ("canny", "fake/town-canny"),
        ("depth_anything", "fake/town-depth"),
        ("pose", "fake/town-openpose"),
        ("pose_dw", "fake/town-openpose"),
        ("pose_vit", "fake/town-openpose"),
        ("sketch", "fake/town-sketch"),
        ("scribble_xdog", "fake/town-sketch"),
    ],
)
def test_the_model_that_was_made_for_a_map_is_offered(map_kind, expected):
    assert suited(CONTROL_MODELS, TOYTOWN, map_kind, "") == expected


def test_what_follows_something_else_is_never_offered_and_what_tells_nothing_stays_chosen():
    unknown = ModelInfo(id="mine", name="My net", kind=ModelKind.CONTROLNET)
    models = [unknown, *CONTROL_MODELS]
    assert suited(models, TOYTOWN, "shuffle", "fake/town-depth") == ""
    assert suited(models, TOYTOWN, "shuffle", "") == ""
    assert suited(models, TOYTOWN, "shuffle", "mine") == "mine"
    assert suited(models, TOYTOWN, "canny", "mine") == "fake/town-canny"
    assert suited(models, TOYTOWN, "map", "fake/town-depth") == "fake/town-depth"
    assert suited(models, TOYTOWN, "map", "") == ""


def test_the_model_of_another_family_gives_way():
    assert suited(CONTROL_MODELS, LARGE, "canny", "fake/town-canny") == "fake/canny-xl"
    assert suited((), TOYTOWN, "canny", "fake/town-canny") == ""


def test_models_that_do_not_fit_are_greyed_with_the_reason():
    html = picker_html(CONTROL_MODELS, LARGE, "fake/canny-xl", label="Follow with")
    assert '<option value="fake/canny-xl" selected>' in html
    assert '<option value="fake/town-canny" disabled title="For SD 1.x, but Large XL is SDXL.">' in html


ROWS = tuple(
    CatalogueRow(
        id=name,
        name=name,
        kind=kind,
        family=family,
        controls=controls,
        install=InstallRequest(repo="a/b"),
        installed=name == "Old Pose",
    )
    for name, kind, family, controls in (
        ("Pose XL", ModelKind.CONTROLNET, Family.SDXL, (ControlType.OPENPOSE,)),
        ("Old Pose", ModelKind.CONTROLNET, Family.SD1, (ControlType.OPENPOSE,)),
        ("Pose 1.1", ModelKind.CONTROLNET, Family.SD1, (ControlType.OPENPOSE,)),
        ("Look", ModelKind.IP_ADAPTER, Family.SD1, ()),
    )
)
CANNY_ONLY = [model for model in CONTROL_MODELS if model.id == "fake/town-canny"]


def test_a_missing_net_is_named_with_what_to_install_for_the_checkpoint():
    missing, remedy = lacking(CANNY_ONLY, TOYTOWN, "pose", ROWS)
    assert missing == "No net for a pose that fits Toytown is here."
    assert remedy.startswith("Install Pose 1.1 on the Models tab, or choose a net that you know")
    assert lacking((), LARGE, "pose", ROWS)[1] == "Install Pose XL on the Models tab."
    assert lacking((), TOYTOWN, "shuffle", ROWS)[1] == "Add one on the Models tab."
    assert lacking((), None, "pose", ROWS) == ("No net for a pose is here.", "Add one on the Models tab.")
    assert lacking((), TOYTOWN, "look", ROWS) == (
        "No IP-Adapter that fits Toytown is here.",
        "Install Look on the Models tab.",
    )


def test_nothing_is_recommended_that_is_larger_than_the_checkpoint():
    tiny = TOYTOWN.model_copy(update={"context_width": 64})
    assert "do not fit it either" in lacking((), tiny, "pose", ROWS)[1]


def test_nothing_is_missing_where_a_net_for_the_map_is_here():
    assert lacking(CONTROL_MODELS, TOYTOWN, "pose", ROWS) == ("", "")
    for finished in ("map", "photo"):
        assert lacking(CONTROL_MODELS, TOYTOWN, finished, ROWS)[1] == "Choose the net that was made for it."
    assert lacking(CONTROL_MODELS, TOYTOWN, "", ROWS) == ("", ""), "the page does not know yet"


def test_where_nothing_is_chosen_the_list_says_so_and_why():
    html = picker_html(CANNY_ONLY, TOYTOWN, "", label="Follow with", note="No <net>.")
    assert '<option value="" selected disabled>Choose one</option>' in html
    assert '<option value="fake/town-canny">Town Canny</option>' in html
    assert "No &lt;net&gt;." in html


def test_a_union_controlnet_is_offered_for_all_that_it_knows_and_told_what_it_gets():
    union = ModelInfo(id="u", name="U", kind=ModelKind.CONTROLNET, layout="union-6")
    assert suited([union, *CONTROL_MODELS], TOYTOWN, "depth_dpt", "") == "u"
    assert suited([union, *CONTROL_MODELS], TOYTOWN, "tile", "u") == ""
    settings = UnitSettings(model="u")
    assert entry_for("pose", {"image": BLOB}, settings).control_type is ControlType.OPENPOSE
    assert entry_for("sketch", {"image": BLOB}, settings).control_type is ControlType.SCRIBBLE
    finished = entry_for("photo", {"image": BLOB, "preprocessor": {"kind": "map"}}, settings)
    with pytest.raises(InvalidRequest, match="What the map shows"):
        check_told(finished, [union])
    check_told(finished, CONTROL_MODELS)
    check_told(entry_for("photo", {"image": BLOB, "preprocessor": {"kind": "canny"}}, settings), [union])


@pytest.mark.parametrize(
    ("source", "offered", "weight", "expected"),
    [
        ("look", "pose pose", 1.0, 0.6),
        ("photo", "look look", 0.6, 1.0),
        ("look", "pose pose", 0.8, 0.8),
        ("sketch", "photo canny", 0.6, 0.6),
        ("look", "", 1.0, 1.0),
    ],
)
def test_a_weight_that_nobody_changed_follows_the_editor(source, offered, weight, expected):
    assert weight_for(source, offered, weight) == expected


def test_a_unit_becomes_an_entry_and_is_found_again():
    unit = {"image": BLOB, "preprocessor": {"kind": "canny", "low": 40}}
    entry = entry_for("photo", unit, SETTINGS)
    assert isinstance(entry, ControlInput)
    assert entry.preprocessor == Canny(low=40)
    assert settings_of(entry) == SETTINGS
    assert source_of(entry, b"") == "photo"
    assert options_message(entry)["low"] == 40
    assert options_message(entry.model_copy(update={"preprocessor": None})) == Map().model_dump(mode="json")


def test_a_look_becomes_an_image_prompt():
    entry = entry_for("look", {"images": [BLOB, OTHER]}, SETTINGS)
    assert isinstance(entry, ImagePrompt)
    assert entry.images == (BLOB, OTHER)
    assert source_of(entry, b"") == "look"


@pytest.mark.parametrize(
    ("note", "source"), [("openpose", "pose"), ("easel-sketch", "sketch"), ("Comment", "photo")]
)
def test_a_map_tells_which_editor_drew_it(note, source):
    info = PngImagePlugin.PngInfo()
    info.add_text(note, "{}")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    assert source_of(ControlInput(model="m", image=BLOB), buffer.getvalue()) == source


def test_a_map_that_is_no_picture_opens_as_a_photo():
    assert source_of(ControlInput(model="m", image=BLOB), b"\x89PNG broken") == "photo"


@pytest.mark.parametrize(
    ("source", "unit", "settings", "field"),
    [
        ("photo", {"image": BLOB}, UnitSettings(), "control-model"),
        ("photo", {"image": BLOB}, UnitSettings(model="m", start=0.5, end=0.5), "control-end"),
        ("photo", {"image": "no hash"}, UnitSettings(model="m"), None),
        ("look", {"images": []}, UnitSettings(model="m"), None),
    ],
)
def test_what_cannot_be_added_is_refused_at_its_field(source, unit, settings, field):
    with pytest.raises(InvalidRequest) as refused:
        entry_for(source, unit, settings)
    assert refused.value.field == field


def test_an_editor_that_has_nothing_speaks_for_itself():
    with pytest.raises(InvalidRequest, match="The canvas is empty"):
        drawn_unit('{"problem": "The canvas is empty. Draw something first."}')
    with pytest.raises(InvalidRequest, match="not ready"):
        drawn_unit("")


def test_an_update_keeps_its_place_and_whether_it_is_on():
    entry = ControlInput(model="new", image=BLOB)
    held = [{"model": "a", "image": BLOB, "enabled": False}, {"model": "b", "image": BLOB}]
    assert json.loads(replaced(held, 0, entry)) == [
        {"model": "new", "image": BLOB, "enabled": False},
        held[1],
    ]
    assert json.loads(replaced(held, 7, entry))[2]["model"] == "new"


def test_the_kind_of_a_preprocessor_survives_in_the_stack():
    control = ControlInput(model="m", image=BLOB, preprocessor=Canny())
    request = GenerateRequest(controls=(control,))
    for text in (stacked_text(request, "controls"), with_entry("[]", "controls", control)):
        assert GenerateRequest.model_validate({"controls": json.loads(text)}).controls == (control,)


@pytest.mark.parametrize(
    ("layouts", "finder"),
    [
        ({"vitpose", "segmentation"}, {"kind": "pose_vit"}),
        ({"openpose_body", "vitpose"}, {"kind": "pose_openpose", "hands": False, "face": False}),
        ({"openpose_body", "openpose_face"}, {"kind": "pose_openpose", "hands": False, "face": True}),
        ({"dwpose", "yolox", "openpose_face"}, {"kind": "pose_dw"}),
        ({"dwpose"}, None),
        ({"vitpose"}, None),
        (set(), None),
    ],
)
def test_people_are_found_whole_with_the_nets_that_are_installed(layouts, finder):
    assert people_finder(layouts) == finder


def test_openpose_facts_fit_together():
    assert len(JOINTS) == len(JOINT_COLOURS) == len(MIRRORED) == 18
    assert len(set(JOINT_COLOURS)) == 18
    assert {index for limb in LIMBS for index in (limb.start, limb.end)} == set(range(18))
    swap = {"right": "left", "left": "right"}
    for name, other in zip(JOINTS, (JOINTS[index] for index in MIRRORED), strict=True):
        side, _, part = name.partition(" ")
        assert other == (f"{swap[side]} {part}" if part else name)


def test_mirroring_every_point_twice_changes_nothing():
    mirrored = mirrored_points()
    assert len(mirrored) == len(JOINTS) + sum(part.points for part in PARTS)
    assert [mirrored[other] for other in mirrored] == list(range(len(mirrored)))
    assert mirrored[18] == 18 + 21, "a left wrist becomes a right one"
    assert mirrored[60] == 60 + 16, "one end of the jaw becomes the other"


@pytest.mark.parametrize("name", pose_presets())
def test_a_preset_is_a_whole_figure_within_its_square(name):
    points = pose_presets()[name]
    assert len(points) == 18
    assert all(-0.1 <= value <= 1.1 for point in points for value in point)
