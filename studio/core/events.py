"""What a job tells while it runs. Events flow one way: worker -> store -> page, API, command line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from studio.core.base import BlobId, Record
from studio.core.errors import EaselError

DENOISING = "Denoising"
"""The phase of a job whose steps tell how fast the machine is."""


class _Event(Record):
    number: int = Field(0, ge=0, description="position in the job's own sequence, from 1; set by the store")


class Queued(_Event):
    type: Literal["queued"] = "queued"
    position: int = Field(ge=0, description="jobs ahead of this one")


class Started(_Event):
    type: Literal["started"] = "started"


class Progress(_Event):
    type: Literal["progress"] = "progress"
    phase: str = Field(description="what is being done, for a person: 'Loading the model', 'Denoising'")
    done: int = Field(ge=0, description="steps, or bytes of a download")
    total: int = Field(ge=0, description="0 where it is not known")
    seconds_left: float | None = None
    image: int = Field(0, ge=0, description="index of the batch being made")


class Preview(_Event):
    type: Literal["preview"] = "preview"
    jpeg: str = Field(description="base64; the pictures of the batch side by side, as they look now")
    step: int = Field(ge=0)


class Log(_Event):
    type: Literal["log"] = "log"
    message: str


class Metric(_Event):
    type: Literal["metric"] = "metric"
    name: str
    step: int
    value: float


class Finished(_Event):
    type: Literal["finished"] = "finished"
    images: tuple[str, ...] = Field((), description="ids in the library, in order")
    blobs: tuple[BlobId, ...] = Field(
        (),
        description="stored pictures outside of the library: control maps, one for each control that is on",
    )
    seconds: float = 0


class Failed(_Event):
    type: Literal["failed"] = "failed"
    error: str = Field(description="name of the error's class")
    message: str = Field(description="problem and remedy, as one text for a person")
    remedy: str = Field("", description="what can be done about it; the message ends with it")
    field: str | None = Field(None, description="the request's field at fault, where there is one")

    @classmethod
    def by(cls, error: EaselError) -> Failed:
        """How a job ends that raised `error`."""
        name = type(error).__name__
        return cls(error=name, message=str(error), remedy=error.remedy, field=error.field)

    @property
    def problem(self) -> str:
        """The message without the remedy."""
        return self.message.removesuffix(self.remedy).rstrip()


class Cancelled(_Event):
    type: Literal["cancelled"] = "cancelled"


Event = Annotated[
    Queued | Started | Progress | Preview | Log | Metric | Finished | Failed | Cancelled,
    Field(discriminator="type"),
]
event: TypeAdapter[Event] = TypeAdapter(Event)

TERMINAL = (Finished, Failed, Cancelled)
"""The last event of a job is one of these, and no job has two."""
