"""What clients of the ControlNet extension send and expect. Facts about its API; defaults are its own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_IMAGES = 16
"""In one call of detect."""


class VersionReply(BaseModel):
    version: int


class ModelList(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_list: list[str] = Field(description="'name [first 8 hex of its hash]'; the name alone until hashed")


class SliderRow(BaseModel):
    name: str
    value: float
    min: float
    max: float
    step: float


class ModuleRow(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_free: bool = Field(description="True: no ControlNet belongs to it")
    sliders: list[SliderRow | None] = Field(
        description="resolution, threshold A, threshold B; null where it has none"
    )


class ModuleList(BaseModel):
    module_list: list[str]
    module_detail: dict[str, ModuleRow]


class ControlTypeRow(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    module_list: list[str]
    model_list: list[str]
    default_option: str = Field(description="the usual module")
    default_model: str


class ControlTypes(BaseModel):
    control_types: dict[str, ControlTypeRow]


class SettingsReply(BaseModel):
    control_net_unit_count: int
    control_net_max_models_num: int = Field(description="the same, under its older name")


class DetectPayload(BaseModel):
    """Unknown fields are ignored, as the extension does."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    controlnet_module: Annotated[str, StringConstraints(max_length=100)] = "none"
    controlnet_images: list[str] = Field(
        max_length=MAX_IMAGES, description="base64, with or without a data URL's head"
    )
    controlnet_masks: list[str] = Field(
        [],
        max_length=MAX_IMAGES,
        description="base64, one for each image: light where an inpaint module marks it to be painted anew; "
        "other modules make the same map with and without",
    )
    controlnet_processor_res: int = Field(512, ge=-1, le=4096, description="px of the shorter side")
    controlnet_threshold_a: float = Field(-1, description="-1: the module's default")
    controlnet_threshold_b: float = Field(-1, description="-1: the module's default")


class DetectReply(BaseModel):
    images: list[str] = Field(description="maps as PNG in base64")
    info: str = "Success"
    poses: list[Any] = Field([], description="OpenPose JSON of each map, where they show poses")
