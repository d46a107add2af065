"""The pose editor: people as skeletons whose joints are dragged. Its behaviour is in `assets/js/pose.js`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.core.pose import (
    FACE_DOT,
    FACE_DOT_PX,
    FACE_MIRRORED,
    FINGER_COLOURS,
    FINGER_PX,
    FINGERS,
    HAND_DOT,
    HAND_POINTS,
    JOINT_COLOURS,
    JOINTS,
    LIMB_SHADE,
    LIMBS,
    MIRRORED,
    PARTS,
    STICK_PX,
    Part,
)
from ui.components.editors import LINE, file_button, photo_tools, select, tool, tools, undo_tools
from ui.words import esc

BEHAVIOUR = (
    *("history.js", "make_map.js", "zoom.js"),
    *("pose_person.js", "pose_map.js", "pose_json.js", "pose_figure.js", "pose.js"),
)

_PRESETS = Path(__file__).resolve().parents[2] / "assets" / "poses.json"


def pose_presets() -> dict[str, list[list[float]]]:
    """Poses to start from: 18 points each, in 0-1 of a square around the figure."""
    presets: dict[str, list[list[float]]] = json.loads(_PRESETS.read_text("utf-8"))
    return presets


def pose_facts() -> dict[str, Any]:
    """What the script has to know of OpenPose's format."""
    return {
        "joints": JOINTS,
        "limbs": [(limb.start, limb.end) for limb in LIMBS],
        "colours": JOINT_COLOURS,
        "shade": LIMB_SHADE,
        "stick": STICK_PX,
        "mirrored": mirrored_points(),
        "parts": [_part_facts(part) for part in PARTS],
        "fingers": FINGERS,
        "fingerColours": FINGER_COLOURS,
        "finger": FINGER_PX,
        "handDot": HAND_DOT,
        "faceDot": FACE_DOT,
        "faceDotPx": FACE_DOT_PX,
        "presets": pose_presets(),
    }


def _part_facts(part: Part) -> dict[str, Any]:
    return {**part.model_dump(), **({"bones": FINGERS} if part.points == HAND_POINTS else {})}


def mirrored_points() -> list[int]:
    """For every point of a person (joints, left hand, right hand, face) the index of its mirror image."""
    left, right, face = (len(JOINTS) + at for at in (0, HAND_POINTS, 2 * HAND_POINTS))
    hands = [*range(right, right + HAND_POINTS), *range(left, left + HAND_POINTS)]
    return [*MIRRORED, *hands, *(face + point for point in FACE_MIRRORED)]


def pose_html() -> str:
    return (
        '<section class="editor pose" aria-label="Pose">'
        f'<div class="editor-bar">{_people()}{_figure()}{undo_tools()}</div>'
        f'<div class="pose-well">{_SVG}</div>{LINE}'
        f'<div class="editor-bar">{_joints()}{_photo()}{_files()}{_view()}</div></section>'
    )


_SVG = (
    '<svg viewBox="0 0 512 512" role="group" aria-label="People. Tab to a joint, arrows move it.">'
    '<rect class="paper" width="100%" height="100%"/><image class="photo" preserveAspectRatio="none"/>'
    '<g class="frame"><rect class="outline"/><circle class="grip"/></g><g class="people"></g></svg>'
)


def _people() -> str:
    presets = {name: name for name in pose_presets()}
    return select("preset", "New person", presets, shown=False) + tools(
        "Person", tool("add", "Add person"), tool("remove", "Remove", "Remove the chosen person")
    )


def _figure() -> str:
    return tools(
        "Whole figure",
        tool("mirror", "Mirror", "Mirror the chosen person"),
        tool("smaller", "−", "Smaller", css="icon"),
        tool("larger", "+", "Larger", css="icon"),
    )


def _joints() -> str:
    parts = [("part", index, part.name) for index, part in enumerate(PARTS)]
    joints = [("joint", index, name) for index, name in enumerate(JOINTS)]
    boxes = "".join(
        f'<label><input type="checkbox" data-{kind}="{index}">{esc(name.capitalize())}</label>'
        for kind, index, name in (*joints, *parts)
    )
    return (
        '<details class="joint-list"><summary class="act">Joints</summary>'
        f'<div class="joints" role="group" aria-label="What is shown">{boxes}</div></details>'
    )


def _view() -> str:
    return tools(
        "View",
        tool("farther", "−", "Zoom out", css="icon"),
        tool("nearer", "+", "Zoom in (Ctrl and wheel, or two fingers)", css="icon"),
    )


def _photo() -> str:
    return photo_tools(0.6, tool("find", "Find people", "Put a skeleton on everybody in the photo"))


def _files() -> str:
    return tools(
        "Files",
        file_button("Import JSON", "json", "application/json,.json"),
        tool("export", "Export JSON", "As OpenPose JSON"),
        tool("save", "Download", "The map as PNG"),
    )
