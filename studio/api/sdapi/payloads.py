"""What AUTOMATIC1111's clients send and expect, field by field. Facts about its API; defaults are A1111's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from studio.api.dependencies import ID_PATTERN
from studio.api.sdapi.repeatable import check_repeatable

JobId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Name = Annotated[str, StringConstraints(max_length=1000)]


class _Payload(BaseModel):
    """Fields that are null count as left out, and unknown fields are kept aside, as A1111 does."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        check_repeatable(values)
        return {name: value for name, value in values.items() if value is not None}


class GenerationPayload(_Payload):
    """The fields that text-to-image and image-to-image share."""

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] = Field([], description="prompt styles; Easel has none, so they are ignored")
    seed: int = Field(-1, description="-1 draws one")
    subseed: int = Field(-1, description="seed of a second noise; -1 draws one")
    subseed_strength: float = Field(0, description="share of the second noise, 0-1")
    sampler_name: Name = Field("", description="'DPM++ 2M', 'DPM++ 2M Karras', 'k_euler_a', ...")
    sampler_index: Name = Field("Euler", description="the older name of sampler_name")
    scheduler: Name = Field("Automatic", description="'Karras', 'sgm_uniform', ...")
    batch_size: int = Field(1, description="pictures in one pass")
    n_iter: int = Field(1, description="passes, one after another")
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = Field(512, ge=1, description="px")
    height: int = Field(512, ge=1, description="px")
    denoising_strength: float | None = Field(None, description="share of the steps that are run, 0-1")
    override_settings: dict[str, Any] = Field({}, description="options for this call alone")
    override_settings_restore_afterwards: bool = Field(True, description="False keeps the overridden options")
    script_name: Name = Field("", description="Easel has no scripts")
    alwayson_scripts: dict[str, Any] = {}
    send_images: bool = Field(True, description="False leaves the pictures out of the reply")
    save_images: bool = Field(False, description="without effect: the library keeps every picture")
    force_task_id: JobId | None = Field(None, description="id of the job to be made")


class Txt2ImgPayload(GenerationPayload):
    enable_hr: bool = Field(False, description="adds the hires pass")
    hr_scale: float = Field(2.0, description="times the first pass' size")
    hr_upscaler: Name = "Latent"
    hr_second_pass_steps: int = Field(0, description="0 means as many as the first pass")
    hr_resize_x: int = Field(0, description="px; instead of hr_scale, in the same proportions")
    hr_resize_y: int = Field(0, description="px; instead of hr_scale, in the same proportions")
    hr_checkpoint_name: Name = ""
    hr_sampler_name: Name = ""
    hr_scheduler: Name = ""
    hr_prompt: str = ""
    hr_negative_prompt: str = ""


class Img2ImgPayload(GenerationPayload):
    init_images: list[str] = Field([], description="one picture in base64, with or without a data URL's head")
    resize_mode: int = Field(0, description="0 stretch, 1 crop, 2 fill, 3 as 0")
    mask: str | None = Field(
        None, description="base64; light, or opaque on a transparent layer, where the picture is painted anew"
    )
    mask_blur: int | None = Field(None, ge=0, description="deviation of a Gaussian, px of the picture")
    mask_blur_x: int = Field(4, ge=0, description="where mask_blur is left out; the larger of both counts")
    mask_blur_y: int = Field(4, ge=0)
    mask_round: bool = Field(True, description="False changes grey parts of the mask less")
    inpainting_fill: int = Field(0, description="0 fill, 1 original, 2 latent noise, 3 latent nothing")
    inpaint_full_res: bool = Field(True, description="paint the masked part alone, in full detail")
    inpaint_full_res_padding: int = Field(0, description="px of the picture shown around it")
    inpainting_mask_invert: int = Field(0, description="1 paints what is not masked")
    include_init_images: bool = Field(False, description="True repeats init_images in the reply's parameters")


class PngInfoPayload(_Payload):
    image: str = Field(description="the file in base64, with or without a data URL's head")


class GenerationReply(BaseModel):
    images: list[str] = Field(
        description="files in base64: the pictures, then the maps of ControlNet units with save_detected_map"
    )
    parameters: dict[str, Any] = Field(description="what was asked")
    info: str = Field(
        description="JSON: seeds, prompts, infotexts, and `warnings` on what was ignored or went otherwise"
    )


class PngInfoReply(BaseModel):
    info: str = Field(description="generation parameters; empty where the file has none")
    items: dict[str, str]
    parameters: dict[str, str]


class ProgressState(BaseModel):
    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = Field(0, description="passes of the job; 0 when idle")
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressReply(BaseModel):
    progress: float = Field(0.0, description="0-1; 0 when idle")
    eta_relative: float = Field(0.0, description="seconds left")
    state: ProgressState = ProgressState()
    current_image: str | None = Field(None, description="JPEG in base64: the picture as it looks now")
    textinfo: str | None = None


class SamplerRow(BaseModel):
    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerRow(BaseModel):
    name: str
    label: str
    aliases: list[str]
    default_rho: float = Field(-1, description="-1: the schedule has none of its own")
    need_inner_model: bool = False


class UpscalerRow(BaseModel):
    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float = 4


class NameRow(BaseModel):
    name: str


class CheckpointRow(BaseModel):
    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None = None

    model_config = ConfigDict(protected_namespaces=())


class VaeRow(BaseModel):
    model_name: str
    filename: str

    model_config = ConfigDict(protected_namespaces=())


class LoraRow(BaseModel):
    name: str
    alias: str = Field(description="name it was trained under, or its name")
    path: str = Field(description="the file's name alone")
    metadata: dict[str, str] = Field(description="what its header says, as far as it is shown")


class HypernetworkRow(BaseModel):
    name: str
    path: str = Field(description="the file's name alone")


class EmbeddingRow(BaseModel):
    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int = Field(description="width of its vectors; 0 where it is not known")
    vectors: int = Field(description="tokens that it takes in a prompt; 0 where it is not known")


class EmbeddingsReply(BaseModel):
    loaded: dict[str, EmbeddingRow] = {}
    skipped: dict[str, EmbeddingRow] = {}


class ScriptsReply(BaseModel):
    txt2img: list[str] = []
    img2img: list[str] = []


class MemoryReply(BaseModel):
    ram: dict[str, int] = Field(description="bytes: free, used, total")
    cuda: dict[str, Any] = Field(
        description="bytes: system{free, used, total}, allocated{current}; or an error"
    )


class OptionsChange(BaseModel):
    updated: list[str]
    ignored: list[str] = Field(description="options that Easel does not have")
