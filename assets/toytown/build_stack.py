"""The second half of `build.py`: what stacks on the finished base, each part a course of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from base import Base
from course import team, wait
from export_stack import export_annotator, export_controlnet, export_gligen, export_inpaint, gligen_file
from facts import Facts, load_facts
from safetensors.torch import load_file
from tokens import new_tokenizer
from torch import Tensor
from train_annotators import train_depth_net, train_pose_net, train_segmentation_net
from train_controlnet import canny_maps, depth_maps, train_controlnet
from train_gligen import train_gligen
from train_inpaint import train_inpaint
from world import Scene, any_scene, random_scene

SCENES = 24_000
# Minutes of work of one core.
STACK_MINUTES = {
    "segmentation": 2.5,
    "pose": 5.5,
    "depth": 1.2,
    "canny": 26.0,
    "depth-control": 8.0,
    "inpaint": 25.0,
    "gligen": 50.0,
}


class StackBuilder:
    """Trains and exports the parts that are asked for; the base is read from the models folder.

    Args:
        further: start the boxes from the graft that is there, instead of from nothing.
    """

    def __init__(self, work: Path, models: Path, minutes: dict[str, float], *, further: bool = False) -> None:
        self.work = work
        self.models = models
        self.minutes = minutes
        self.further = further

    @cached_property
    def base(self) -> Base:
        return Base.load(self.models / "toytown")

    @cached_property
    def scenes(self) -> tuple[Facts, Tensor]:
        """The scenes that the base was trained with, and their latents."""
        return self._scenes(random_scene)

    @cached_property
    def _anywhere(self) -> tuple[Facts, Tensor]:
        """Scenes of which half have their things anywhere: there only the condition tells where."""
        return self._scenes(any_scene)

    def _scenes(self, scene_of: Callable[..., Scene]) -> tuple[Facts, Tensor]:
        if team()[0] > 0:
            wait()  # until the first process has rendered and encoded them
        facts = load_facts(self.work, new_tokenizer(), SCENES, scene_of)
        latents = self.base.latents(facts, self.work / f"latents-{scene_of.__name__}-{SCENES}.pt")
        if team()[0] == 0:
            wait()
        return facts, latents

    def build(self) -> None:
        for part, make in self._parts().items():
            if part in self.minutes:
                make()

    def _parts(self) -> dict[str, Any]:
        return {
            "segmentation": lambda: self._annotator("segmentation", train_segmentation_net),
            "pose": lambda: self._annotator("pose", train_pose_net),
            "depth": lambda: self._annotator("depth", train_depth_net),
            "canny": self._canny,
            "depth-control": self._depth_control,
            "inpaint": self._inpaint,
            "gligen": self._gligen,
        }

    def _annotator(self, part: str, train: Any) -> None:
        net = train(self.scenes[0], *self._course(part))
        if team()[0] == 0:
            export_annotator(self.models, part, net)

    def _canny(self) -> None:
        net = train_controlnet(self.base, *self._anywhere, canny_maps, *self._course("canny"))
        if team()[0] == 0:
            export_controlnet(self.models, "canny", net)

    def _depth_control(self) -> None:
        """From the net for edges on, where there is one: it knows already how to place things."""
        course = self._course("depth-control")
        start = None
        if (edges := self.work / "canny.pt").exists():
            average = torch.load(edges, map_location="cpu", weights_only=True)["average"]
            start = {name.removeprefix("net."): value for name, value in average.items()}
        net = train_controlnet(self.base, *self._anywhere, depth_maps, *course, start)
        if team()[0] == 0:
            export_controlnet(self.models, "depth", net)

    def _inpaint(self) -> None:
        unet = train_inpaint(self.base, *self.scenes, *self._course("inpaint"))
        if team()[0] == 0:
            export_inpaint(self.models, self.base, unet)

    def _gligen(self) -> None:
        start = load_file(gligen_file(self.models)) if self.further else None
        unet = train_gligen(self.base, *self._anywhere, *self._course("gligen"), start)
        if team()[0] == 0:
            export_gligen(self.models, unet)

    def _course(self, part: str) -> tuple[Path, float]:
        return self.work / f"{part}.pt", self.minutes[part]
