"""How an image came to be: the record that travels inside its file, next to the infotext."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4

from pydantic import ConfigDict, Field, ValidationError

from studio.core.base import Record
from studio.core.library import ImageId, ImageRecord
from studio.core.requests import MAX_SEED, GenerateRequest
from studio.storage.infotext import ModelFacts, format_infotext
from studio.storage.stack_text import NetworkFact


class Provenance(Record):
    """The JSON in the text chunk `easel`. Fields that a newer Easel added are ignored when reading."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str = Field(description="of the Easel that made the image")
    id: ImageId = Field(default_factory=lambda: uuid4().hex, pattern=r"^[0-9a-f]{32}$")
    created: datetime = Field(default_factory=lambda: datetime.now().astimezone())
    job: str = ""
    model: str = Field("", description="name of the checkpoint")
    model_hash: str = ""
    vae: str = ""
    vae_hash: str = ""
    networks: tuple[NetworkFact, ...] = ()
    request: GenerateRequest

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(self.model, self.model_hash, self.vae, self.vae_hash, self.networks)

    @property
    def infotext(self) -> str:
        return format_infotext(self.request, self.facts, self.version)

    def record(self, width: int, height: int, size_bytes: int, media_type: str) -> ImageRecord:
        """What the library tells of the image, given its file's facts (px, bytes)."""
        return ImageRecord(
            id=self.id,
            created=self.created,
            width=width,
            height=height,
            seed=self.request.seed,
            model=self.model,
            prompt=self.request.prompt,
            negative_prompt=self.request.negative_prompt,
            request=self.request,
            infotext=self.infotext,
            job=self.job,
            size_bytes=size_bytes,
            media_type=media_type,
        )


def read_provenance(text: str) -> Provenance | None:
    """What the text chunk `easel` says; None where it is damaged or of an Easel too different."""
    try:
        return Provenance.model_validate_json(text)
    except ValidationError:
        return None


def request_of_image(request: GenerateRequest, index: int) -> GenerateRequest:
    """The request that makes image `index` (from 0) of a batch alone.

    Its seed is `seed + index`, the variation's likewise, both within 32 bits as the noise itself is drawn.
    """
    changes: dict[str, object] = {
        "seed": (request.seed + index) % (MAX_SEED + 1),
        "batch_size": 1,
        "batches": 1,
    }
    if request.variation:
        seed = (request.variation.seed + index) % (MAX_SEED + 1)
        changes["variation"] = request.variation.model_copy(update={"seed": seed})
    return request.model_copy(update=changes)


def easel_version() -> str:
    """The version of Easel that runs, as its package says; "dev" where it was not installed."""
    try:
        return version("easel")
    except PackageNotFoundError:
        return "dev"
