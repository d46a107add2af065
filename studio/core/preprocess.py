"""Preprocessors and their options: how a photo or drawing becomes the map that a control follows.

Every preprocessor is a record of its own, told apart by `kind`; `studio.core.annotators` says what each is
called, which controls it suits and which weights it needs.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, TypeAdapter, model_validator
from typing_extensions import Self

from studio.core.base import BlobId, ModelId, Record

MAX_RESOLUTION = 2048
"""Longest that the shorter side of a picture may be where a net reads it, px."""


class Options(Record):
    """What every preprocessor can do besides: the map has the picture's size, whatever the options."""

    mirror: bool = Field(False, description="the picture is mirrored, left to right, before it is read")
    invert: bool = Field(False, description="black and white of the finished map change places")

    @property
    def blobs(self) -> frozenset[BlobId]:
        """Stored pictures that the options name."""
        return frozenset()

    def read_at(self, side: int) -> Self:
        """These options for a map that is used at `side` px (the shorter one) and left the size open."""
        return self


class _OwnSize(Options):
    resolution: int = Field(
        0, ge=0, le=4096, description="px of the shorter side that is read; 0: the picture's own"
    )

    def read_at(self, side: int) -> Self:
        return self.model_copy(update={"resolution": side}) if self.resolution == 0 else self


class _Chosen(Options):
    model: ModelId = Field("", description="id of the net in the catalogue; empty: the best one installed")


class _Net(_Chosen):
    resolution: int = Field(
        512,
        ge=0,
        le=MAX_RESOLUTION,
        description=f"px of the shorter side that is read; 0: the picture's own, up to {MAX_RESOLUTION}",
    )


class _OwnProcessor(_Chosen):
    """A net of transformers, which knows at which size it was trained."""

    resolution: int = Field(
        0,
        ge=0,
        le=MAX_RESOLUTION,
        description="px of the shorter side that is read; 0: as the net was trained",
    )


class _Distances(Options):
    """White is near, black is far."""

    flatten_near: float = Field(0, ge=0, le=100, description="% of the range next to the eye made white")
    cut_far: float = Field(0, ge=0, le=100, description="% of the range at the back made black")


class Map(Options):
    """The picture is a map already: it is at most inverted or mirrored."""

    kind: Literal["map"] = "map"


class Canny(_OwnSize):
    """Sharp edges (Canny 1986)."""

    kind: Literal["canny"] = "canny"
    low: int = Field(100, ge=1, le=255, description="gradient below which nothing is an edge")
    high: int = Field(
        200,
        ge=1,
        le=255,
        description="gradient above which everything is one; below `low` both swap",
    )


class ScribbleDrawing(_OwnSize):
    """Dark strokes of a drawing on light paper become white lines."""

    kind: Literal["scribble_drawing"] = "scribble_drawing"
    threshold: int = Field(127, ge=1, le=255, description="a pixel with a darker channel is a stroke")


class ScribbleXdog(_OwnSize):
    """Strokes by a difference of Gaussians (Winnemöller et al. 2012)."""

    kind: Literal["scribble_xdog"] = "scribble_xdog"
    threshold: int = Field(32, ge=1, le=64, description="contrast of a stroke; a high one leaves few")


class ScribbleHed(_Net):
    """Thick strokes along the edges that HED finds."""

    kind: Literal["scribble_hed"] = "scribble_hed"


class ScribblePidinet(_Net):
    """Thick strokes along the edges that PiDiNet finds."""

    kind: Literal["scribble_pidinet"] = "scribble_pidinet"


class SoftEdgeHed(_Net):
    """Soft edges by a holistically nested net (Xie and Tu 2015)."""

    kind: Literal["softedge_hed"] = "softedge_hed"
    safe: bool = Field(False, description="few levels of grey, so that no picture hides in them")


class SoftEdgePidinet(_Net):
    """Soft edges by pixel differences (Su et al. 2021)."""

    kind: Literal["softedge_pidinet"] = "softedge_pidinet"
    safe: bool = Field(False, description="few levels of grey, so that no picture hides in them")


class SoftEdgeTeed(_Net):
    """Soft edges by a tiny net (Soria et al. 2023)."""

    kind: Literal["softedge_teed"] = "softedge_teed"
    safe_steps: int = Field(2, ge=0, le=10, description="levels of grey above black; 0 keeps all")


class LineArtRealistic(_Net):
    """Lines as an artist draws them after a photo (Chan et al. 2022)."""

    kind: Literal["lineart_realistic"] = "lineart_realistic"
    coarse: bool = Field(False, description="fewer and bolder lines, by a net of its own")


class LineArtAnime(_Net):
    """Clean lines of a drawing or an animated film."""

    kind: Literal["lineart_anime"] = "lineart_anime"


class LineArtStandard(_OwnSize):
    """Lines darker than what lies around them; without a net."""

    kind: Literal["lineart_standard"] = "lineart_standard"
    sigma: float = Field(6.0, ge=0.5, le=30, description="how far around a line is looked, px")
    threshold: int = Field(8, ge=0, le=64, description="contrast from which a line sets the map's brightness")


class DepthAnything(_OwnProcessor, _Distances):
    """Relative depth (Depth Anything V2, Yang et al. 2024)."""

    kind: Literal["depth_anything"] = "depth_anything"


class DepthDpt(_OwnProcessor, _Distances):
    """Relative depth by a vision transformer (DPT, Ranftl et al. 2021)."""

    kind: Literal["depth_dpt"] = "depth_dpt"


