"""Toytown: a toy world whose every fact is known.

A `Scene` says what there is: things of eight kinds in nine colours, in one of five places. `render` draws it
and returns the picture with its boxes, masks, depth and poses; `describe` words it. All follows from a seed.

Geometry is in 0-1 of the picture, x to the right and y down, so a scene renders at any size. No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray
from painter import PAINTERS, PERSON_ASPECT, Brush, Pose, person_keypoints
from palette import COLORS, PLACES, RGB, Place

KINDS = ("ball", "box", "star", "tree", "house", "car", "person", "cat")
SUPERSAMPLING = 3

# Width over height of a kind's frame.
ASPECTS = {
    "ball": 1.0, "box": 1.05, "star": 1.04, "tree": 0.8,
    "house": 1.0, "car": 1.7, "person": PERSON_ASPECT, "cat": 0.86,
}  # fmt: skip
# The box a thing may fill, (width, height), by the number of things in the scene.
ROOM = {1: (0.8, 0.66), 2: (0.46, 0.52), 3: (0.31, 0.42)}
# The largest side of a thing that stands anywhere, by the number of things.
LARGEST = {1: 0.75, 2: 0.6, 3: 0.5}
PLACE_PHRASES = {
    "grass": ("on grass", "on the grass"),
    "sand": ("on sand", "on the sand"),
    "snow": ("on snow", "in the snow"),
    "street": ("on a street", "in the street"),
    "night": ("at night",),
}


@dataclass(frozen=True)
class Thing:
    """One object: what it is and the frame it is drawn in, in 0-1 of the picture."""

    kind: str
    color: str
    x: float
    y: float
    width: float
    height: float
    pose: Pose

    @property
    def name(self) -> str:
        return f"{self.color} {self.kind}"

    @property
    def foot(self) -> float:
        """Where it touches the ground; the lower, the nearer."""
        return self.y + self.height


@dataclass(frozen=True)
class Scene:
    """What there is to see. `things` are in reading order, left to right, and never overlap."""

    place: str
    horizon: float
    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Render:
    """A picture and every fact about it.

    image: (size, size, 3) uint8 RGB. masks: (things, size, size) bool. boxes: (things, 4) x0 y0 x1 y1 in 0-1,
    tight around the masks. depth: (size, size) float32, 0 far to 1 near (inverse depth, as MiDaS gives it).
    keypoints: for each thing the (18, 2) OpenPose points in 0-1 where it is a person, else None.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    depth: NDArray[np.float32]
    keypoints: tuple[NDArray[np.float32] | None, ...]


