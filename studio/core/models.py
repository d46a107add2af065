"""What is known about model files and about the machine: the words the page and the API use for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from studio.core.base import BlobId, ModelId, Record, StrEnum
from studio.core.control_types import ControlType
from studio.core.requests import InstallRequest
from studio.core.samplers import Sampler, Schedule


class ModelKind(StrEnum):
    CHECKPOINT = "checkpoint"
    VAE = "vae"
    LORA = "lora"
    EMBEDDING = "embedding"
    HYPERNETWORK = "hypernetwork"
    CONTROLNET = "controlnet"
    T2I_ADAPTER = "t2i_adapter"
    IP_ADAPTER = "ip_adapter"
    GLIGEN = "gligen"
    CLIP_VISION = "clip_vision"
    ANNOTATOR = "annotator"

    @property
    def noun(self) -> str:
        """As it is written inside a sentence: 'embedding', 'LoRA'."""
        return _NOUNS.get(self, str(self))

    @property
    def with_article(self) -> str:
        """'an embedding', 'a LoRA'."""
        return f"{'an' if self.noun[0] in 'aeiouAEIOU' else 'a'} {self.noun}"


_NOUNS = {
    ModelKind.VAE: "VAE",
    ModelKind.LORA: "LoRA",
    ModelKind.CONTROLNET: "ControlNet",
    ModelKind.T2I_ADAPTER: "T2I-Adapter",
    ModelKind.IP_ADAPTER: "IP-Adapter",
    ModelKind.GLIGEN: "GLIGEN model",
    ModelKind.CLIP_VISION: "image encoder",
    ModelKind.ANNOTATOR: "net of a preprocessor",
}


class Family(StrEnum):
    SD1 = "SD 1.x"
    SD2 = "SD 2.x"
    SDXL = "SDXL"
    UNKNOWN = "unknown"


CONTEXT_WIDTHS: Mapping[Family, int] = {Family.SD1: 768, Family.SD2: 1024, Family.SDXL: 2048}
"""Channels of the text embeddings in the models that people publish."""


class Variant(StrEnum):
    BASE = "base"
    INPAINT = "inpaint"


class PredictionType(StrEnum):
    """What the UNet predicts at each step."""

    EPSILON = "epsilon"
    V_PREDICTION = "v_prediction"


class GenerationHint(Record):
    """Settings that a distilled model was made for; None where it takes what is set."""

    technique: str = Field(max_length=40, description="'LCM', 'Hyper-SD', ...")
    sampler: Sampler | None = None
    schedule: Schedule | None = None
    steps: int | None = Field(None, ge=1, le=150)
    guidance_scale: float | None = Field(None, ge=1, le=30)


class ModelInfo(Record):
    """One model on disk. Texts that come out of files are short, and nothing but data."""

    id: ModelId
    name: str
    kind: ModelKind
    family: Family = Family.UNKNOWN
    variant: Variant = Variant.BASE
    prediction_type: PredictionType = PredictionType.EPSILON
    layout: str = Field("", description="'diffusers' folder, 'ldm' single file, ...")
    location: str = Field("", description="where it lies; shown to the person, accepted from nobody")
    size_bytes: int = Field(0, ge=0)
    sha256: str = Field("", description="hex; empty until it has been computed")
    native_size: int = Field(512, description="side of the pictures it was trained on, px")
    licence: str = ""
    description: str = ""
    author: str = ""
    alias: str = Field("", description="name it was trained under; prompts may call it by that, too")
    notes: str = Field("", description="what the person wrote down about it")
    context_width: int | None = Field(
        None, ge=1, description="channels of the text embeddings that it attends to, where that can be seen"
    )
    clip_layers: int | None = Field(
        None, ge=1, description="highest clip skip of a checkpoint, where that can be seen"
    )
    preview: BlobId | None = None
    trigger_words: tuple[str, ...] = Field((), description="words that bring out what it learned, best first")
    negative_text: str = Field("", description="goes into the negative prompt with it")
    preferred_weight: float | None = Field(None, ge=-10, le=10)
    base: str = Field("", description="what a network was trained on, in its maker's words")
    rank: int | None = Field(None, ge=1, description="of a LoRA; None where it differs by layer")
    alpha: float | None = Field(None, description="of a LoRA, where its metadata tells")
    bundled_words: tuple[str, ...] = Field(
        (), description="of a LoRA: textual inversions in its file, which prompts call by name while it is on"
    )
    vectors: int | None = Field(None, ge=1, description="of an embedding: tokens that it takes in a prompt")
    vector_width: int | None = Field(
        None, ge=1, description="of an embedding: channels of a vector, for SDXL of both encoders together"
    )
    trained_steps: int | None = Field(None, ge=0, description="of an embedding, where its file tells")
    base_hash: str = Field("", description="of an embedding: short hash of `base`, where its file tells")
    network_hash: str = Field(
        "", description="hex, by which infotexts name a LoRA, embedding or hypernetwork; empty until computed"
    )
    suggests: GenerationHint | None = None
    problem: str = Field("", description="why it cannot be used; empty when it can")

    @property
    def usable(self) -> bool:
        return not self.problem


class CatalogueRow(Record):
    """A model that can be installed."""

    id: str
    name: str
    kind: ModelKind
    family: Family
    variant: Variant = Variant.BASE
    install: InstallRequest
    size_bytes: int = Field(0, ge=0, description="about; 0 where unknown")
    licence: str = ""
    description: str = ""
    controls: tuple[ControlType, ...] = Field((), description="what it follows; empty where that is no map")
    needs: tuple[str, ...] = Field((), description="ids of rows that it does not work without")
    installed: bool = False

    def fits(self, checkpoint: ModelInfo) -> bool:
        """False too for a checkpoint of the family with other sizes than all that are published."""
        width = CONTEXT_WIDTHS.get(self.family)
        return self.family is checkpoint.family and checkpoint.context_width in (None, width)


def with_needs(row: CatalogueRow, rows: Iterable[CatalogueRow]) -> tuple[CatalogueRow, ...]:
    """What there is to install for a row: what it needs and is not installed, then the row itself."""
    needed = (other for other in rows if other.id in row.needs and not other.installed)
    return (*needed, row)


class LoadedComponent(Record):
    """One module that the manager holds in memory."""

    role: str = Field(description="unet, vae, text_encoder, ...")
    model: str = Field(description="name of the model it came from")
    size_bytes: int
    device: str
    in_use: bool = False


class StudioStatus(Record):
    """The machine, right now. Shown at the foot of the stack."""

    ready: bool = Field(description="False while torch is still being loaded")
    message: str = Field("", description="what is going on, for a person")
    device: str = ""
    device_name: str = ""
    precision: str = ""
    memory_used: int = Field(0, description="bytes of model weights on the device")
    memory_budget: int = Field(0, description="bytes that models may take there")
    memory_total: int = Field(0, description="bytes the device has")
    memory_free: int = Field(0, description="bytes of the device that nobody uses")
    ram_used: int = 0
    ram_total: int = 0
    active_model: ModelId = ""
    components: tuple[LoadedComponent, ...] = ()
    notes: tuple[str, ...] = Field((), description="what was freed or changed lately, and why; newest last")
    queue_length: int = 0