class DepthMidas(_Chosen, _Distances):
    """Relative depth by MiDaS 3's hybrid of convolutions and a transformer (Ranftl et al. 2022).

    It reads every picture at the size that it was trained at.
    """

    kind: Literal["depth_midas"] = "depth_midas"


class DepthZoe(_OwnProcessor, _Distances):
    """Depth in metres, the nearest 85% of it shown (ZoeDepth, Bhat et al. 2023)."""

    kind: Literal["depth_zoe"] = "depth_zoe"


class DepthLeres(_Net, _Distances):
    """Relative depth (LeReS, Yin et al. 2021)."""

    kind: Literal["depth_leres"] = "depth_leres"


class _Persons(_Net):
    """Persons as OpenPose's skeletons."""

    body: bool = Field(True, description="18 joints of each person")
    hands: bool = Field(False, description="21 joints of each hand")
    face: bool = Field(False, description="70 points of each face")

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if not (self.body or self.hands or self.face):
            raise ValueError("a pose needs at least one of body, hands and face")
        return self


class PoseOpenpose(_Persons):
    """Persons as OpenPose's skeletons (Cao et al. 2019)."""

    kind: Literal["pose_openpose"] = "pose_openpose"


class PoseDw(_Persons):
    """Persons as OpenPose's skeletons, by a net that sees body, hands and face at once (Yang et al. 2023)."""

    kind: Literal["pose_dw"] = "pose_dw"
    hands: bool = Field(True, description="21 joints of each hand")
    face: bool = Field(True, description="70 points of each face")
    detector: ModelId = Field(
        "", description="id of the net that finds the persons; empty: the best one installed"
    )
    confidence: float = Field(0.3, ge=0, le=1, description="a point less sure than this is left out")


class PoseVit(_Chosen):
    """Persons as OpenPose's skeletons, by a vision transformer (ViTPose, Xu et al. 2022)."""

    kind: Literal["pose_vit"] = "pose_vit"
    detector: ModelId = Field(
        "", description="id of the net that finds the persons; empty: the best one installed"
    )
    confidence: float = Field(0.3, ge=0, le=1, description="a joint less sure than this is left out")


class NormalBae(_Net):
    """Directions of surfaces (Bae et al. 2021). Red is left, green is up, blue is towards the eye."""

    kind: Literal["normal_bae"] = "normal_bae"


class NormalDepth(_OwnProcessor):
    """Directions of surfaces, from the slope of a depth map."""

    kind: Literal["normal_depth"] = "normal_depth"
    background: float = Field(0.4, ge=0, le=1, description="depth (0 far, 1 near) below which all is flat")
    flatness: float = Field(6.28, ge=0.1, le=20, description="weight of the direction towards the eye")


class Segmentation(_OwnProcessor):
    """What is where: one colour a class, in the colours of ADE20K (Zhou et al. 2017)."""

    kind: Literal["segmentation"] = "segmentation"


class StraightLines(_Net):
    """Straight lines of buildings and rooms (M-LSD, Gu et al. 2022)."""

    kind: Literal["mlsd"] = "mlsd"
    score: float = Field(0.1, ge=0.01, le=2, description="a line less sure than this is left out")
    distance: float = Field(0.1, ge=0.01, le=20, description="px; a shorter line is left out")


class Shuffle(_OwnSize):
    """The picture's colours and forms, moved around (Zhang et al. 2023)."""

    kind: Literal["shuffle"] = "shuffle"
    scale: int = Field(256, ge=8, le=1024, description="size of what moves together, px")
    seed: int = Field(0, ge=0, le=2**32 - 1)


class Tile(Options):
    """The picture without its finest detail, which is to be made anew."""

    kind: Literal["tile"] = "tile"
    factor: float = Field(1.0, ge=1, le=8, description="px of the picture that become one, along each side")


class Colour(Options):
    """A grid of the picture's colours."""

    kind: Literal["colour"] = "colour"
    cell: int = Field(64, ge=2, le=512, description="side of a square of one colour, px")


class Threshold(Options):
    """White where the picture is light, black elsewhere."""

    kind: Literal["threshold"] = "threshold"
    level: int = Field(127, ge=0, le=254, description="a pixel is light where all channels are above this")


class Inpaint(Options):
    """The picture with what is to be painted anew marked: transparent and black in the map."""

    kind: Literal["inpaint"] = "inpaint"
    mask: BlobId | None = Field(
        None, description="white where to paint anew; without one, where the picture itself is transparent"
    )

    @property
    def blobs(self) -> frozenset[BlobId]:
        return frozenset({self.mask} if self.mask else ())


Preprocessor = Annotated[
    Canny
    | ScribbleDrawing
    | ScribbleXdog
    | ScribbleHed
    | ScribblePidinet
    | SoftEdgeHed
    | SoftEdgePidinet
    | SoftEdgeTeed
    | LineArtRealistic
    | LineArtAnime
    | LineArtStandard
    | DepthAnything
    | DepthDpt
    | DepthMidas
    | DepthZoe
    | DepthLeres
    | PoseOpenpose
    | PoseDw
    | PoseVit
    | NormalBae
    | NormalDepth
    | Segmentation
    | StraightLines
    | Shuffle
    | Tile
    | Colour
    | Threshold
    | Inpaint
    | Map,
    Field(discriminator="kind"),
]
"""Any preprocessor with its options, told apart by `kind`."""

preprocessor: TypeAdapter[Preprocessor] = TypeAdapter(Preprocessor)
"""Reads any preprocessor from its JSON or its fields."""

PREPROCESSORS: dict[str, type[Options]] = {
    each.model_fields["kind"].default: each for each in get_args(get_args(Preprocessor)[0])
}
"""The class of each kind, in the order in which they are offered."""