def random_scene(rng: np.random.Generator, count: int | None = None) -> Scene:
    """A scene of one, two or three different things (`count` fixes how many), side by side."""
    count = count or int(rng.choice((1, 2, 3), p=(0.4, 0.42, 0.18)))
    names = rng.choice(len(KINDS) * len(COLORS), size=count, replace=False)
    slots = zip(names, range(count), strict=True)
    things = tuple(
        _place(rng, KINDS[n // len(COLORS)], COLORS[n % len(COLORS)], slot, count) for n, slot in slots
    )
    return Scene(str(rng.choice(list(PLACES))), float(rng.uniform(0.5, 0.58)), things)


def scattered_scene(rng: np.random.Generator, count: int | None = None) -> Scene:
    """Like `random_scene`, but the things are of any size and stand anywhere, some of them in the air."""
    count = count or int(rng.choice((1, 2, 3), p=(0.4, 0.42, 0.18)))
    names = rng.choice(len(KINDS) * len(COLORS), size=count, replace=False)
    things: list[Thing] = []
    while any(_touch(one, other) for one, other in combinations(things, 2)) or not things:
        things = [_drop(rng, KINDS[n // len(COLORS)], COLORS[n % len(COLORS)], count) for n in names]
    things.sort(key=lambda thing: thing.x)
    return Scene(str(rng.choice(list(PLACES))), float(rng.uniform(0.5, 0.58)), tuple(things))


def any_scene(rng: np.random.Generator, count: int | None = None) -> Scene:
    """A `random_scene` or a `scattered_scene`, each half of the time."""
    return random_scene(rng, count) if rng.random() < 0.5 else scattered_scene(rng, count)


def make_scene(seed: int, names: list[tuple[str, str]], place: str) -> Scene:
    """A scene of these (color, kind) pairs, left to right; positions, sizes and poses follow the seed."""
    rng = np.random.default_rng(seed)
    things = tuple(_place(rng, kind, color, slot, len(names)) for slot, (color, kind) in enumerate(names))
    return Scene(place, float(rng.uniform(0.5, 0.58)), things)


def _place(rng: np.random.Generator, kind: str, color: str, slot: int, count: int) -> Thing:
    """Put a thing somewhere within its column of the picture, its foot on the ground."""
    room_width, room_height = ROOM[min(count, 3)]
    height = min(room_height, room_width / ASPECTS[kind]) * rng.uniform(0.86, 1.0)
    width = height * ASPECTS[kind]
    column = 1 / count
    slack = max(0.0, column - width - 0.02)
    x = slot * column + 0.01 + slack * rng.uniform(0.15, 0.85)
    foot = rng.uniform(0.8, 0.94)
    return Thing(kind, color, float(x), float(foot - height), float(width), float(height), Pose.random(rng))


def _drop(rng: np.random.Generator, kind: str, color: str, count: int) -> Thing:
    """Put a thing of any size, smaller among others, anywhere in the picture."""
    height = rng.uniform(0.24, LARGEST[count]) / max(1.0, ASPECTS[kind])
    width = height * ASPECTS[kind]
    x, y = rng.uniform(0.01, 0.99 - width), rng.uniform(0.01, 0.97 - height)
    return Thing(kind, color, float(x), float(y), float(width), float(height), Pose.random(rng))


def _touch(first: Thing, second: Thing) -> bool:
    """Whether the two frames overlap."""
    across = first.x < second.x + second.width and second.x < first.x + first.width
    return across and first.y < second.foot and second.y < first.foot


def describe(scene: Scene, rng: np.random.Generator, placed: bool = False) -> str:
    """One of many captions true of the scene; some leave the place out, unless it must be `placed`."""
    nouns = [f"{_article(thing.color)} {thing.name}" for thing in scene.things]
    what = _word_pair(nouns[0], nouns[1], rng) if len(nouns) == 2 else _word_list(nouns, rng)
    if not placed and rng.random() < 0.15:
        return what
    where = str(rng.choice(PLACE_PHRASES[scene.place]))
    return f"{what}, {where}" if rng.random() < 0.15 else f"{what} {where}"


def _article(color: str) -> str:
    return "an" if color[0] in "aeiou" else "a"


def _word_pair(left: str, right: str, rng: np.random.Generator) -> str:
    roll = rng.random()
    if roll < 0.15:
        return f"{left} left of {right}"
    if roll < 0.3:
        return f"{right} right of {left}"
    return f"{left}, {right}" if roll < 0.4 else f"{left} and {right}"


def _word_list(nouns: list[str], rng: np.random.Generator) -> str:
    if len(nouns) == 1 or rng.random() < 0.3:
        return ", ".join(nouns)
    return f"{', '.join(nouns[:-1])} and {nouns[-1]}"


def render(scene: Scene, size: int = 128) -> Render:
    """Draw the scene, `size` px square: three times as large at first, then averaged down."""
    large = size * SUPERSAMPLING
    canvas = _backdrop(PLACES[scene.place], scene.horizon, large)
    depth = _ground_depth(scene.horizon, size)
    masks = np.zeros((len(scene.things), size, size), dtype=np.bool_)
    for index in sorted(range(len(scene.things)), key=lambda i: scene.things[i].foot):
        thing = scene.things[index]
        coverage = _draw(canvas, thing, PLACES[scene.place])
        masks[index] = cv2.resize(coverage, (size, size), interpolation=cv2.INTER_AREA) >= 128
        masks[:index] &= ~masks[index]
        masks[index + 1 :] &= ~masks[index]
        depth[masks[index]] = _nearness(thing.foot, scene.horizon)
    image = np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    boxes = np.asarray([_tight_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    keypoints = tuple(_keypoints(thing) for thing in scene.things)
    return Render(image, masks, boxes, depth, keypoints)


def _draw(canvas: NDArray[np.uint8], thing: Thing, place: Place) -> NDArray[np.uint8]:
    """Draw one thing with its shadow onto the canvas; returns its coverage, 0 or 255 for each large pixel."""
    brush = Brush(canvas, (thing.x, thing.y, thing.width, thing.height), RGB[thing.color])
    brush.shadow(place.shadow)
    PAINTERS[thing.kind](brush, thing.pose)
    brush.shade()
    return brush.coverage


def _backdrop(place: Place, horizon: float, size: int) -> NDArray[np.uint8]:
    """Sky and ground, each a soft vertical gradient, with a hill or kerb between them."""
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    sky = _blend(place.sky_top, place.sky_low, rows / horizon)
    ground = _blend(place.ground_far, place.ground_near, (rows - horizon) / (1 - horizon))
    column = np.where(rows < horizon, sky, ground)
    canvas = np.repeat(column[:, None, :], size, axis=1).astype(np.uint8)
    kerb = slice(int(horizon * size), int((horizon + 0.035) * size))
    canvas[kerb] = place.edge
    return canvas


def _blend(
    first: tuple[int, int, int], second: tuple[int, int, int], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    share = np.clip(share, 0, 1)
    return np.asarray(first, np.float32) * (1 - share) + np.asarray(second, np.float32) * share


def _ground_depth(horizon: float, size: int) -> NDArray[np.float32]:
    rows = np.asarray((np.arange(size) + 0.5) / size, np.float32)
    return np.repeat(_nearness(rows, horizon)[:, None], size, axis=1)


def _nearness(y: NDArray[np.float32] | float, horizon: float) -> NDArray[np.float32]:
    """Inverse depth of the ground at height y: 0 at the horizon and in the sky, 1 at the lower edge."""
    return np.asarray(np.clip((np.asarray(y) - horizon) / (1 - horizon), 0, 1), np.float32)


def _tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    ys, xs = np.nonzero(mask)
    edges = np.asarray((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
    return np.asarray(edges / mask.shape[0], np.float32)


def _keypoints(thing: Thing) -> NDArray[np.float32] | None:
    if thing.kind != "person":
        return None
    frame = np.asarray([thing.width, thing.height], np.float32)
    return person_keypoints(thing.pose) * frame + np.asarray([thing.x, thing.y], np.float32)
