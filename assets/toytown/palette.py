"""Toytown's colours and places, as RGB."""

from __future__ import annotations

from dataclasses import dataclass

Color = tuple[int, int, int]

# Chosen to be far from each other and from every ground and sky; see tests/toytown/test_world.py.
RGB: dict[str, Color] = {
    "red": (222, 40, 44),
    "orange": (248, 136, 20),
    "yellow": (252, 216, 40),
    "green": (24, 148, 60),
    "blue": (36, 92, 224),
    "purple": (138, 52, 178),
    "pink": (255, 132, 196),
    "white": (250, 250, 250),
    "black": (36, 36, 42),
}
COLORS = tuple(RGB)

INK: Color = (34, 30, 46)
# Black things get a pale rim, so that they stay visible at night.
RIM: Color = (150, 160, 186)
SKIN: Color = (244, 200, 160)
HAIR: Color = (112, 68, 36)
WOOD: Color = (126, 84, 48)
GLASS: Color = (196, 228, 248)
TYRE: Color = (52, 52, 60)


@dataclass(frozen=True)
class Place:
    """The colours of a backdrop, from the top of the sky to the nearest ground."""

    sky_top: Color
    sky_low: Color
    edge: Color
    ground_far: Color
    ground_near: Color
    shadow: Color


PLACES: dict[str, Place] = {
    "grass": Place(
        (120, 188, 250), (200, 230, 254), (84, 166, 74), (146, 210, 104), (118, 190, 84), (88, 158, 66)
    ),
    "sand": Place(
        (134, 206, 250), (222, 242, 252), (60, 150, 210), (240, 216, 156), (228, 196, 128), (192, 158, 98)
    ),
    "snow": Place(
        (176, 194, 220), (222, 232, 244), (198, 212, 232), (240, 246, 252), (226, 236, 248), (182, 196, 220)
    ),
    "street": Place(
        (188, 196, 206), (216, 220, 226), (168, 160, 152), (126, 126, 134), (106, 106, 116), (76, 76, 88)
    ),
    "night": Place((18, 22, 62), (48, 50, 110), (30, 44, 76), (58, 76, 104), (44, 60, 88), (26, 36, 60)),
}


def mix(first: Color, second: Color, share: float) -> Color:
    """`share` of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
