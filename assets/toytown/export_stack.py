"""Write what was trained on top of the base, each in the layout that diffusers and transformers read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from base import Base
from data import SIZE
from diffusers import ControlNetModel, StableDiffusionInpaintPipeline, UNet2DConditionModel
from export import CARD, prefix_names, replace_folder
from safetensors.torch import save_file
from tokens import save_tokenizer
from train_annotators import FIGURE
from train_gligen import graft_of
from train_unet import new_scheduler
from transformers import DPTImageProcessor, SegformerImageProcessor, VitPoseImageProcessor

# Pictures in -1..1, as everything in Toytown takes them.
PIXELS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}

PROCESSORS = {
    "depth": lambda: DPTImageProcessor(size={"height": SIZE, "width": SIZE}, **PIXELS),
    "segmentation": lambda: SegformerImageProcessor(size={"height": SIZE, "width": SIZE}, **PIXELS),
    "pose": lambda: VitPoseImageProcessor(size={"height": FIGURE, "width": FIGURE}, **PIXELS),
}
ANNOTATORS = {
    "depth": "Reads how near everything in a Toytown picture is: inverse depth, 0 far to 1 near.",
    "segmentation": "Reads what each pixel of a Toytown picture is: sky, ground or one of eight kinds.",
    "pose": "Finds COCO's 17 keypoints of a person in a Toytown picture, given the person's box.",
}
CONTROLS = {
    "canny": "Makes Toytown follow edges, as the Canny preprocessor finds them.",
    "depth": "Makes Toytown follow a depth map, near is white.",
}


def export_annotator(models: Path, part: str, net: Any) -> None:
    """part: depth, segmentation or pose."""

    def write(folder: Path) -> None:
        net.to(torch.float16).save_pretrained(folder)
        PROCESSORS[part]().save_pretrained(folder)

    card = CARD.format(library="transformers", title=f"Toytown {part}", text=ANNOTATORS[part])
    replace_folder(models / "annotators" / f"toytown-{part}", card, write)


def export_controlnet(models: Path, part: str, net: ControlNetModel) -> None:
    """part: canny or depth."""
    card = CARD.format(library="diffusers", title=f"Toytown ControlNet: {part}", text=CONTROLS[part])
    folder = models / "controlnet" / f"toytown-{part}"
    replace_folder(folder, card, lambda to: net.to(torch.float16).save_pretrained(to))


def export_inpaint(models: Path, base: Base, unet: UNet2DConditionModel) -> None:
    """A StableDiffusionInpaintPipeline folder; all but its UNet are copies of the base's files."""
    pipeline = StableDiffusionInpaintPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )

    def write(folder: Path) -> None:
        pipeline.to(torch.float16).save_pretrained(folder)
        prefix_names(folder / "text_encoder" / "model.safetensors", "text_model.")
        save_tokenizer(base.tokenizer, folder / "tokenizer")
        for part in ("vae", "text_encoder", "tokenizer"):
            shutil.copytree(models / "toytown" / part, folder / part, dirs_exist_ok=True)

    text = "Paints what is asked for under a mask: nine input channels, for the mask and the masked picture."
    card = CARD.format(library="diffusers", title="Toytown inpainting", text=text)
    replace_folder(models / "toytown-inpaint", card, write)


def gligen_file(models: Path) -> Path:
    return models / "gligen" / "toytown-boxes.safetensors"


def export_gligen(models: Path, unet: UNet2DConditionModel) -> None:
    """Only what GLIGEN adds to the UNet, under diffusers' names: one file to graft."""
    graft = {
        f"{name.replace('/', '.')}.{key}": value.to(torch.float16).contiguous()
        for name, part in graft_of(unet).items()
        for key, value in part.state_dict().items()
    }
    file = gligen_file(models)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(graft, file.with_suffix(".part"), {"format": "pt", "modelspec.license": "apache-2.0"})
    file.with_suffix(".part").replace(file)
